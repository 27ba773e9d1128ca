"""Runs of n characters as numbers: Chinese has no blanks to split words at."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def codes(text: str) -> np.ndarray:
    """Return the characters (characters,) of a text as uint64."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)


def polynomials(codes: np.ndarray, n: int) -> np.ndarray:
    """Return one uint64 for each run of n characters (characters - n + 1,), a polynomial in 2^64; none for fewer.

    The low bits know only the last characters: who takes a part of them mixes the high ones in.
    """
    count = max(0, len(codes) - n + 1)
    hashes = codes[:count]
    for offset in range(1, n):  # one multiplication a place instead of one hash call a gram
        hashes = hashes * GOLDEN + codes[offset : offset + count]
    return hashes


def jaccard(one: np.ndarray, other: np.ndarray, least: float = 0.0) -> float:
    """Return the share that two sets without repetitions have in common, 0 where sizes alone put it below `least`."""
    small, large = sorted((len(one), len(other)))
    if small < least * large:
        return 0.0
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
