"""What a data folder holds, read and checked whole before any work is done."""

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.errors import UserError
from finbert2.labeler import data as labeled
from finbert2.retriever import benchmark
from finbert2.retriever.data import TrainingRow, read_training_rows
from finbert2.topics.titles import read_titles

CORPUS_SUFFIXES = (".jsonl", ".txt", ".parquet")
TRAINING_FILE = "train_flagembedding.jsonl"
FEWEST_TITLES = 20


@dataclass(frozen=True)
class RetrievalSet:
    """A set's BEIR folder (None: rows to train on only) and its training rows (none: it is only evaluated)."""

    folder: Path | None
    rows: list[TrainingRow]
    rows_from: Path | None = None  # the file or folder of the rows, where it lies outside `folder`


@dataclass
class Inventory:
    """The parts of a data folder; a part that is absent is empty, and `absent` says so in the report's words."""

    corpus: list[Path] = field(default_factory=list)
    valid: list[Path] = field(default_factory=list)
    classification: dict[str, Path] = field(default_factory=dict)
    ner: dict[str, Path] = field(default_factory=dict)
    retrieval: dict[str, RetrievalSet] = field(default_factory=dict)
    titles: Path | None = None
    absent: list[str] = field(default_factory=list)
    characters: int = 0

    def files(self) -> list[Path]:
        """Return every file that the parts are made of."""
        folders = [*self.classification.values(), *self.ner.values()]
        folders += [found.folder for found in self.retrieval.values() if found.folder]
        inside = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        rows_from = [found.rows_from for found in self.retrieval.values() if found.rows_from]
        inside += files.expand(rows_from, files.JSON_SUFFIXES)
        return [*self.corpus, *self.valid, *inside, *([self.titles] if self.titles else [])]


def sample_data(root: Path) -> Inventory:
    """Return the parts of the shipped sample data, which lie in the stage folders."""
    labeler, retriever = root / "Fin-labeler", root / "Fin-retriever"
    training = retriever / "finetune_traindata_sample.json"
    found = Inventory(
        corpus=[root / "FinBERT2" / "pretrain" / "sample_data.jsonl"],
        classification={name: labeler / name for name in ("SC_2", "SC_4", "industry")},
        ner={name: labeler / name for name in ("company_ner", "person_ner")},
        retrieval={"sample_beir": RetrievalSet(retriever / "sample_beir", read_training_rows([training])[0], training)},
        titles=root / "Fin-Topicmodel" / "sample_titles.csv",
    )
    found.characters = count_characters(found.corpus)
    return found


def data_folder(folder: Path) -> Inventory:
    """Return the parts of a user's folder, every file read and checked.

    Raises `UserError` naming file, line and remedy for the first thing that is wrong.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one with corpus/, classification/, ner/, retrieval/ or topic/")
    found = Inventory()
    if (folder / "corpus").is_dir():
        texts = files.expand([folder / "corpus"], CORPUS_SUFFIXES)
        found.valid = [path for path in texts if path.name.startswith("valid")]
        found.corpus = [path for path in texts if path not in found.valid]
        found.characters = count_characters([*found.valid, *found.corpus])
    found.classification = tasks(folder / "classification", "train.csv", check_classification)
    found.ner = tasks(folder / "ner", "train.txt", check_ner)
    found.retrieval = {path.name: retrieval_set(path) for path in subfolders(folder / "retrieval")}
    titles = folder / "topic" / "titles.csv"
    if titles.exists():
        read_titles(titles, fewest=FEWEST_TITLES)
        found.titles = titles
    parts = {
        "corpus": found.corpus, "classification": found.classification, "ner": found.ner,
        "retrieval": found.retrieval, "topic": found.titles,
    }  # fmt: skip
    found.absent = [name for name, part in parts.items() if not part]
    if len(found.absent) == len(parts):
        raise UserError(
            f"{folder} has none of corpus/, classification/, ner/, retrieval/, topic/titles.csv: see README.md"
        )
    return found


def count_characters(paths: Sequence[Path]) -> int:
    """Read corpus files whole and return their characters; raise `UserError` for a file without text."""
    total = 0
    for path in paths:
        characters = sum(len(row.values["text"]) for row in files.read_documents([path]))
        if not characters:
            raise UserError(
                f"{path} holds no text: one object with 'text' a line was expected; fill or remove the file"
            )
        total += characters
    return total


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder in sorted order, but for hidden ones; none if it is absent."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in inside if path.is_dir() and not path.name.startswith("."))


def tasks(folder: Path, file: str, check: Any) -> dict[str, Path]:
    """Return the tasks in a folder by name, each checked; raise `UserError` for one without its training file."""
    found = {}
    test, dev = file.replace("train", "test"), file.replace("train", "dev")
    for path in subfolders(folder):
        for name in (file, test):
            if not (path / name).is_file():
                raise UserError(
                    f"{path} has no {name}: a task is a folder with {file}, {test} and, if you have it, {dev}"
                )
        check(path)
        found[path.name] = path
    return found


def check_classification(folder: Path) -> None:
    """Read a task's parts and check that no label comes up that training has not."""
    names = labeled.label_names(folder / "train.csv")
    train = labeled.read_examples(folder / "train.csv", names)
    labels, multi = labeled.label_list(train, names), labeled.is_multi_label(train)
    for path in (folder / "dev.csv", folder / "test.csv"):
        if path.exists():
            labeled.check_labels(labeled.read_examples(path, names, multi), labels, path)


