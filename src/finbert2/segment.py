"""What jieba takes for words."""

from collections.abc import Iterable
from typing import Any

import numpy as np

LONGEST = 100_000  # a text is cut there: jieba holds all words of one call in memory


def segmenter(userdict: Iterable[str] = ()) -> Any:
    """Return jieba (its Rust version), with the words of a user dictionary kept whole; it cannot be pickled."""
    import rjieba

    jieba = rjieba.Jieba()
    for word in userdict:
        jieba.add_word(word, None, None)
    return jieba


def word_boundaries(jieba: Any, text: str) -> np.ndarray:
    """Return a mask (characters + 1,) that is True where a word of the text begins, and at its end."""
    boundaries = np.zeros(len(text) + 1, dtype=bool)
    boundaries[0] = True
    for start in range(0, len(text), LONGEST):
        boundaries[start + np.cumsum([0, *map(len, jieba.cut(text[start : start + LONGEST]))])] = True
    return boundaries
