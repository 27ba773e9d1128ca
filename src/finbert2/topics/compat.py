"""The four numbers of the original's `evaluate_cluster_quality.py`, by its own definitions.

Only for comparison with numbers published by that code. What is wrong with them: noise counts as one large cluster and
as a topic, the space is the encoder's own UMAP layout, and short topics are padded with an empty word.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finbert2.topics.counts import Counts, class_tfidf, top_words, topic_counts
from finbert2.topics.quality import fixed_sample

if TYPE_CHECKING:
    import numpy as np

WORDS = 10


def padded_diversity(words: Sequence[Sequence[str]]) -> float:
    """Return distinct words over topics × 10, each topic padded to ten with the empty word as BERTopic does."""
    padded = {word for topic in words for word in [*topic, *[""] * WORDS][:WORDS]}
    return len(padded) / (WORDS * len(words))


def original_numbers(
    points: "np.ndarray", labels: "np.ndarray", counts: Counts, weights: "np.ndarray"
) -> dict[str, float | None]:
    """Return silhouette, Calinski–Harabasz, Davies–Bouldin and diversity of the clustered points (titles, dimensions).

    All with noise as a cluster. The silhouette compares all pairs and is taken on a fixed sample of 5,000; the original
    took it on all.
    """
    import numpy as np
    from sklearn import metrics

    chosen = fixed_sample(np.arange(len(points)))
    words = top_words(class_tfidf(topic_counts(counts, labels - labels.min(), weights)), counts.vocabulary)
    found: dict[str, float | None] = {"topic_diversity": padded_diversity(words)}
    if 2 <= len(set(labels[chosen].tolist())) < len(chosen):
        found["silhouette"] = float(metrics.silhouette_score(points[chosen], labels[chosen]))
        found["calinski_harabasz"] = float(metrics.calinski_harabasz_score(points, labels))
        found["davies_bouldin"] = float(metrics.davies_bouldin_score(points, labels))
    return found
