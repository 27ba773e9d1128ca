"""Where Chinese words begin, as a bit a token."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np


@functools.cache
def segmenter() -> Any:
    """Return rjieba's segmenter, built once a process: it cannot be pickled."""
    import rjieba

    return rjieba.Jieba()


def word_boundaries(text: str) -> np.ndarray:
    """Return a mask (characters + 1,) that is True where a word of the text begins, and at its end."""
    lengths = [len(word) for word in segmenter().cut(text)]
    boundaries = np.zeros(len(text) + 1, dtype=bool)
    boundaries[np.cumsum([0, *lengths])] = True
    return boundaries


def word_starts(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return for each token (tokens,) whether a word begins with it, given the tokens' character offsets.

    A token that crosses a boundary merges the words it touches: the next token then starts inside a word and is none.
    """
    starts = np.fromiter((start for start, _ in offsets), dtype=np.int64, count=len(offsets))
    return word_boundaries(text)[starts]
