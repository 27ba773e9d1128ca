"""Two small tasks, models trained on them, and how the commands are called."""

import csv
import io
import json
import random

import pytest

from finbert2 import files
from finbert2.labeler import train

from ..conftest import TEXTS

GOOD, BAD = "净利润增长超过预期", "股东减持情绪偏弱"
COMPANIES, PEOPLE = ["公司", "央行", "银行"], ["分析师", "股东"]


def examples(count: int, seed: int) -> list[tuple[str, str]]:
    """Rows whose label a single word tells, one in two."""
    texts = random.Random(seed).choices(TEXTS, k=count)
    return [(f"{text[:20]}{GOOD if n % 2 else BAD}", "利好" if n % 2 else "利空") for n, text in enumerate(texts)]


def tagged(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """Sentences of companies and people in between plain words."""
    chance, sentences = random.Random(seed), []
    for _ in range(count):
        line = []
        for kind, names in (
            ("", ["前三季度"]),
            ("ORG", COMPANIES),
            ("", ["净利润增长"]),
            ("PER", PEOPLE),
            ("", ["。"]),
        ):
            word = chance.choice(names)
            tags = [f"B-{kind}"] + [f"I-{kind}"] * (len(word) - 1) if kind else ["O"] * len(word)
            line += zip(word, tags, strict=True)
        sentences.append(line)
    return sentences


def write_csv(path, rows):
    file = io.StringIO()
    csv.writer(file).writerows([("text", "label"), *rows])
    path.write_text(file.getvalue(), encoding="utf-8")
    return path


def write_conll(path, sentences):
    path.write_text("\n".join("".join(f"{c} {t}\n" for c, t in sentence) for sentence in sentences), encoding="utf-8")
    return path


def run(command, *argv):
    command([str(word) for word in argv])


def refused(capsys, command, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(command, *argv)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def results(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def flags(model, folder, output, suffix="csv", *more):
    return [
        "--model_name_or_path", model, "--train_data", folder / f"train.{suffix}",
        "--dev_data", folder / f"dev.{suffix}", "--test_data", folder / f"test.{suffix}", "--output_dir", output,
        "--learning_rate", "5e-3", "--per_device_train_batch_size", 8, "--disable_tqdm", "True", "--report_to", "none",
        "--logging_steps", 2, "--warmup_steps", 0, *more,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for name, count, seed in (("train", 40, 0), ("dev", 12, 1), ("test", 20, 2)):
        write_csv(folder / f"{name}.csv", examples(count, seed))
    return folder


@pytest.fixture(scope="session")
def sentences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    for name, count, seed in (("train", 40, 0), ("dev", 30, 1), ("test", 15, 2)):  # dev has every name
        write_conll(folder / f"{name}.txt", tagged(count, seed))
    return folder


@pytest.fixture(scope="session")
def classifier(rows, tiny_bert, tmp_path_factory):
    output = tmp_path_factory.mktemp("classifier") / "o"
    run(train.main, *flags(tiny_bert, rows, output, "csv", "--num_train_epochs", 8))
    return output


@pytest.fixture(scope="session")
def tagger(sentences, tiny_bert, tmp_path_factory):
    output = tmp_path_factory.mktemp("tagger") / "o"
    run(train.main, *flags(tiny_bert, sentences, output, "txt", "--task", "ner", "--num_train_epochs", 8))
    return output


def read(path) -> list[dict]:
    return [row.values for row in files.read_rows(path)]
