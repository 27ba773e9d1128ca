"""Whether two methods differ on the same queries: bootstrap intervals and the paired randomisation test."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def interval(values: "Sequence[float] | np.ndarray", seed: int, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean over queries (Efron 1979)."""
    import numpy as np

    scores, chance = np.asarray(values, np.float64), np.random.default_rng(seed)
    means = [scores[chance.integers(0, len(scores), len(scores))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def randomisation(first: Sequence[float], second: Sequence[float], seed: int, rounds: int = 10_000) -> float:
    """Return the two-sided p-value of the paired randomisation test on the mean difference (Fisher; Smucker 2007).

    Under the null hypothesis each query's two values are exchangeable: signs of the differences are drawn anew, and
    the share of draws at least as far from 0 as what was found, that one counted in, is the p-value.
    """
    import numpy as np

    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    chance, found = np.random.default_rng(seed), abs(differences.sum())
    extreme = 0
    for start in range(0, rounds, 500):
        signs = chance.integers(0, 2, (min(500, rounds - start), len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= found - 1e-12).sum())
    return (extreme + 1) / (rounds + 1)


def compare(by_method: Mapping[str, Mapping[str, float]], seed: int) -> dict[str, dict[str, float]]:
    """Return for each method, given each query's value, its p-values against every other method."""
    names = list(by_method)
    values = {name: [by_method[name][query] for query in by_method[names[0]]] for name in names}
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            found[one][other] = found[other][one] = randomisation(values[one], values[other], seed)
    return found
