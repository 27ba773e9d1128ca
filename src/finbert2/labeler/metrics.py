"""What a classifier and a tagger are judged by: scores, intervals and paired tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finbert2.labeler.data import SEPARATOR

RESAMPLES = 1000
CELLS = 4_000_000  # of a block of resamples × rows in memory


def classification(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], multi_label: bool = False
) -> dict[str, Any]:
    """Return macro F1, accuracy, weighted F1, MCC and a table per class; a class never predicted counts as F1 = 0.

    Of a multi-label task (`a|b`): accuracy is the share of rows with exactly the right labels, and micro-F1 and the
    Hamming loss (wrong decisions per row and label) stand in place of MCC.
    """
    from sklearn.metrics import accuracy_score, f1_score, hamming_loss, matthews_corrcoef
    from sklearn.metrics import precision_recall_fscore_support as table

    answered = {label for row in (*gold, *predicted) for label in (row.split(SEPARATOR) if multi_label else [row])}
    present = [label for label in labels if label in answered]
    one, other = (indicators(rows, labels) if multi_label else list(rows) for rows in (gold, predicted))
    places: Any = [list(labels).index(label) for label in present] if multi_label else present
    precision, recall, f1, support = table(one, other, labels=places, zero_division=0)
    more = (
        {
            "micro_f1": float(f1_score(one, other, average="micro", zero_division=0)),
            "hamming_loss": float(hamming_loss(one, other)),
        }
        if multi_label else {"mcc": float(matthews_corrcoef(one, other))}
    )  # fmt: skip
    return {
        "macro_f1": float(np.mean(f1)) if len(f1) else 0.0,
        "accuracy": float(accuracy_score(one, other)),
        "weighted_f1": float(f1_score(one, other, labels=places, average="weighted", zero_division=0)),
        **more,
        "per_class": {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for label, p, r, f, s in zip(present, precision, recall, f1, support, strict=True)
        },
    }


def indicators(rows: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return multi-label rows `a|b` as 0 and 1 (rows, labels)."""
    return np.array([[label in row.split(SEPARATOR) for label in labels] for row in rows], dtype=int)


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Return how many rows of each label (outer) were answered with each label (inner); no answer is in no column."""
    number = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=int)
    for one, other in zip(gold, predicted, strict=True):
        if other in number:
            table[number[one], number[other]] += 1
    return table.tolist()


def tagging(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return F1, precision and recall of whole entities (seqeval), over all types and per type."""
    from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

    gold, predicted = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    table = classification_report(gold, predicted, output_dict=True, zero_division=0)
    kinds = {kind: row for kind, row in table.items() if not kind.endswith(" avg")}
    return {
        "f1": float(f1_score(gold, predicted, zero_division=0)),
        "precision": float(precision_score(gold, predicted, zero_division=0)),
        "recall": float(recall_score(gold, predicted, zero_division=0)),
        "per_type": {kind: {name: float(value) for name, value in row.items()} for kind, row in kinds.items()},
    }


def class_counts(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], multi: bool) -> np.ndarray:
    """Return (rows, 3, labels): whether a label is right, is answered, is gold. F1s add these up over rows."""
    one, other = (indicators(rows, labels) if multi else one_hot(rows, labels) for rows in (gold, predicted))
    return np.stack([one * other, other, one], axis=1)


def one_hot(rows: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return single labels as 0 and 1 (rows, labels)."""
    return (np.array(rows)[:, None] == np.array(labels)[None, :]).astype(int)


def entity_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Return (sentences, 3, 1): entities that are right, that are answered, that are gold."""
    from seqeval.metrics.sequence_labeling import get_entities

    sets = [(set(get_entities(list(g))), set(get_entities(list(p)))) for g, p in zip(gold, predicted, strict=True)]
    return np.array([[[len(g & p)], [len(p)], [len(g)]] for g, p in sets])


def macro_f1(totals: np.ndarray) -> np.ndarray:
    """Return the macro F1 of summed counts (…, 3, labels) over the labels that were answered or gold."""
    right, answered, gold = totals[..., 0, :], totals[..., 1, :], totals[..., 2, :]
    there = answered + gold > 0
    f1 = np.divide(2 * right, answered + gold, out=np.zeros(right.shape), where=there)
    return f1.sum(-1) / np.maximum(there.sum(-1), 1)


def resampled(counts: np.ndarray) -> np.ndarray:
    """Return macro F1 (resamples) of rows drawn with replacement from counts (rows, 3, labels).

    The same number of rows draws the same rows: differences between two models are paired.
    """
    chance = np.random.default_rng(0)
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    block = max(1, min(RESAMPLES, CELLS // len(counts)))
    scores = []
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        draws = chance.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=size)
        scores.append(macro_f1((draws.astype(np.float64) @ flat).reshape(size, *counts.shape[1:])))
    return np.concatenate(scores)


def interval(scores: np.ndarray) -> list[float]:
    """Return the middle 95 % of resampled scores, a percentile bootstrap interval."""
    return [float(value) for value in np.quantile(scores, [0.025, 0.975])]


def paired(counts: np.ndarray, other: np.ndarray, right: np.ndarray, other_right: np.ndarray) -> dict[str, Any]:
    """Return how much better in macro F1 one model is than another on the same rows, and how sure that is.

    `difference` with its bootstrap interval; `p` is two-sided: twice the smaller share of resamples on one side of 0
    (Efron & Tibshirani 1993, §15.4); `mcnemar_p` is the exact McNemar test of rows that one of the two has wholly
    right (`right`, `other_right`: booleans a row).
    """
    from scipy.stats import binomtest

    differences = resampled(counts) - resampled(other)
    sides = (1 + (differences <= 0).sum(), 1 + (differences >= 0).sum())
    only, only_other = int((right & ~other_right).sum()), int((~right & other_right).sum())
    return {
        "difference": float(macro_f1(counts.sum(0)) - macro_f1(other.sum(0))),
        "interval": interval(differences),
        "p": float(min(1.0, 2 * min(sides) / (len(differences) + 1))),
        "mcnemar_p": float(binomtest(only, only + only_other).pvalue) if only + only_other else 1.0,
    }
