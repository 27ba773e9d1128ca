"""How much of the topics is chance: the same vectors with other seeds, and in other orders."""

from dataclasses import replace
from typing import TYPE_CHECKING

from finbert2.topics.cluster import Settings
from finbert2.topics.fit import place
from finbert2.topics.quality import stability

if TYPE_CHECKING:
    import numpy as np


def over_seeds(vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, runs: int) -> list["np.ndarray"]:
    """Return the labels of the same vectors (titles, width) with `runs` seeds after the settings' own."""
    seeds = range(settings.seed + 1, settings.seed + 1 + runs)
    return [place(vectors, weights, replace(settings, seed=seed)).labels for seed in seeds]


def over_orders(vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, runs: int) -> list["np.ndarray"]:
    """Return the labels of the same vectors, shuffled `runs` times, in their own order again."""
    import numpy as np

    found = []
    for number in range(runs):
        order = np.random.default_rng(number).permutation(len(vectors))
        labels = np.empty(len(vectors), dtype=np.int64)
        labels[order] = place(vectors[order], weights[order], settings).labels
        found.append(labels)
    return found


def measured(
    vectors: "np.ndarray", weights: "np.ndarray", labels: "np.ndarray", settings: Settings, runs: int
) -> dict[str, float]:
    """Return the mean pairwise AMI of the labels with those of other seeds and of other orders of the titles."""
    return {
        "stability_seeds": stability([labels, *over_seeds(vectors, weights, settings, runs)]),
        "stability_orders": stability([labels, *over_orders(vectors, weights, settings, runs)]),
    }
