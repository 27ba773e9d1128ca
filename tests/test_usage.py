"""The help page: every flag once, its default as it is typed, HuggingFace's after the suite's own."""

import dataclasses
from typing import Literal

import pytest

from finbert2 import args, usage


@dataclasses.dataclass
class Options:
    train_data: list[str] = args.option("files of the training rows, which this line makes long enough to be wrapped")
    kind: Literal["a", "b"] = args.option("a or b", default="b")
    share: float = args.option("100 %% or less", default=0.5)
    names: list[str] = args.option("several|names", factory=lambda: ["x", "y"])
    dev_data: str | None = args.option("none: a part of the rows", default=None)


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")


def test_a_command_s_own_flags_line_by_line(narrow):
    """Worked by hand at the least width."""
    assert usage.text("finbert2 stage verb [flags]", "What it does.", [Options]) == (
        "usage: finbert2 stage verb [flags]\n"
        "\n"
        "What it does.\n"
        "\n"
        "  --train_data              files of the training rows,\n"
        "                            which this line makes long\n"
        "                            enough to be wrapped (required)\n"
        "  --kind                    a or b {a,b} [b]\n"
        "  --share                   100 % or less [0.5]\n"
        "  --names                   several|names [x y]\n"
        "  --dev_data                none: a part of the rows\n"
    )


def test_huggingface_s_flags_come_last_and_each_flag_once(narrow):
    """What a subclass declares anew is the suite's own; a long name has its help below it."""
    shown = usage.text("x", "", [Options, args.TrainingArguments])
    before, after = shown.split(usage.THEIRS)
    assert "--bf16 " in before and "--optim " in before and "--adam_beta1" in after and "--adam_beta1" not in before
    assert "  --per_device_train_batch_size\n                            The batch size" in after
    names = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
    fields = [*dataclasses.fields(Options), *dataclasses.fields(args.TrainingArguments)]
    assert sorted(names) == sorted(f"--{field.name}" for field in fields)


def test_the_markdown_table(narrow):
    """Of the suite's own flags alone; a bar in a help line does not end its cell."""
    assert usage.table([Options, args.TrainingArguments]).splitlines()[:7] == [
        "| flag | default | what it does |",
        "| --- | --- | --- |",
        "| `--train_data` | *required* | files of the training rows, which this line makes long enough to be wrapped |",
        "| `--kind` | `b` | a or b (`a`, `b`) |",
        "| `--share` | `0.5` | 100 % or less |",
        r"| `--names` | `x y` | several\|names |",
        "| `--dev_data` |  | none: a part of the rows |",
    ]
