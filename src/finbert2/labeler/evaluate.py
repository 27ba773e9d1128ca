"""`finbert2 labeler evaluate`: model or LLM endpoint + labelled texts → metrics beside plain baselines."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finbert2 import args, files, runtime
from finbert2.endpoint import Chat
from finbert2.errors import UserError
from finbert2.labeler import data, judge, llm, report
from finbert2.labeler.features import Task
from finbert2.labeler.judge import Answers, Judgement
from finbert2.labeler.model import Labeler
from finbert2.labeler.split import sample, split


@dataclass
class EvaluationArguments:
    """Which model, on which rows, beside what."""

    test_data: str = args.option("labelled file: CSV `text,label`, or CoNLL for a tagger")
    output_dir: str = args.option("folder for results.json, report.html and the predictions")
    model_name_or_path: str | None = args.option(
        "folder written by `labeler train`, or a classifier's Hub name", default=None
    )
    train_data: str | None = args.option("training file: adds baselines, near duplicates, examples", default=None)
    compare: list[str] = args.option("other classifiers to measure on the test file", factory=list)
    empty_texts: Literal["error", "drop"] = args.option("what is done with rows without a text", default="error")
    max_test_samples: int = args.option("measure on a random sample of that many rows (0: all)", default=0)
    seed: int = args.option("draws the sample, the examples and the baselines' development rows", default=0)


@dataclass
class EndpointArguments:
    """A large language model behind an OpenAI-compatible server; its key is read from the environment."""

    endpoint: str | None = args.option("base address, such as http://localhost:8000/v1", default=None)
    llm_model: str | None = args.option("the model's name on the server", default=None)
    task: Literal["classification", "ner"] = args.option(
        "what is asked, without a model folder", default="classification"
    )
    prompt_file: str | None = args.option("prompt with {labels}, {examples} and {text} (default: ours)", default=None)
    shots: int = args.option("examples in the prompt, from --train_data", default=0)
    concurrency: int = args.option("texts asked at a time", default=8)
    timeout: float = args.option("seconds until a request is given up", default=60.0)
    max_retries: int = args.option("tries of a request", default=6)
    max_tokens: int = args.option("longest answer in tokens", default=256)
    max_characters: int = args.option("longest text in a prompt; head and tail are kept", default=4000)
    price_in: float | None = args.option("price of a million prompt tokens", default=None)
    price_out: float | None = args.option("price of a million answer tokens", default=None)
    cache_dir: str | None = args.option("folder of the answers (default: answers.cache in --output_dir)", default=None)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if (self.endpoint is None) != (self.llm_model is None):
            raise ValueError("--endpoint and --llm_model belong together: name both or neither")
        if min(self.concurrency, self.max_retries) < 1:
            raise ValueError("--concurrency and --max_retries: one or more was expected")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Measure a labeler, a large language model, or both."""
    options, server = args.parse("labeler evaluate", __doc__ or "", argv, EvaluationArguments, EndpointArguments)
    if not options.model_name_or_path and not server.endpoint:
        raise UserError("nothing to measure: name --model_name_or_path, or --endpoint and --llm_model")
    args.spare_run(options.output_dir)
    started = time.perf_counter()
    labeler = Labeler.from_pretrained(options.model_name_or_path) if options.model_name_or_path else None
    task = read_task(labeler, options, server.task)
    judgement, asked = judged(labeler, task, options, server)
    output = Path(options.output_dir)
    files.write_rows(output / "predictions.jsonl", judgement.rows)
    used = [path for path in (options.test_data, options.train_data) if path]
    results = judgement.results | {"labels": task.labels, "data": files.fingerprint(used)}
    results |= {"llm": asked} if asked else {}
    results |= runtime.circumstances(options.seed, time.perf_counter() - started)
    report.write(output, Path(options.model_name_or_path or server.llm_model).name, judgement, results)
    files.write_json(output / "results.json", results)
    sys.stdout.write(json.dumps(results["test"], ensure_ascii=False, indent=2) + "\n")


