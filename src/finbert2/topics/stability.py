"""How much of the topics is chance: the same vectors with other seeds, and in other orders."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from finbert2.errors import UserError
from finbert2.topics.cluster import Settings
from finbert2.topics.fit import place
from finbert2.topics.quality import stability

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


def refit(
    vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, listed: "np.ndarray | None"
) -> "np.ndarray | None":
    """Return the labels of the vectors placed anew, None where chance makes the topics too few."""
    try:
        return place(vectors, weights, settings, listed).labels
    except UserError as error:
        log.warning("a refit with seed %d is left out of the stability: %s", settings.seed, error)
        return None


def over_seeds(
    vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, runs: int, listed: "np.ndarray | None" = None
) -> list["np.ndarray"]:
    """Return the labels of the same vectors (titles, width) with `runs` seeds after the settings' own."""
    seeds = range(settings.seed + 1, settings.seed + 1 + runs)
    found = [refit(vectors, weights, replace(settings, seed=seed), listed) for seed in seeds]
    return [labels for labels in found if labels is not None]


def over_orders(
    vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, runs: int, listed: "np.ndarray | None" = None
) -> list["np.ndarray"]:
    """Return the labels of the same vectors, shuffled `runs` times, in their own order again."""
    import numpy as np

    found = []
    for number in range(runs):
        order = np.random.default_rng(number).permutation(len(vectors))
        known = None if listed is None else listed[order]
        shuffled = refit(vectors[order], weights[order], settings, known)
        if shuffled is not None:
            labels = np.empty(len(vectors), dtype=np.int64)
            labels[order] = shuffled
            found.append(labels)
    return found


def measured(
    vectors: "np.ndarray", weights: "np.ndarray", labels: "np.ndarray", settings: Settings, runs: int,
    listed: "np.ndarray | None" = None,
) -> dict[str, float | None]:  # fmt: skip
    """Return the mean pairwise AMI of the labels with those of other seeds and of other orders of the titles.

    Vectors that are `listed` keep their group in each refit. Refits that found too few topics are left out and, if
    there are any, counted; a measure that none is left for is None. Without `runs` nothing is measured.
    """
    if not runs:
        return {}
    refits = {
        "stability_seeds": over_seeds(vectors, weights, settings, runs, listed),
        "stability_orders": over_orders(vectors, weights, settings, runs, listed),
    }
    skipped = 2 * runs - sum(map(len, refits.values()))
    found = {name: stability([labels, *others]) if others else None for name, others in refits.items()}
    return found | ({"stability_skipped": skipped} if skipped else {})
