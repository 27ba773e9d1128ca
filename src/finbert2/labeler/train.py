"""`finbert2 labeler train`: labelled texts → classifier; tagged sentences → tagger."""

import functools
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from finbert2 import args, cards, files, plots, runtime, training, uploads
from finbert2.errors import UserError
from finbert2.labeler import audit, calibrate, data, judge, repeat, report
from finbert2.labeler.features import Task
from finbert2.labeler.fit import fine_tune
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments, need_metric, need_score
from finbert2.labeler.split import sample, split

log = logging.getLogger(__name__)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Train a classifier or a tagger."""
    options, training_args = args.parse(
        "labeler train", __doc__ or "", argv, LabelerArguments, LabelerTrainingArguments
    )
    started = time.perf_counter()
    if options.seeds > 1:
        need_score(training_args, "--seeds")
    output = Path(training_args.output_dir)
    task = read_task(options, training_args.seed)
    need_metric(training_args, task.kind, task.multi_label)
    if task.multi_label and options.target_precision is not None:
        raise UserError(
            "--target_precision is for tasks of one label a row: of several, each has its best F1's threshold"
        )
    rivals = {name: judge.opened(name, task.labels) for name in options.compare}  # refused now, not after the training
    facts = contents(options) | training.step_facts(training_args)
    args.claim(output, options, training_args, facts=facts, repeats="seeds")
    if is_finished(output, options.seeds):
        log.info("%s holds the finished run: nothing to do", output)
        uploads.publish(output, training_args)
        return
    labeler, results = fit(options, training_args, task, output)
    if options.folds:
        results["folds"], shares = repeat.folds(options, training_args, task, output)
    if labeler is None or not runtime.is_main_process():
        return
    labeler = trusted(labeler, task, options.target_precision)
    labeler.save(output)
    judgement = judge.judge(labeler, task, rivals, options.baselines)
    if options.folds:
        suspects = audit.label_errors(task.train, shares, task.labels, task.multi_label)
        judgement.page["train_label_errors"] = suspects
        results["probable_label_errors_in_train"] = len(suspects)
        files.write_rows(output / "train_label_errors.jsonl", suspects)
    results |= judgement.results
    results |= {"labels": task.labels, "n_train": len(task.train), "n_dev": len(task.dev)}
    results["data"] = files.fingerprint(p for p in (options.train_data, options.dev_data, options.test_data) if p)
    write(output, options, training_args, judgement, results, started)
    uploads.publish(output, training_args)


def is_finished(output: Path, seeds: int) -> bool:
    """Tell whether the folder holds results, and of several seeds those of so many."""
    if not args.is_finished(output) or seeds == 1:
        return args.is_finished(output)
    spread = json.loads((output / "results.json").read_text(encoding="utf-8"))["seeds"]
    return len(next(iter(spread.values()))["values"]) == seeds


def contents(options: LabelerArguments) -> dict[str, str]:
    """Return what tells a run from one on the same files with other rows in them."""
    names = Path(options.train_data).with_name(data.NAMES_FILE)
    return args.contents(options.train_data, options.dev_data, options.test_data, str(names))


def write(
    output: Path, options: LabelerArguments, training_args: LabelerTrainingArguments, judgement: judge.Judgement,
    results: dict[str, Any], started: float,
) -> None:  # fmt: skip
    """Write loss curve, card, test predictions, report page and, last, results.json."""
    curve = results["curve"]
    files.write_text(
        output / "loss.svg",
        plots.svg(plots.lines({"loss": (curve["step"], curve["loss"])}, x="step", y="training loss")),
    )
    tag = "token-classification" if options.task == "ner" else "text-classification"
    use = f'pipeline("{tag}", "{output.name}")'
    cards.write(output, output.name, use, [tag], args.as_record(options, training_args), results)
    results |= runtime.circumstances(training_args.seed, time.perf_counter() - started)
    if judgement.rows:
        files.write_rows(output / "test_predictions.jsonl", judgement.rows)
        report.write(output, output.name, judgement, results)
    files.write_json(output / "results.json", results)
    score = "f1" if options.task == "ner" else "macro_f1"
    tested = f"test {score} {results['test'][score]:.3f}; " if "test" in results else ""
    log.info("%sthe model is in %s", tested, output)


def read_task(options: LabelerArguments, seed: int) -> Task:
    """Return the labels and the training, development and test rows (the last empty if there are none).

    The development part is given or split off the training rows; the test part never chooses anything.
    """
    read: Any = data.read_sentences
    check: Any = data.check_tags
    multi = False
    if options.task == "ner":
        train = read(options.train_data)
        labels = data.tag_list(train)
    else:
        names = data.label_names(options.train_data)
        train = data.read_examples(options.train_data, names, empty_texts=options.empty_texts)
        labels, multi = data.label_list(train, names), data.is_multi_label(train)
        read = functools.partial(data.read_examples, names=names, multi=multi, empty_texts=options.empty_texts)
        check = data.check_labels
    others = []
    for path in (options.dev_data, options.test_data):
        rows = read(path) if path else []
        check(rows, labels, path or "")
        others.append(rows)
    train, dev = (train, others[0]) if options.dev_data else split(train, seed)
    return Task(
        options.task, labels, multi, sample(train, options.max_train_samples, seed), dev,
        sample(others[1], options.max_test_samples, seed),
    )  # fmt: skip


def fit(
    options: LabelerArguments, training_args: LabelerTrainingArguments, task: Task, output: Path
) -> tuple[Labeler | None, dict[str, Any]]:
    """Return the labeler of the best epoch (of the best seed; to the main process only) and what its training tells."""
    if options.seeds > 1:
        labeler, summary, spread = repeat.seeds(options, training_args, task, output)
        return labeler, summary | {"seeds": spread}
    runtime.set_seed(training_args.seed)
    labeler, trainer = fine_tune(options, training_args, task)
    return labeler, training.summary(trainer) | {"dev": trainer.state.best_metric}


def trusted(labeler: Labeler, task: Task, target_precision: float | None) -> Labeler:
    """Return the labeler with temperature and thresholds fitted on the development part; a tagger as it is."""
    if task.kind == "ner":
        return labeler
    logits, gold = labeler.logits([row.text for row in task.dev]), judge.targets(task.dev, task)
    fitted = calibrate.temperature(logits, gold, task.multi_label)
    shares = calibrate.probabilities(logits, fitted, task.multi_label)
    thresholds: dict[str, float] = {}
    if task.multi_label:
        thresholds = calibrate.best_f1(shares, gold, task.labels)
    elif target_precision is not None:
        thresholds = calibrate.abstaining(shares, gold, task.labels, target_precision)
    settings = replace(labeler.settings, temperature=fitted, thresholds=thresholds)
    return Labeler(labeler.model, labeler.tokenizer, settings)


if __name__ == "__main__":
    main()
