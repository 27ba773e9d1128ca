"""Mine hard negatives: passages that rank high for a query and are not its positives in other words."""

import dataclasses
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from finbert2 import args, files, runtime
from finbert2.retriever import ranking
from finbert2.retriever.data import TrainingRow, all_passages, known_positives, read_pool, read_training_rows
from finbert2.retriever.lexical import RUN, Bm25
from finbert2.retriever.ranking import Run

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
SOURCES = ("dense", "bm25", "both")
NEAR_DUPLICATE = 0.8  # Jaccard of character trigrams


@dataclasses.dataclass
class Options:
    """Where candidates come from and which are kept."""

    train_data: list[str] = args.option("files or folders of FlagEmbedding rows: query, pos, neg")
    output: str = args.option("file of the rows with mined negatives, .jsonl")
    model_name_or_path: str = args.option(
        "encoder that searches and judges; not read with --source bm25",
        default="valuesimplex-ai-lab/Fin-Retriever-base",
    )
    candidate_pool: str | None = args.option(
        "file of passages with `text`; without it all passages of the rows", default=None
    )
    source: str = args.option("where candidates come from: dense, bm25 or both", default="dense")
    rank_min: int = args.option("first rank of the window, from 0", default=0)
    rank_max: int = args.option("rank at which the window ends", default=100)
    negatives: int = args.option("negatives a query, drawn from what the window keeps", default=15)
    max_relative_score: float = args.option(
        "candidates above this share of the best positive's score are dropped as false negatives", default=0.95
    )
    batch_size: int = args.option("texts a forward pass", default=64)
    seed: int = args.option("seed of the draw", default=42)

    def __post_init__(self) -> None:
        """Refuse an empty window and an unknown source."""
        if self.source not in SOURCES:
            raise ValueError(f"--source {self.source}: it has to be one of {', '.join(SOURCES)}")
        if not 0 <= self.rank_min < self.rank_max:
            raise ValueError(f"--rank_min {self.rank_min} --rank_max {self.rank_max}: the window holds no rank")
        if not self.output.endswith((".jsonl", ".json")):
            raise ValueError(f"--output {self.output}: its name has to end in .jsonl")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read rows, search, filter, write rows and what was dropped why."""
    (options,) = args.parse("retriever mine", __doc__ or "", argv, Options)
    start = time.monotonic()
    rows, moved = read_training_rows(options.train_data)
    pool = read_pool(options.candidate_pool) if options.candidate_pool else all_passages(rows)
    judge = Judge(rows, pool, options)
    known = known_positives(rows)
    counts: Counter[str] = Counter()
    mined = [mine_row(row, judge, known[row.query], options, counts) for row in rows]
    files.write_rows(options.output, (row.as_record() for row in mined))
    found = [len(row.negatives) for row in mined]
    sources = [*files.expand(options.train_data, (".jsonl", ".json")), *filter(None, [options.candidate_pool])]
    results = {
        "n_rows": len(rows),
        "n_candidates": len(pool),
        "kept": sum(found),
        "dropped": {reason: counts[reason] for reason in ("positive", "near_duplicate", "query", "score")},
        "rows_short": sum(number < options.negatives for number in found),
        "rows_without_negatives": found.count(0),
        "positives_among_negatives": moved,
        "data": files.fingerprint(sources),
        **runtime.circumstances(options.seed, time.monotonic() - start),
    }
    files.write_json(f"{options.output}.results.json", results)
    log.info("%d negatives for %d rows; dropped: %s", sum(found), len(rows), json.dumps(results["dropped"]))
    if found.count(0) > len(rows) / 2:
        log.warning(
            "%d of %d rows have no negatives: the scores lie too close together for --max_relative_score %s; "
            "raise it, widen the window, or use a better encoder",
            found.count(0), len(rows), options.max_relative_score,
        )  # fmt: skip


class Judge:
    """Ranked candidates of each query, and scores by which they and the positives are compared."""

    def __init__(self, rows: list[TrainingRow], pool: list[str], options: Options) -> None:
        self.queries = list(dict.fromkeys(row.query for row in rows))
        self.place = {query: place for place, query in enumerate(self.queries)}
        self.pool = pool
        texts = list(dict.fromkeys([*pool, *(text for row in rows for text in row.positives)]))
        self.text_place = {text: place for place, text in enumerate(texts)}
        self.query_vectors: np.ndarray | None = None
        runs: list[Run] = []
        if options.source != "bm25":
            self.query_vectors, self.text_vectors = self.encode(texts, options)
            blocks = ranking.products(self.query_vectors, self.text_vectors[: len(pool)])
            runs.append(ranking.rank(self.queries, blocks, pool, options.rank_max))
        if options.source != "dense":
            self.bm25 = Bm25(texts)
            found = (scores[:, : len(pool)] for scores in self.bm25.scores(self.queries))
            runs.append(ranking.positive(ranking.rank(self.queries, found, pool, options.rank_max)))
        self.runs = runs

    def encode(self, texts: list[str], options: Options) -> "tuple[np.ndarray, np.ndarray]":
        """Return the vectors of the queries, with their prompt, and of the passages."""
        from finbert2.encoder import SentenceEncoder

        encoder = SentenceEncoder(options.model_name_or_path, batch_size=options.batch_size)
        return encoder.encode(self.queries, is_query=True), encoder.encode(texts, show_progress=True)

    def candidates(self, query: str, first: int) -> list[str]:
        """Return the window's passages, those of two sources in turn."""
        lists = [[text for text, _ in run[query][first:]] for run in self.runs]
        longest = max(map(len, lists))
        return list(dict.fromkeys(one[place] for place in range(longest) for one in lists if place < len(one)))

    def scores(self, query: str, texts: Iterable[str]) -> dict[str, float]:
        """Return the dense score of passages, or BM25's where no model was asked."""
        places = {text: self.text_place[text] for text in texts}
        if self.query_vectors is None:
            row = next(self.bm25.scores([query]))[0]
            return {text: float(row[place]) for text, place in places.items()}
        found = self.text_vectors[list(places.values())] @ self.query_vectors[self.place[query]]
        return dict(zip(places, map(float, found), strict=True))


