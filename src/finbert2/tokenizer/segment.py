"""What jieba takes for words: the second opinion on what SentencePiece proposes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finbert2.tokenizer.matching import Text

LONGEST = 100_000  # a text is cut there: jieba holds all words of one call in memory
SAMPLE = 10_000_000  # characters of a corpus that are segmented


def segmenter(userdict: Sequence[str] = ()) -> Any:
    """Return jieba (its Rust version), with the words of a user dictionary kept whole."""
    import rjieba

    jieba = rjieba.Jieba()
    for word in userdict:
        jieba.add_word(word, None, None)
    return jieba


def word_edges(jieba: Any, text: str) -> np.ndarray:
    """Return a mask (characters + 1,) that is True where a word of the text begins, and at its end."""
    edges = np.zeros(len(text) + 1, bool)
    for start in range(0, len(text), LONGEST):
        # A lone surrogate is no UTF-8; a blank takes its place.
        part = text[start : start + LONGEST].encode("utf-8", "replace").decode("utf-8")
        edges[start + np.cumsum([0, *map(len, jieba.cut(part))])] = True
    edges[[0, -1]] = True
    return edges


def edges_of(jieba: Any, texts: Sequence[str], text: Text) -> tuple[np.ndarray, int]:
    """Return the mask of word edges over an encoded corpus (characters + 1,) and how much of it was segmented."""
    edges = np.zeros(len(text.codes) + 1, bool)
    end = 0
    for start, one in zip(text.starts, texts, strict=True):
        end = int(start) + len(one)
        edges[start : end + 1] |= word_edges(jieba, one)
        if end > SAMPLE:
            break
    return edges, end


def is_word(jieba: Any, piece: str) -> bool:
    """Tell whether the dictionary alone keeps a piece whole."""
    return len(jieba.cut(piece, hmm=False)) == 1
