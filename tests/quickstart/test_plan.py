import dataclasses
import importlib
import os
import signal
import subprocess
import sys

import pytest

from finbert2 import args, runtime
from finbert2.cli import VERBS
from finbert2.errors import UserError
from finbert2.quickstart import plan, run, schedule
from finbert2.quickstart.inventory import Inventory, data_folder, sample_data
from finbert2.quickstart.plan import Step

from .conftest import write


class Parsed(Exception):
    """Ends a command once its flags were understood."""


@pytest.fixture
def parse_only(monkeypatch):
    """Commands that parse their flags and go no further."""
    real = args.parse

    def parse(*arguments):
        raise Parsed(real(*arguments))

    monkeypatch.setattr(args, "parse", parse)
    monkeypatch.chdir(os.environ.get("TMPDIR", "/tmp"))


@pytest.fixture
def words_of(tmp_path):
    """The words that a step's script hands to Python, taken down by a stand-in for Python."""
    stand_in = write(tmp_path / "python", '#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done > "$WORDS"\n')
    stand_in.chmod(0o755)

    def words(step: Step) -> list[str]:
        if not step.script.endswith(".sh"):
            return [*step.script.split(), *step.flags]
        env = os.environ | {"FINBERT2_PYTHON": str(stand_in), "WORDS": str(tmp_path / "words"), "NPROC": "1"}
        subprocess.run(["sh", str(run.ROOT / step.script), *step.flags], env=env, check=True)
        taken = (tmp_path / "words").read_text(encoding="utf-8").split("\0")[:-1]
        assert taken[:2] == ["-m", "finbert2"]
        return taken[2:]

    return words


def parsed(words: list[str]) -> dict:
    """What a command's own dataclasses make of its flags."""
    assert tuple(words[:2]) in [row[:2] for row in VERBS]
    with pytest.raises(Parsed) as ended:
        importlib.import_module(f"finbert2.{words[0]}.{words[1]}").main(words[2:])
    return {name: value for one in ended.value.args[0] for name, value in vars(one).items()}


@pytest.mark.parametrize("model", [None, "valuesimplex-ai-lab/FinBERT2-base"])
def test_every_step_is_understood_by_its_command(folder, tmp_path, parse_only, words_of, model):
    output = tmp_path / "out"
    understood = {
        step.name: parsed(words_of(step)) for step in plan.steps(data_folder(folder), output, run.ROOT, model)
    }
    assert understood["mlm"]["objective"] == "mlm" and understood["retromae"]["objective"] == "retromae"
    assert understood["mlm"]["output_dir"] == understood["retromae"]["model_name_or_path"] == str(output / "mlm")
    assert understood["mlm"]["model_name_or_path"] == (str(output / "tokenizer") if model else "")
    assert understood["tokenizer"]["base_model"] == model
    assert (understood["labeler/mood"]["task"], understood["ner/company"]["task"]) == ("classification", "ner")
    assert understood["labeler/plain"]["dev_data"] == ""
    assert understood["retriever/evaluate/full"]["model_name_or_path"] == [
        str(output / "retriever" / "model"), str(output / "retromae"),
    ]  # fmt: skip
    recipe = understood["retriever/train"]
    assert (recipe["sentence_pooling_method"], recipe["learning_rate"], recipe["num_train_epochs"]) == (
        ("cls", 2e-5, 3) if model else ("mean", 1e-3, 15)
    )
    assert understood["retriever/evaluate/full"]["sentence_pooling_method"] == recipe["sentence_pooling_method"]
    assert understood["topics"]["model_name_or_path"] == str(output / "retriever" / "model")


def test_few_titles_may_make_small_topics(folder, tmp_path):
    """At the defaults there may be none among them, and a step that fails leaves the whole run without its report."""
    titles = folder / "topic" / "titles.csv"
    (few,) = plan.topics(data_folder(folder), tmp_path)
    with titles.open("a", encoding="utf-8") as file:
        file.writelines(f"另一标题{n},银行\n" for n in range(plan.FEW_TITLES - 25))
    (enough,) = plan.topics(data_folder(folder), tmp_path)
    assert few.flags == (*enough.flags, "--min_topic_size", "3", "--min_samples", "1")


def test_steps_by_name_and_in_order(folder, tmp_path):
    names = [step.name for step in plan.steps(data_folder(folder), tmp_path, run.ROOT, None)]
    assert names == [
        "corpus", "tokenizer", "tokenizer/evaluate", "mlm", "retromae", "topics",
        "labeler/mood", "labeler/plain", "ner/company",
        "labeler/mood/evaluate", "labeler/mood/predict", "ner/company/evaluate", "ner/company/predict",
        "retriever/mine/full", "retriever/mine/judged", "retriever/mine/only_train", "retriever/train",
        "retriever/evaluate/full", "retriever/evaluate/judged", "retriever/evaluate/only_test",
        "retriever/index", "retriever/search",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "samples"])