def mine_row(row: TrainingRow, judge: Judge, known: set[str], options: Options, counts: Counter[str]) -> TrainingRow:
    """Return the row with negatives drawn from its filtered candidates, the best first, fewer where there are fewer."""
    candidates = judge.candidates(row.query, options.rank_min)
    scores = judge.scores(row.query, [*candidates, *known])
    best = max(scores[text] for text in known)
    bar = best - (1 - options.max_relative_score) * abs(best)
    refuse = Refusal(row.query, known)
    kept = []
    for text in candidates:
        reason = refuse.reason(text) or ("score" if scores[text] > bar else None)
        counts[reason or "kept"] += 1
        kept += [] if reason else [text]
    drawn = random.Random(f"{options.seed}/{row.query}").sample(kept, min(len(kept), options.negatives))
    drawn.sort(key=lambda text: (-scores[text], text))
    return dataclasses.replace(
        row, negatives=drawn,
        pos_scores=[scores[text] for text in row.positives], neg_scores=[scores[text] for text in drawn],
    )  # fmt: skip


class Refusal:
    """Tells which passages say what a positive of the query, or the query itself, says."""

    def __init__(self, query: str, known: set[str]) -> None:
        self.query = normalise(query)
        self.positives = {normalise(text) for text in known}
        self.trigrams = [trigrams(text) for text in self.positives]

    def reason(self, text: str) -> str | None:
        """Return why a passage is refused, or None."""
        plain = normalise(text)
        if plain in self.positives:
            return "positive"
        if plain == self.query:
            return "query"
        own = trigrams(plain)
        return "near_duplicate" if any(jaccard(own, other) >= NEAR_DUPLICATE for other in self.trigrams) else None


def normalise(text: str) -> str:
    """Return the word characters of a text, lower case."""
    return "".join(RUN.findall(text.lower()))


def trigrams(text: str) -> frozenset[str]:
    """Return the character trigrams of a text."""
    return frozenset(text[start : start + 3] for start in range(max(1, len(text) - 2)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the share of two sets that they have in common."""
    return len(first & second) / len(first | second)


if __name__ == "__main__":
    main()