def judged(
    labeler: Labeler | None, task: Task, options: EvaluationArguments, server: EndpointArguments
) -> tuple[Judgement, dict[str, Any]]:
    """Return the judgement of the labeler, or of the LLM where there is none, and what the LLM cost."""
    if task.kind == "ner" and (options.compare or (labeler and server.endpoint)):
        raise UserError("a tagger is measured by itself: leave out --compare, and --endpoint beside a model folder")
    rivals: dict[str, Any] = {name: name for name in options.compare}
    said, asked = ask(task, server, options) if server.endpoint else (None, {})
    if labeler and said:
        rivals[str(server.llm_model)] = said
    seen = [*task.train, *task.dev]  # the training file: its dev part is for the baselines alone
    return judge.judge(labeler or said, task, rivals, bool(task.train), seen), asked


def ask(task: Task, server: EndpointArguments, options: EvaluationArguments) -> tuple[Any, dict[str, Any]]:
    """Return an LLM's labels (an empty one if unparsable) or tags of the test rows, and what it cost."""
    chat = Chat(
        str(server.endpoint), str(server.llm_model),
        Path(server.cache_dir or Path(options.output_dir) / "answers.cache"),  # `*.cache` stays when a folder goes up
        concurrency=server.concurrency, timeout=server.timeout, retries=server.max_retries,
        max_tokens=server.max_tokens,
    )  # fmt: skip
    text = llm.template(task, server.prompt_file)
    answers = chat.ask_all(llm.prompts(task, text, server.shots, server.max_characters, options.seed))
    if task.kind == "ner":
        read: list[Any] = [llm.read_tags(a.text, row, task.labels) for a, row in zip(answers, task.test, strict=True)]
        blank: list[Any] = [["O"] * len(row.tags) for row in task.test]
    else:
        read = [llm.read_label(answer.text, task.labels, task.multi_label) for answer in answers]
        blank = [""] * len(read)
    asked = {
        "model": server.llm_model, "shots": server.shots, "unparsable": sum(one is None for one in read),
        "refused": sum(bool(answer.refused) for answer in answers),
        **llm.cost(answers, server.concurrency, server.price_in, server.price_out),
    }  # fmt: skip
    said = [empty if one is None else one for one, empty in zip(read, blank, strict=True)]
    return said if task.kind == "ner" else Answers(said), asked


def read_task(labeler: Labeler | None, options: EvaluationArguments, kind: str) -> Task:
    """Return the test rows, the training rows if they are named, and the labels of the model, else of these rows."""
    if (labeler.settings.task if labeler else kind) == "ner":
        return read_sentences(labeler, options)
    multi = labeler.settings.multi_label if labeler else None
    paths = [path for path in (options.train_data, options.test_data) if path]
    names = next((found for path in paths if (found := data.label_names(path))), None)
    read: list[Any] = []
    for path in paths:  # a test file without `a|b` may still have rows without a label, where the training file has it
        read.append(data.read_examples(path, names, multi, options.empty_texts))
        multi = True if data.is_multi_label(read[-1]) else multi
    labels = labeler.labels if labeler else data.label_list(row for rows in read for row in rows)
    multi = any(map(data.is_multi_label, read)) if multi is None else multi
    for path, rows in zip(paths, read, strict=True):
        data.check_labels(rows, labels, path)
    train, dev = split(read[0], options.seed) if options.train_data else ([], [])
    return Task("classification", labels, multi, train, dev, sample(read[-1], options.max_test_samples, options.seed))


def read_sentences(labeler: Labeler | None, options: EvaluationArguments) -> Task:
    """Return the test sentences, and the training sentences if they are named."""
    test = data.read_sentences(options.test_data)
    train = data.read_sentences(options.train_data) if options.train_data else []
    labels = labeler.labels if labeler else data.tag_list([*train, *test])
    data.check_tags(test, labels, options.test_data)
    return Task("ner", labels, False, train, [], sample(test, options.max_test_samples, options.seed))


if __name__ == "__main__":
    main()
