"""What is to be doubted in the data: probable label errors, near duplicates between training and test, worst errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finbert2.labeler import duplicates
from finbert2.labeler.data import Example

SHOWN = 30  # rows of each list
CHARACTERS = 300  # of a text


def label_errors(
    rows: Sequence[Example], probabilities: np.ndarray, labels: Sequence[str], multi_label: bool
) -> list[dict[str, Any]]:
    """Return the rows whose label is probably wrong, the surest first, by confident learning (Northcutt et al. 2021).

    `probabilities` (rows, labels) have to come from a model that was not trained on these rows.
    """
    from cleanlab.filter import find_label_issues

    number = {label: i for i, label in enumerate(labels)}
    gold: Any = [[number[label] for label in row.labels] for row in rows]
    shares = probabilities.clip(1e-9, 1 - 1e-9)
    if not multi_label:
        gold = np.array([places[0] for places in gold])
        shares = shares / shares.sum(axis=1, keepdims=True)
    if not rows or len({tuple(row.labels) for row in rows}) < 2:
        return []
    if multi_label:  # cleanlab asks of each label that some rows have it and some have not
        told = [place for place in range(len(labels)) if 0 < sum(place in row for row in gold) < len(rows)]
        gold, shares = [[told.index(place) for place in row if place in told] for row in gold], shares[:, told]
        if len(told) == 1:  # and that there are several labels: of one, with it and without it are two classes
            gold, shares = np.array([len(row) for row in gold]), np.hstack([1 - shares, shares])
    places = find_label_issues(
        gold, shares, return_indices_ranked_by="self_confidence", multi_label=isinstance(gold, list), n_jobs=1
    )
    return [
        {
            "text": rows[place].text[:CHARACTERS], "label": rows[place].label, "line": rows[place].line,
            "suggested": suggestion(probabilities[place], labels, multi_label),
            "score": float(probabilities[place].max()),
        }
        for place in places
    ]  # fmt: skip


def suggestion(shares: np.ndarray, labels: Sequence[str], multi_label: bool) -> str:
    """Return the label (or labels) that the probabilities speak for."""
    if multi_label:
        return "|".join(sorted(np.array(labels)[shares >= 0.5]))
    return labels[int(shares.argmax())]


def leaks(train: Sequence[Any], test: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the test rows that have a near duplicate in training, with it, the most similar first."""
    found = duplicates.pairs([row.text for row in test], [row.text for row in train])
    rows = [
        {
            "text": test[place].text[:CHARACTERS], "train_text": train[other].text[:CHARACTERS],
            "line": test[place].line, "train_line": train[other].line,
            "similarity": round(share, 3),
            "label": getattr(test[place], "label", ""), "train_label": getattr(train[other], "label", ""),
        }
        for place, other, share in found
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["similarity"])


def worst(rows: Sequence[Example], predicted: Sequence[str], scores: Sequence[float]) -> list[dict[str, Any]]:
    """Return the wrong answers, the most confident first."""
    wrong = [place for place, row in enumerate(rows) if row.label != predicted[place]]
    wrong.sort(key=lambda place: -scores[place])
    return [
        {
            "text": rows[place].text[:CHARACTERS], "label": rows[place].label, "predicted": predicted[place],
            "score": float(scores[place]), "line": rows[place].line,
        }
        for place in wrong
    ]  # fmt: skip
