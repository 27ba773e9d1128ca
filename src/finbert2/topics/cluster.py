"""Vectors to topics: fewer dimensions, dense groups, and the rule that gives any title its topic."""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finbert2 import runtime
from finbert2.errors import UserError
from finbert2.topics.titles import FEWEST

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How fine the topics are, and what decides."""

    dimensions: int
    neighbors: int
    min_topic_size: int
    min_samples: int
    num_topics: int | None
    lexical_weight: float
    outlier_quantile: float
    seed: int
    method: str = "hdbscan"
    layer: int | None = None
    max_fit_titles: int = 100_000


@dataclass(frozen=True)
class Groups:
    """Groups of vectors, and the points among which they were found."""

    labels: "np.ndarray"  # (vectors,) -1: in none
    points: "np.ndarray"  # (clustered vectors, dimensions)
    rows: "np.ndarray"  # (clustered vectors,) which of the vectors the points are
    layers: list[int] = field(default_factory=list)  # EVoC: the numbers of groups of its layers, finest first


def find_groups(vectors: "np.ndarray", settings: Settings, listed: "np.ndarray | None" = None) -> Groups:
    """Return groups of the vectors by the settings' method; vectors that are `listed` (0 and up) are groups already.

    hdbscan: UMAP, then dense groups, or `num_topics` groups by k-means in its layout. kmeans: in the vectors' own
    space. evoc: EVoC on the vectors, of its layers the one asked for or nearest to `num_topics`.

    Raises `UserError` if there are too few; beside listed ones any number will do, and the rest is in no group.
    """
    import numpy as np

    listed = np.full(len(vectors), -1) if listed is None else listed
    rows = np.flatnonzero(listed < 0)
    points, layers, number = vectors[rows], list[int](), settings.num_topics
    if len(rows) < FEWEST:  # a list that takes nearly every title leaves none to find topics among
        return Groups(listed, points, rows)
    alone = len(rows) == len(vectors)
    if number and not alone:
        number = affordable(number, len(points))
    if settings.method == "evoc":
        found, layers = evoc_groups(points, settings)
    elif settings.method == "kmeans":
        found = equal_groups(points, number or 0, settings.seed)
    else:
        points = reduce(points, settings.dimensions, settings.neighbors, settings.seed)
        found = (
            equal_groups(points, number, settings.seed)
            if number
            else dense_groups(points, settings.min_topic_size, settings.min_samples, fewest=2 if alone else 0)
        )
    labels = listed.copy()
    labels[rows] = np.where(found >= 0, found + listed.max(initial=-1) + 1, -1)
    return Groups(labels, points, rows, layers)


@runtime.threads_kept()
def evoc_groups(vectors: "np.ndarray", settings: Settings) -> tuple["np.ndarray", list[int]]:
    """Return one layer of EVoC's groups, and how many groups each layer has; `UserError` if it is not installed."""
    import numpy as np

    try:
        from evoc import EVoC
    except ImportError:
        raise UserError("--method evoc needs the package evoc: pip install 'finbert2[evoc]'") from None
    model = EVoC(
        base_min_cluster_size=settings.min_topic_size, min_samples=settings.min_samples, n_neighbors=settings.neighbors,
        random_state=settings.seed, approx_n_clusters=settings.num_topics,
    )  # fmt: skip
    favourite = model.fit_predict(np.ascontiguousarray(vectors))
    layers = list(model.cluster_layers_)
    numbers = [int(layer.max()) + 1 for layer in layers]
    if settings.layer is not None:
        if not 0 <= settings.layer < len(layers):
            raise UserError(f"--layer is {settings.layer}, but EVoC found {len(layers)} layers, of {numbers} topics")
        return layers[settings.layer], numbers
    if settings.num_topics:
        return layers[int(np.argmin([abs(number - settings.num_topics) for number in numbers]))], numbers
    return favourite, numbers


