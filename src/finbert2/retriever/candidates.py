"""Candidates for negatives: ranked by an encoder, BM25 or both, with the scores by which they are judged."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2.retriever import cache, ranking
from finbert2.retriever.bm25 import Bm25

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Found:
    """A query's candidates in order, and the scores of these and of its known positives."""

    candidates: list[str]
    scores: dict[str, float]


class Searcher:
    """Finds candidates in a pool; the known positives, perhaps not in it, are scored alike.

    With an encoder its cosines judge the candidates of BM25 too, else BM25's scores do. For the encoder a query of
    `prompts` has that text before it instead of the model's query prompt.
    """

    def __init__(
        self,
        pool: Sequence[str],
        known: dict[str, set[str]],
        first: int,
        last: int,
        prompts: dict[str, str] | None = None,
    ) -> None:
        self.pool, self.known, self.first, self.last, self.prompts = pool, known, first, last, prompts or {}
        self.queries = sorted(known, key=lambda query: query in self.prompts)  # those with a prompt last
        self.texts = list(dict.fromkeys([*pool, *(text for texts in known.values() for text in sorted(texts))]))
        self.place = {text: place for place, text in enumerate(self.texts)}

    def dense(self, model: str, batch_size: int, folder: Path) -> "Iterator[np.ndarray]":
        """Yield each query's cosines (texts,), vectors read from or kept in a folder."""
        import numpy as np

        from finbert2 import encoder, weights

        opened, fingerprint = encoder.SentenceEncoder(model, batch_size=batch_size), weights.fingerprint(model)
        plain = [query for query in self.queries if query not in self.prompts]
        prompted = [self.prompts[query] + query for query in self.queries if query in self.prompts]
        vectors = [
            cache.encode(opened, fingerprint, plain, folder, encoder.query_prompt(opened.model)),
            cache.encode(opened, fingerprint, prompted, folder),
        ]  # in the order of self.queries
        texts = cache.encode(opened, fingerprint, self.texts, folder, encoder.document_prompt(opened.model))
        for block in ranking.products(np.concatenate(vectors), texts):
            yield from block

    def bm25(self) -> "Iterator[np.ndarray]":
        """Yield each query's BM25 scores (texts,)."""
        for row in Bm25(self.texts).scores(self.queries):
            yield row[0]

    def search(self, rows: "Sequence[Iterable[np.ndarray]]") -> Iterator[tuple[str, Found]]:
        """Yield each query with what was found, given the score rows of one or two sources; the first ones judge."""
        for query, *scores in zip(self.queries, *rows, strict=True):
            lists = [self.window(row) for row in scores]
            places = dict.fromkeys(place for turn in zip_longest(*lists) for place in turn if place is not None)
            wanted = [*places, *(self.place[text] for text in self.known[query])]
            found = {self.texts[place]: float(scores[0][place]) for place in wanted}
            yield query, Found([self.texts[place] for place in places], found)

    def window(self, row: "np.ndarray") -> list[int]:
        """Return the places of the window's passages; those that score 0 or less share nothing with the query."""
        pool = row[: len(self.pool)]
        return [int(place) for place in ranking.top(pool, self.last)[self.first :] if pool[place] != 0]
