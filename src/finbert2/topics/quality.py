"""How good topics are: coverage first, then words, then shape, then agreement with a reference column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

SAMPLE = 5000  # silhouette compares all pairs; a fixed sample keeps runs comparable


def coverage(labels: "np.ndarray", weights: "np.ndarray") -> float:
    """Return the share of titles that have a topic."""
    return float(weights[labels >= 0].sum() / weights.sum())


def topic_diversity(words: Sequence[Sequence[str]]) -> float:
    """Return distinct words over words, counted over the topics' best words as they are, never padded."""
    everything = [word for topic in words for word in topic]
    return len(set(everything)) / len(everything) if everything else 0.0


def npmi(
    words: Sequence[Sequence[str]], counts: "csr_matrix", vocabulary: Sequence[str], weights: "np.ndarray"
) -> float:
    """Return the mean coherence of the topics' best words: normalised mutual information over whole titles.

    A pair that never shares a title scores -1, one that always does 1.
    """
    import numpy as np

    place = {word: number for number, word in enumerate(vocabulary)}
    present = (counts > 0).astype(np.float64).tocsc()  # (titles, words)
    shares = (weights / weights.sum())[:, None]
    topics = [present[:, [place[word] for word in topic]] for topic in words if len(topic) > 1]
    scores = [pair_scores((columns.T @ columns.multiply(shares)).toarray()) for columns in topics]
    return float(np.mean(scores)) if scores else 0.0


def pair_scores(together: "np.ndarray") -> float:
    """Return the mean NPMI over the pairs of a matrix of joint probabilities (words, words)."""
    import numpy as np

    first, second = np.triu_indices(len(together), k=1)
    both, alone = together[first, second], np.diag(together)
    scores = np.where(both >= 1, 1.0, -1.0)
    inner = (both > 0) & (both < 1)
    expected = alone[first[inner]] * alone[second[inner]]
    scores[inner] = np.log(both[inner] / expected) / -np.log(both[inner])
    return float(scores.mean())


def shape(vectors: "np.ndarray", labels: "np.ndarray") -> dict[str, float | None]:
    """Return silhouette (by cosine), Calinski–Harabasz and Davies–Bouldin in the vectors' own space, noise left out.

    Measured before UMAP: its islands look well apart whatever the vectors are worth.
    """
    import numpy as np
    from sklearn import metrics

    inside = np.flatnonzero(labels >= 0)
    if len(inside) > SAMPLE:
        inside = np.sort(np.random.default_rng(0).choice(inside, SAMPLE, replace=False))
    points, groups = vectors[inside], labels[inside]
    if not 2 <= len(set(groups)) < len(groups):
        return dict.fromkeys(("silhouette", "calinski_harabasz", "davies_bouldin"))
    return {
        "silhouette": float(metrics.silhouette_score(points, groups, metric="cosine")),
        "calinski_harabasz": float(metrics.calinski_harabasz_score(points, groups)),
        "davies_bouldin": float(metrics.davies_bouldin_score(points, groups)),
    }


def agreement(labels: "np.ndarray", reference: Sequence[str]) -> dict[str, float]:
    """Return AMI, ARI and NMI with a reference column: over all rows (noise is one group) and over those with a topic.

    Rows without a reference value are left out.
    """
    import numpy as np
    from sklearn import metrics

    known = np.array([bool(value) for value in reference])
    ours, theirs = labels[known], np.asarray(reference)[known]
    inside = ours >= 0
    measures = {
        "ami": metrics.adjusted_mutual_info_score,
        "ari": metrics.adjusted_rand_score,
        "nmi": metrics.normalized_mutual_info_score,
    }
    whole = {name: float(score(theirs, ours)) for name, score in measures.items()}
    return whole | {f"{name}_covered": float(score(theirs[inside], ours[inside])) for name, score in measures.items()}