@runtime.threads_kept()
def reduce(vectors: "np.ndarray", dimensions: int, neighbors: int, seed: int, min_dist: float = 0.0) -> "np.ndarray":
    """Lay the vectors out by UMAP; a whole-number seed makes it repeat exactly, on one thread."""
    from umap import UMAP

    if neighbors >= len(vectors):
        log.warning(
            "--neighbors is %d, but there are %d titles: %d are taken", neighbors, len(vectors), len(vectors) - 1
        )
    # Few titles: UMAP's spectral start needs two points more than dimensions, its graph one more than neighbours.
    layout = UMAP(
        n_components=min(dimensions, len(vectors) - 2), n_neighbors=min(neighbors, len(vectors) - 1),
        min_dist=min_dist, metric="cosine", random_state=seed, n_jobs=1,
    )  # fmt: skip
    return layout.fit_transform(vectors)


def dense_groups(points: "np.ndarray", min_topic_size: int, min_samples: int, fewest: int = 2) -> "np.ndarray":
    """Return HDBSCAN's groups of the points, -1 for those in none; `UserError` if there are fewer than `fewest`."""
    from hdbscan import HDBSCAN

    labels = HDBSCAN(min_cluster_size=min_topic_size, min_samples=min_samples, core_dist_n_jobs=1).fit_predict(points)
    if labels.max() + 1 < fewest:
        raise UserError(
            f"{labels.max() + 1} topics of at least {min_topic_size} titles were found among {len(points)} distinct "
            "titles: give a smaller --min_topic_size, more titles, or a number by --num_topics"
        )
    return labels


def affordable(number: int, titles: int) -> int:
    """Return the number of topics to find among the titles that a list left: two titles each at least."""
    if number > titles // 2:
        log.warning(
            "--num_topics is %d, but the list leaves %d distinct titles: %d are found among them",
            number, titles, titles // 2,
        )  # fmt: skip
    return min(number, titles // 2)


def equal_groups(points: "np.ndarray", number: int, seed: int) -> "np.ndarray":
    """Return `number` groups by k-means: every point is in one."""
    from sklearn.cluster import KMeans

    if number > len(points) // 2:
        raise UserError(f"--num_topics is {number}, but there are only {len(points)} distinct titles: ask for fewer")
    return KMeans(number, n_init=3, random_state=seed).fit_predict(points)


def largest_first(labels: "np.ndarray", weights: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Number the topics anew by falling size, without gaps; -1 stays. Also return the old number of each new one."""
    import numpy as np

    found, compact = np.unique(labels[labels >= 0], return_inverse=True)
    sizes = np.bincount(compact, weights[labels >= 0], minlength=len(found))
    rank = np.empty(len(found), dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    rank[order] = np.arange(len(found))
    renumbered = np.full(len(labels), -1, dtype=np.int64)
    renumbered[labels >= 0] = rank[compact]
    return renumbered, found[order]


def centroids(vectors: "np.ndarray", labels: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """Return the unit mean vector of each topic's titles, noise left out: (topics, width)."""
    import numpy as np

    from finbert2.topics.vectors import unit

    sums = np.zeros((labels.max() + 1, vectors.shape[1]))
    inside = labels >= 0
    np.add.at(sums, labels[inside], vectors[inside] * weights[inside, None])
    return unit(sums)


def thresholds(vectors: "np.ndarray", labels: "np.ndarray", centres: "np.ndarray", quantile: float) -> "np.ndarray":
    """Return for each topic the similarity that all but `quantile` of its own titles have to its centre: (topics,)."""
    import numpy as np

    found = [
        np.quantile(vectors[labels == topic] @ centre, quantile, method="lower") for topic, centre in enumerate(centres)
    ]
    # A hair below: the same title, encoded in another batch, differs in the last digits.
    return (np.array(found) - 1e-4).astype(np.float32)


def assign(vectors: "np.ndarray", centres: "np.ndarray", least: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Return each vector's nearest topic, -1 where it is less similar than that topic's threshold; and how similar.

    Each vector is judged alone: the answer is the same for one title and for a million.
    """
    import numpy as np

    labels, similar = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), 8192):
        similarity = vectors[start : start + 8192] @ centres.T  # (titles, topics)
        labels[start : start + 8192] = similarity.argmax(axis=1)
        similar[start : start + 8192] = similarity.max(axis=1)
    return np.where(similar >= least[labels], labels, -1), similar
