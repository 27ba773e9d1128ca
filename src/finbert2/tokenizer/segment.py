"""What jieba takes for words: the second opinion on what SentencePiece proposes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finbert2.segment import word_boundaries
from finbert2.tokenizer.matching import Text

SAMPLE = 10_000_000  # characters of a corpus that are segmented


def edges_of(jieba: Any, texts: Sequence[str], text: Text) -> tuple[np.ndarray, int]:
    """Return the mask of word edges over an encoded corpus (characters + 1,) and how much of it was segmented."""
    edges = np.zeros(len(text.codes) + 1, bool)
    end = 0
    for start, one in zip(text.starts, texts, strict=True):
        end = int(start) + len(one)
        edges[start : end + 1] |= word_boundaries(jieba, one)
        if end > SAMPLE:
            break
    return edges, end


def is_word(jieba: Any, piece: str) -> bool:
    """Tell whether the dictionary alone keeps a piece whole."""
    return len(jieba.cut(piece, hmm=False)) == 1
