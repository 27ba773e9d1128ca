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


def fixed_sample(rows: "np.ndarray") -> "np.ndarray":
    """Return the rows, or `SAMPLE` of them, always the same ones."""
    import numpy as np

    return rows if len(rows) <= SAMPLE else np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))


def shape(vectors: "np.ndarray", labels: "np.ndarray", metric: str = "cosine") -> dict[str, float | None]:
    """Return silhouette (by `metric`), Calinski–Harabasz and Davies–Bouldin of the vectors, noise left out.

    Meant for the space before UMAP: its islands look well apart whatever the vectors are worth.
    """
    import numpy as np
    from sklearn import metrics

    inside = fixed_sample(np.flatnonzero(labels >= 0))
    points, groups = vectors[inside], labels[inside]
    if not 2 <= len(set(groups)) < len(groups):
        return dict.fromkeys(("silhouette", "calinski_harabasz", "davies_bouldin"))
    return {
        "silhouette": float(metrics.silhouette_score(points, groups, metric=metric)),
        "calinski_harabasz": float(metrics.calinski_harabasz_score(points, groups)),
        "davies_bouldin": float(metrics.davies_bouldin_score(points, groups)),
    }


def clustered_shape(points: "np.ndarray", labels: "np.ndarray") -> dict[str, float | None]:
    """Return the measures of `shape`, by Euclidean distance, and DBCV in the space that was clustered."""
    found = {f"clustered_{name}": value for name, value in shape(points, labels, "euclidean").items()}
    return found | {"clustered_dbcv": dbcv(points, labels)}


def dbcv(points: "np.ndarray", labels: "np.ndarray") -> float | None:
    """Return density-based cluster validity (Moulavi et al., 2014), -1 to 1, on the fixed sample; noise counts against.

    Topics of fewer than three sampled titles are left out: they have no density. None if fewer than two are left.
    """
    import numpy as np
    from hdbscan.validity import validity_index

    chosen = fixed_sample(np.arange(len(points)))
    kept, groups = np.asarray(points[chosen], dtype=np.float64), labels[chosen].copy()
    _, first = np.unique(kept, axis=0, return_index=True)  # equal points have no density: one stands for them
    kept, groups = kept[np.sort(first)], groups[np.sort(first)]
    numbers, members = np.unique(groups[groups >= 0], return_counts=True)
    groups = np.where(np.isin(groups, numbers[members > 2]), groups, -1)
    numbers, compact = np.unique(groups, return_inverse=True)
    if (numbers >= 0).sum() < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        score = float(validity_index(kept, compact - int(numbers[0] < 0)))
    return score if np.isfinite(score) else None


def stability(labelings: Sequence["np.ndarray"]) -> float:
    """Return the mean AMI over all pairs of labelings of the same titles; noise is one group."""
    from itertools import combinations
    from statistics import fmean

    from sklearn.metrics import adjusted_mutual_info_score

    return fmean(float(adjusted_mutual_info_score(one, other)) for one, other in combinations(labelings, 2))


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