def check_ner(folder: Path) -> None:
    """Read a task's parts and check that no entity type comes up that training has not."""
    labels = labeled.tag_list(labeled.read_sentences(folder / "train.txt"))
    for path in (folder / "dev.txt", folder / "test.txt"):
        if path.exists():
            labeled.check_tags(labeled.read_sentences(path), labels, path)


def retrieval_set(folder: Path) -> RetrievalSet:
    """Return a set: a BEIR folder with or without training rows, or a folder of training rows alone.

    A BEIR folder without `qrels/test.tsv` cannot be evaluated and is only trained on.
    """
    if not (folder / "corpus.jsonl").exists():
        return RetrievalSet(None, read_training_rows([folder])[0], folder)
    trained, tested = benchmark.has_split(folder, "train"), benchmark.has_split(folder, "test")
    if tested or not (trained or (folder / TRAINING_FILE).exists()):
        benchmark.load(folder, "test")
    if tested and benchmark.has_split(folder, "dev"):
        benchmark.load(folder, "dev")  # the hybrid's weight is chosen on it
    evaluated = folder if tested else None
    if (folder / TRAINING_FILE).exists():
        return RetrievalSet(evaluated, read_training_rows([folder / TRAINING_FILE])[0], None if tested else folder)
    rows = rows_from_judgements(benchmark.load(folder, "train")) if trained else []
    return RetrievalSet(evaluated, rows, None if tested else folder)


def rows_from_judgements(train: benchmark.Benchmark) -> list[TrainingRow]:
    """Return a training row without negatives for each judged query."""
    return [
        TrainingRow(train.queries[query], [train.passages[p] for p, grade in judged.items() if grade > 0], [])
        for query, judged in train.judgements.items()
    ]


def write_sample(rows: Sequence[TrainingRow], limit: int, seed: int, path: Path) -> None:
    """Write a random sample of training rows as FlagEmbedding JSON lines, all of them if there are no more."""
    chosen = random.Random(seed).sample(list(rows), limit) if limit < len(rows) else list(rows)
    files.write_rows(path, (row.as_record() for row in chosen))


def write_title_sample(titles: Path, limit: int, seed: int, path: Path) -> None:
    """Write a random sample of the rows of a title file, in their order, as CSV."""
    rows = [row.values for row in files.read_rows(titles)]
    places = sorted(random.Random(seed).sample(range(len(rows)), min(limit, len(rows))))
    files.write_rows(path, (rows[place] for place in places))


def fingerprint(found: Inventory) -> str:
    """Return a short hash of every file of the inventory: its content and its place below what they all lie in.

    Exchanged parts are other data; a folder that was moved is not.
    """
    import hashlib

    entries = files.fingerprint(found.files())
    root = os.path.commonpath([Path(path).resolve().parent for path in entries])
    places = sorted((os.path.relpath(Path(path).resolve(), root), one["sha256"]) for path, one in entries.items())
    return hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16]