def test_no_step_writes_over_another(folder, tmp_path, kind):
    found = data_folder(folder) if kind == "folder" else sample_data(run.ROOT)
    steps = plan.steps(found, tmp_path, run.ROOT, None)
    results = [step.output / step.results for step in steps]
    logs = [step.output / f"{step.name.rsplit('/', 1)[-1]}.log" for step in steps]
    assert len(set(results)) == len(set(logs)) == len({step.name for step in steps}) == len(steps)
    assert all(path.is_relative_to(tmp_path) for path in results)
    assert all((run.ROOT / step.script).exists() for step in steps if step.script.endswith(".sh"))


def test_without_anything_there_is_still_an_encoder(tmp_path):
    steps = plan.steps(Inventory(), tmp_path, run.ROOT, None)
    assert [step.name for step in steps] == ["corpus", "tokenizer", "tokenizer/evaluate", "mlm", "retromae"]
    assert str(run.ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl") in steps[0].flags


@pytest.mark.parametrize(("characters", "scale"), [(0, plan.SMALL), (3_000_000, plan.SMALL), (3_000_001, plan.LARGE)])
def test_the_scale_follows_the_size_of_the_corpus(characters, scale):
    assert plan.scale_of(Inventory(characters=characters)) == scale


@pytest.mark.parametrize(
    ("suffix", "content", "rows"),
    [
        ("csv", 'text,label\n甲,1\n"乙\n丙",0\n', 2),
        ("csv", "text,label\n", 1),
        ("txt", "中 O\n信 O\n\n\n涨 O\n", 2),
        ("txt", "\n中 O\n\n跌 O", 2),
    ],
)
def test_rows_of_a_training_file(tmp_path, suffix, content, rows):
    assert plan.count_rows(write(tmp_path / f"train.{suffix}", content), suffix) == rows


@pytest.mark.parametrize(("rows", "epochs"), [(10, 20), (320, 10), (1000, 4), (5000, 3)])
def test_small_tasks_get_more_epochs(tmp_path, rows, epochs):
    size = dataclasses.replace(plan.SMALL, label_steps=200, label_epochs=3, train_rows=3000)
    write(tmp_path / "train.csv", "text,label\n" + f"{'甲' * 50},1\n" * rows)
    step = plan.label_step("labeler/x", tmp_path, "runclassify.sh", "csv", tmp_path, None, size)
    assert step.flags[step.flags.index("--num_train_epochs") + 1] == str(epochs)


def test_labelers_from_scratch_train_longer_and_without_dropout(tmp_path):
    write(tmp_path / "train.csv", "text,label\n" + f"{'甲' * 50},1\n" * 2000)
    scratch, published = (
        plan.label_step("labeler/x", tmp_path, "runclassify.sh", "csv", tmp_path, model, plan.SMALL).flags
        for model in (None, "owner/name")
    )
    assert scratch[scratch.index("--num_train_epochs") + 1] == "8" and scratch[scratch.index("--dropout") + 1] == "0"
    assert published[published.index("--num_train_epochs") + 1] == "3" and "--dropout" not in published


def test_short_texts_get_twice_the_steps(tmp_path):
    size = dataclasses.replace(plan.SMALL, label_steps=200, label_epochs=3, train_rows=3000)
    write(tmp_path / "train.csv", "text,label\n" + "甲乙丙,1\n" * 1000)
    step = plan.label_step("labeler/x", tmp_path, "runclassify.sh", "csv", tmp_path, None, size)
    assert step.flags[step.flags.index("--num_train_epochs") + 1] == "7"


class Fake:
    """A step that ends after some looks, and writes its results."""

    def __init__(self, step, looks=1, code=0):
        self.step, self.looks, self.code, self.waited_for, self.stopped = step, looks, code, False, False

    def poll(self):
        """Return the exit code once the looks are used up."""
        self.looks -= 1
        if self.looks >= 0:
            return None
        if not self.code:
            write(self.step.output / self.step.results, "{}")
        return self.code

    def wait(self):
        """Note it."""
        self.waited_for = True
        return 0

    def terminate(self):
        """Note it."""
        self.stopped = True


def scheduled(steps, output, looks=None, code=None):
    """Run fakes; return what was started beside what, in order, and the fakes."""
    told, fakes = [], {}

    def start(step, place):
        told.append((step.name, place))
        fakes[step.name] = Fake(step, (looks or {}).get(step.name, 1), (code or {}).get(step.name, 0))
        return fakes[step.name]

    try:
        schedule.run_all(steps, output, start, run.check, lambda step: f"{step.name} found")
    except UserError as error:
        told.append(str(error).split(";")[0])
    return told, fakes


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(schedule, "LOOK", 0.0)


def test_steps_that_are_done_are_kept(tmp_path, capsys):
    steps = [Step(name, "x", (), tmp_path / name) for name in ("a", "b")]
    assert scheduled(steps, tmp_path)[0] == [("a", 0), ("b", 1)]
    (tmp_path / "b" / "results.json").unlink()
    assert scheduled(steps, tmp_path)[0] == [("b", 0)]
    told = [line.split("] ")[1].split() for line in capsys.readouterr().out.splitlines()]
    assert [words[:2] for words in told] == [["a", "done"], ["b", "done"], ["a", "kept"], ["b", "done"]]
    assert [words[-2:] for words in told] == [["a", "found"], ["b", "found"], ["a", "found"], ["b", "found"]]


def test_a_line_of_the_terminal_is_not_glued_to_a_progress_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    scheduled([Step("a", "x", (), tmp_path / "a")], tmp_path)
    assert capsys.readouterr().out.startswith("\r\x1b[K[ 1/1] a")


def test_memory_is_that_of_the_kept_steps_too(tmp_path):
    steps = [Step(name, "x", (), tmp_path / name) for name in ("a", "b")] + [Step("c", "x", (), tmp_path, "c.jsonl")]
    write(tmp_path / "a" / "results.json", '{"peak_memory_gib": 2.08}')
    write(tmp_path / "b" / "results.json", "{}")
    assert run.peak_memory_gib(steps) == 2.08


def test_the_longest_chain_goes_first_and_nothing_runs_beside_a_step_that_wants_all_cores(tmp_path):
    """`a` alone; then `c`, behind which two steps wait, beside `b`; each step after the one whose results it reads."""
    steps = [
        Step("a", "x", (), tmp_path / "a", alone=True), Step("b", "x", (), tmp_path / "b", after="a"),
        Step("b2", "x", (), tmp_path / "b2", after="a"), Step("c", "x", (), tmp_path / "c", after="a"),
        Step("d", "x", (), tmp_path / "d", after="c"), Step("e", "x", (), tmp_path / "e", after="d"),
    ]  # fmt: skip
    told, _ = scheduled(steps, tmp_path, looks={"a": 3, "b": 9})
    assert told == [("a", None), ("c", 0), ("b", 1), ("d", 0), ("b2", 0), ("e", 0)]


def test_after_a_step_that_fails_the_other_is_waited_for(tmp_path):
    steps = [Step(name, "x", (), tmp_path / name) for name in ("a", "b")]
    told, fakes = scheduled(steps, tmp_path, looks={"a": 99}, code={"b": 3})
    assert told[-1] == "the step 'b' ended with exit code 3" and fakes["a"].waited_for
    assert scheduled(steps, tmp_path)[0] == [("a", 0), ("b", 1)]


def test_a_sigterm_stops_the_steps_that_run(tmp_path, monkeypatch):
    steps = [Step(name, "x", (), tmp_path / name) for name in ("a", "b")]
    fakes = []

    def start(step, place):
        fakes.append(Fake(step, looks=99))
        return fakes[-1]

    monkeypatch.setattr(schedule.time, "sleep", lambda seconds: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as stop, runtime.term_as_exit():
        schedule.run_all(steps, tmp_path, start, run.check, lambda step: f"{step.name} found")
    assert stop.value.code == 143 and all(fake.stopped and fake.waited_for for fake in fakes) and len(fakes) == 2


@pytest.mark.parametrize("kind", ["folder", "samples"])
def test_every_step_waits_for_what_it_reads(folder, tmp_path, kind):
    """The flags of a step name no output of a step that need not have ended before it."""
    found = data_folder(folder) if kind == "folder" else sample_data(run.ROOT)
    steps = {step.name: step for step in plan.steps(found, tmp_path, run.ROOT, None)}
    for step in steps.values():
        before, name = set(), step.after
        while name:
            before.add(name)
            name = steps[name].after
        for other in steps.values():
            if other.name not in before | {step.name} and not step.output.is_relative_to(other.output):
                assert not {str(other.output), str(other.output / other.results)} & set(step.flags), step.name


def test_a_step_that_fails_is_named_with_its_command(tmp_path):
    step = Step("corpus", "corpus prepair", ("--input", "a"), tmp_path / "corpus")
    with pytest.raises(UserError) as raised:
        run.check(step, run.start(step).wait())
    assert str(raised.value).startswith("the step 'corpus' ended with exit code 2; its message stands above. It was: ")
    assert str(raised.value).endswith("corpus prepair --input a. Mend the cause and run the same command again")
