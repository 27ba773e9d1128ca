"""Probabilities one can trust: temperature scaling, calibration error, and thresholds from the development part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 15
LEAST_F1 = 0.1  # of a threshold that is taken from the development part


def probabilities(logits: np.ndarray, temperature: float, multi_label: bool) -> np.ndarray:
    """Return the softmax (or, a label at a time, the sigmoid) of logits (rows, labels) divided by the temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if multi_label:
        return 1 / (1 + np.exp(-scaled.clip(-500, 500)))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss(logits: np.ndarray, gold: np.ndarray, temperature: float, multi_label: bool, doubt: float = 0.0) -> float:
    """Return the mean negative log-likelihood of the gold: label ids (rows), or 0 and 1 (rows, labels).

    `doubt` is the share of the likelihood that goes to all labels alike (or to both answers of each label).
    """
    shares = probabilities(logits, temperature, multi_label).clip(1e-12, 1 - 1e-12)
    if multi_label:
        yes, no = -np.log(shares), -np.log(1 - shares)
        return float(((1 - doubt) * (gold * yes + (1 - gold) * no) + doubt * (yes + no) / 2).mean())
    surprise = -np.log(shares)  # (rows, labels)
    return float(((1 - doubt) * surprise[np.arange(len(gold)), gold] + doubt * surprise.mean(axis=1)).mean())


def temperature(logits: np.ndarray, gold: np.ndarray, multi_label: bool = False) -> float:
    """Return the temperature between 0.05 and 20 of the lowest loss (Guo et al. 2017, arXiv 1706.04599, §4.2).

    Rows that are all right would have it fall without end: one more row is assumed of which nothing is known, as Platt
    (1999, §2.2) assumes one more of each class.
    """
    from scipy.optimize import minimize_scalar

    if len(gold) == 0:
        return 1.0
    doubt = 1 / (len(gold) + 1)
    found = minimize_scalar(
        lambda power: loss(logits, gold, float(np.exp(power)), multi_label, doubt), bounds=(-3.0, 3.0), method="bounded"
    )
    return float(np.exp(found.x))


def reliability(confidence: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    """Return the filled ones of 15 equal bins: rows, mean confidence and share of correct answers."""
    places = np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)
    return [
        {
            "rows": int((places == number).sum()), "confidence": float(confidence[places == number].mean()),
            "accuracy": float(correct[places == number].mean()),
        }
        for number in np.unique(places)
    ]  # fmt: skip


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Return the expected calibration error: |accuracy - confidence|, averaged over rows (Guo et al., equation 3)."""
    rows = sum(one["rows"] for one in bins)
    return sum(one["rows"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / rows if rows else 0.0


def outcomes(shares: np.ndarray, gold: np.ndarray, multi_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and correctness of each answer: of a row, or of a row and label in a multi-label task."""
    if multi_label:
        return np.maximum(shares, 1 - shares).ravel(), ((shares >= 0.5) == (gold > 0)).ravel()
    return shares.max(axis=1), shares.argmax(axis=1) == gold


def report(logits: np.ndarray, gold: np.ndarray, fitted: float, multi_label: bool) -> dict[str, Any]:
    """Return temperature, calibration error and reliability bins before and after scaling."""
    table: dict[str, Any] = {"temperature": fitted}
    for name, value in (("before", 1.0), ("after", fitted)):
        bins = reliability(*outcomes(probabilities(logits, value, multi_label), gold, multi_label))
        table |= {f"ece_{name}": calibration_error(bins), f"bins_{name}": bins}
    return table


def abstaining(shares: np.ndarray, gold: np.ndarray, labels: Sequence[str], precision: float) -> dict[str, float]:
    """Return for each label the lowest probability above which its answers are right as often as `precision` asks.

    A label that never is gets a threshold above 1: it is always abstained from.
    """
    best, score = shares.argmax(axis=1), shares.max(axis=1)
    thresholds = {}
    for number, label in enumerate(labels):
        mine = best == number
        order = np.argsort(-score[mine], kind="stable")
        scores, right = score[mine][order], (gold[mine] == number)[order]
        kept = np.cumsum(right) / np.arange(1, len(right) + 1) >= precision
        last = np.append(scores[1:] < scores[:-1], True) if len(scores) else np.zeros(0, bool)  # of equal scores
        places = np.flatnonzero(kept & last)
        thresholds[label] = float(scores[places[-1]]) - 1e-9 if len(places) else 1.01
    return thresholds


def best_f1(shares: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Return for each label of a multi-label task the threshold of the best F1.

    0.5 for a label without positive rows, and for one whose best F1 is below `LEAST_F1`: a single row that was ranked
    far down would have the label given to all above it (SCutFBR: Yang, SIGIR 2001; Lewis et al., JMLR 5, 2004).
    """
    thresholds = dict.fromkeys(labels, 0.5)
    for number, label in enumerate(labels):
        order = np.argsort(-shares[:, number], kind="stable")
        scores, right = shares[order, number], gold[order, number] > 0
        if not right.any():
            continue
        f1 = 2 * np.cumsum(right) / (np.arange(1, len(right) + 1) + right.sum())
        f1[:-1][scores[1:] == scores[:-1]] = -1  # equal scores are answered alike
        place = int(f1.argmax())
        if f1[place] >= LEAST_F1:
            below = scores[place + 1] if place + 1 < len(scores) else 0.0
            thresholds[label] = float((scores[place] + below) / 2)
    return thresholds
