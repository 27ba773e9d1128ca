"""Token ids and targets of labelled rows, and the development score."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finbert2.labeler import data, metrics

IGNORED = -100


@dataclass(frozen=True)
class Task:
    """Labelled rows in their parts, and the labels that they have."""

    kind: str  # classification or ner
    labels: list[str]
    multi_label: bool
    train: list[Any]
    dev: list[Any]
    test: list[Any] = field(default_factory=list)

    @property
    def problem_type(self) -> str | None:
        """What `pipeline` reads from the config: softmax or a sigmoid a label."""
        if self.kind == "ner":
            return None
        return "multi_label_classification" if self.multi_label else "single_label_classification"


def text_features(
    rows: Sequence[data.Example], task: Task, tokenizer: Any, max_length: int, policy: str
) -> tuple[list[dict[str, Any]], list[int]]:
    """Return token ids and target of each input, and the row that each belongs to (windows: several a row)."""
    texts = [row.text for row in rows]
    if policy == "windows":
        ids, owners = data.encode_windows(texts, tokenizer, max_length)
    else:
        ids, owners = data.encode_texts(texts, tokenizer, max_length, policy), list(range(len(rows)))
    targets = [target(row, task) for row in rows]
    return [{"input_ids": i, "labels": targets[owner]} for i, owner in zip(ids, owners, strict=True)], owners


def target(row: data.Example, task: Task) -> Any:
    """Return a row's label id; of a multi-label task a 1 or 0 for each label, as floats."""
    if task.multi_label:
        return [float(label in row.labels) for label in task.labels]
    return task.labels.index(row.label)


def tag_features(rows: Sequence[data.Sentence], task: Task, tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    """Return token ids and tag ids of each piece of a sentence; only a character's first token has a tag."""
    number = {label: i for i, label in enumerate(task.labels)}
    features = []
    for row in rows:
        done = 0
        for piece in data.encode_characters(row.characters, tokenizer, max_length):
            tags = [IGNORED] * len(piece.ids)
            for tag, first in zip(row.tags[done : done + len(piece.firsts)], piece.firsts, strict=True):
                if first >= 0:
                    tags[first] = number[tag]
            done += len(piece.firsts)
            features.append({"input_ids": piece.ids, "labels": tags})
    return features


def pool(logits: np.ndarray, owners: Sequence[int], rows: int) -> np.ndarray:
    """Return the mean logits (rows, labels) of the inputs (inputs, labels) of each row."""
    total = np.zeros((rows, logits.shape[1]))
    np.add.at(total, list(owners), logits)
    return total / np.bincount(owners, minlength=rows)[:, None]


def text_scorer(rows: Sequence[data.Example], owners: Sequence[int], task: Task) -> Any:
    """Return the function that scores the development part for the Trainer; windows count as the row they are of."""

    def score(output: Any) -> dict[str, float]:
        logits = pool(output.predictions, owners, len(rows))
        if task.multi_label:
            predicted = [data.SEPARATOR.join(np.array(task.labels)[row > 0]) for row in logits]
        else:
            predicted = [task.labels[i] for i in logits.argmax(-1)]
        table = metrics.classification([row.label for row in rows], predicted, task.labels, task.multi_label)
        return {name: value for name, value in table.items() if isinstance(value, float)}

    return score


def tag_scorer(labels: Sequence[str]) -> Any:
    """Return the function that scores the development part of a tagger."""

    def score(output: Any) -> dict[str, float]:
        best, gold = output.predictions.argmax(-1), output.label_ids
        known = gold != IGNORED
        rows = [
            ([labels[i] for i in g[k]], [labels[i] for i in b[k]]) for g, b, k in zip(gold, best, known, strict=True)
        ]
        table = metrics.tagging([g for g, _ in rows], [b for _, b in rows])
        return {name: table[name] for name in ("precision", "recall", "f1")}

    return score
