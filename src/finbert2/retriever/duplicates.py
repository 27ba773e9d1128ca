"""Texts that say what another says, by their characters."""

from collections.abc import Iterable

import numpy as np

from finbert2 import ngrams
from finbert2.retriever.bm25 import RUN


def normalise(text: str) -> str:
    """Return the word characters of a text, lower case."""
    return "".join(RUN.findall(text.lower()))


def trigrams(text: str) -> np.ndarray:
    """Return the different character trigrams of a text as sorted numbers; a shorter text is one of its own."""
    codes = ngrams.codes(text.ljust(3))
    return np.unique(codes[:-2] << 42 | codes[1:-1] << 21 | codes[2:])


class Refusal:
    """Tells which passages say what a positive of a query, or the query itself, says; keeps what it has read."""

    def __init__(self, near: float) -> None:
        self.near = near
        self.plain: dict[str, str] = {}
        self.sets: dict[str, np.ndarray] = {}

    def normalised(self, text: str) -> str:
        """Return a text's word characters, computed once."""
        if text not in self.plain:
            self.plain[text] = normalise(text)
        return self.plain[text]

    def trigrams(self, text: str) -> np.ndarray:
        """Return a text's trigrams, computed once."""
        if text not in self.sets:
            self.sets[text] = trigrams(self.normalised(text))
        return self.sets[text]

    def exact(self, text: str, query: str, known: Iterable[str]) -> str | None:
        """Return "positive" or "query" where a passage has the word characters of one, else None."""
        plain = self.normalised(text)
        if any(plain == self.normalised(positive) for positive in known):
            return "positive"
        return "query" if plain == self.normalised(query) else None

    def nearly(self, text: str, known: Iterable[str]) -> bool:
        """Tell whether a passage has most of its trigrams in common with a positive."""
        own = self.trigrams(text)
        return any(ngrams.jaccard(own, self.trigrams(positive), self.near) >= self.near for positive in known)
