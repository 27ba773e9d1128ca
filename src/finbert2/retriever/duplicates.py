"""Texts that say what another says, by their characters."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from finbert2.retriever.lexical import RUN

if TYPE_CHECKING:
    import numpy as np


def normalise(text: str) -> str:
    """Return the word characters of a text, lower case."""
    return "".join(RUN.findall(text.lower()))


def trigrams(text: str) -> "np.ndarray":
    """Return the different character trigrams of a text as sorted numbers; a shorter text is one of its own."""
    import numpy as np

    codes = np.frombuffer(text.ljust(3).encode("utf-32-le"), np.uint32).astype(np.uint64)
    return np.unique(codes[:-2] << 42 | codes[1:-1] << 21 | codes[2:])


def jaccard(first: "np.ndarray", second: "np.ndarray", least: float = 0.0) -> float:
    """Return the share that two sorted sets have in common, or 0 where their sizes alone put it below `least`."""
    import numpy as np

    small, large = sorted((len(first), len(second)))
    if small < least * large:
        return 0.0
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


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

    def trigrams(self, text: str) -> "np.ndarray":
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
        return any(jaccard(own, self.trigrams(positive), self.near) >= self.near for positive in known)
