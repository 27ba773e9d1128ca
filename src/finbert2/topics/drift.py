"""What a later month of titles did to topics that were not refitted: which grew, which words came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finbert2.topics.counts import frequent
from finbert2.topics.trends import Trend, compare

if TYPE_CHECKING:
    import numpy as np

    from finbert2.topics.model import TopicModel

NEW_WORDS = 50


@dataclass(frozen=True)
class Drift:
    """The new titles against those that the topics have counted so far."""

    topics: list[Trend]  # each topic's share of the titles with a topic, before and now
    coverage: float  # share of the new titles that have a topic
    similarity: list[float | None]  # of each topic: mean similarity of its new titles to its centre; None without any
    new_words: list[tuple[str, int]]  # words that the vocabulary lacks, with the number of new titles that hold them


def drift(
    model: "TopicModel", words: Sequence[Sequence[str]], labels: "np.ndarray", similarity: "np.ndarray",
    weights: "np.ndarray",
) -> Drift:  # fmt: skip
    """Compare new distinct titles (their words, topics and similarities, how often each occurs) with the model."""
    import numpy as np

    inside = labels >= 0
    now = np.bincount(labels[inside], weights[inside], minlength=len(model.topics))
    before = np.array([topic.size for topic in model.topics])
    totals = int(before.sum()), int(now.sum())
    moves = [
        compare(number, (int(before[number]), int(now[number])), totals) if all(totals) else Trend(number, 0, 0, 0, "")
        for number in range(len(before))
    ]
    sums = np.bincount(labels[inside], (weights * similarity)[inside], minlength=len(before))
    near = [float(total / titles) if titles else None for total, titles in zip(sums, now, strict=True)]
    known = set(model.vocabulary)
    fresh = [(word, titles) for word, titles in frequent(words) if word not in known][:NEW_WORDS]
    return Drift(moves, float(weights[inside].sum() / weights.sum()), near, fresh)


def drift_rows(found: Drift, before: "TopicModel", after: "TopicModel") -> list[dict[str, Any]]:
    """Return a row a topic for `drift.csv`, the largest moves first."""
    rows = []
    for move in sorted(found.topics, key=lambda move: -abs(move.z)):
        old, new = before.topics[move.topic], after.topics[move.topic]
        near = found.similarity[move.topic]
        rows.append({
            "topic": move.topic, "words": " ".join(new.words[:5]), "kind": move.kind,
            "share_before": round(move.before, 5), "share_now": round(move.recent, 5), "z": round(move.z, 2),
            "titles_now": new.size - old.size,
            "similarity_now": "" if near is None else round(near, 4),
            "threshold": round(float(after.thresholds[move.topic]), 4),
            "words_in": " ".join(word for word in new.words if word not in old.words),
            "words_out": " ".join(word for word in old.words if word not in new.words),
        })  # fmt: skip
    return rows
