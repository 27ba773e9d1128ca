"""Ranked passages: exact search by matrix products, deterministic order, fusion of two rankings."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Ranked = list[tuple[str, float]]  # (passage id, score), best first
Run = dict[str, Ranked]  # query id → its ranked passages


def products(queries: "np.ndarray", passages: "np.ndarray", block: int = 128) -> "Iterator[np.ndarray]":
    """Yield the scores (block, passages) of blocks of query vectors."""
    for start in range(0, len(queries), block):
        yield queries[start : start + block] @ passages.T  # (block, passages)


def top(scores: "np.ndarray", k: int) -> "np.ndarray":
    """Return the places of the k highest scores, best first; of equal ones the earlier place comes first."""
    import numpy as np

    k = min(k, len(scores))
    bar = np.partition(scores, -k)[-k]
    places = np.flatnonzero(scores >= bar)
    return places[np.argsort(-scores[places], kind="stable")][:k]


def rank(query_ids: Iterable[str], blocks: "Iterable[np.ndarray]", ids: Sequence[str], k: int) -> Run:
    """Return the k best passages of each query from blocks of score rows (block, passages)."""
    rows = (row for block in blocks for row in block)
    return {
        query: [(ids[place], float(row[place])) for place in top(row, k)]
        for query, row in zip(query_ids, rows, strict=True)
    }


def positive(run: Run) -> Run:
    """Return a BM25 run without the passages that share no token with the query."""
    return {query: [(passage, score) for passage, score in ranked if score > 0] for query, ranked in run.items()}


def fuse_ranks(first: Run, second: Run, k: int) -> Run:
    """Return the reciprocal rank fusion of two runs: Σ 1 / (60 + rank)."""
    return fuse([(rank_weights(run), 1.0) for run in (first, second)], k)


def rank_weights(run: Run) -> Run:
    """Return a run whose scores are 1 / (60 + rank), ranks from 1."""
    return {q: [(p, 1 / (60 + place)) for place, (p, _) in enumerate(r, 1)] for q, r in run.items()}


def fuse_scores(dense: Run, lexical: Run, weight: float, k: int) -> Run:
    """Return weight · dense + (1 - weight) · BM25, scores brought to 0..1 within each query."""
    return fuse([(normalise(dense), weight), (normalise(lexical), 1 - weight)], k)


def normalise(run: Run) -> Run:
    """Return a run with each query's scores stretched to 0..1."""
    stretched: Run = {}
    for query, ranked in run.items():
        values = [score for _, score in ranked] or [0.0]
        low, width = min(values), max(values) - min(values)
        stretched[query] = [(passage, (score - low) / width if width else 1.0) for passage, score in ranked]
    return stretched


def fuse(parts: list[tuple[Run, float]], k: int) -> Run:
    """Return the weighted sum of runs, best first; of equal scores the higher id comes first, as in trec_eval."""
    fused: Run = {}
    for query in parts[0][0]:
        total: dict[str, float] = {}
        for run, weight in parts:
            for passage, score in run[query]:
                total[passage] = total.get(passage, 0.0) + weight * score
        ordered = sorted(total.items(), key=lambda item: (item[1], item[0]), reverse=True)
        fused[query] = ordered[:k]
    return fused
