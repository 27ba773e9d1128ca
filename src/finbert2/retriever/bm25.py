"""BM25 over character bigrams or jieba words."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

K1, B = 1.5, 0.75
RUN = re.compile(r"\w+")


def bigrams(text: str) -> list[str]:
    """Return the character bigrams inside each run of word characters, lower case; a run of one is itself."""
    tokens: list[str] = []
    for run in RUN.findall(text.lower()):
        tokens += [run[start : start + 2] for start in range(len(run) - 1)] or [run]
    return tokens


def words(text: str) -> list[str]:
    """Return jieba's words, lower case, punctuation dropped."""
    import rjieba

    return [token for token in rjieba.cut(text.lower()) if RUN.search(token)]


ANALYZERS: dict[str, Callable[[str], list[str]]] = {"bigrams": bigrams, "words": words}


class Bm25:
    """BM25 (Lucene's variant) over a list of passages."""

    def __init__(self, passages: Sequence[str], analyzer: str = "bigrams") -> None:
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG

        self.tokens = ANALYZERS[analyzer]
        self.size = len(passages)
        self.index = bm25s.BM25(method="lucene", k1=K1, b=B)
        same: dict[str, str] = {}  # one object a token: made anew for each passage they hold several times the memory
        tokens = [[same.setdefault(token, token) for token in self.tokens(text)] or ["∅"] for text in passages]
        self.index.index(tokens, show_progress=False)

    def scores(self, queries: Iterable[str]) -> "Iterator[np.ndarray]":
        """Yield the scores (1, passages) of each query; 0 where no token is shared."""
        import numpy as np

        for query in queries:
            ids = self.index.get_tokens_ids(self.tokens(query))
            yield self.index.get_scores_from_ids(ids)[None] if ids else np.zeros((1, self.size), np.float32)
