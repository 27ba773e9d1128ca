"""Mine hard negatives: passages that rank high for a query and are not its positives in other words."""

import dataclasses
import json
import logging
import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from finbert2 import args, files, plots, runtime
from finbert2.retriever.candidates import Found, Searcher
from finbert2.retriever.data import (
    TEMPLATE,
    TEMPLATE_HELP,
    TrainingRow,
    all_passages,
    checked_template,
    known_positives,
    read_pool,
    read_training_rows,
)
from finbert2.retriever.duplicates import Refusal

log = logging.getLogger(__name__)
REASONS = ("positive", "query", "score", "near_duplicate", "reranker")
SPARE = 2  # times the negatives asked for are shown to the reranker, which drops some


@dataclasses.dataclass
class MiningArguments:
    """Where candidates come from and which are kept."""

    train_data: list[str] = args.option("files or folders of FlagEmbedding rows: query, pos, neg")
    output: str = args.option("file of the rows with mined negatives, .jsonl")
    model_name_or_path: str = args.option(
        "encoder that searches and judges; not read with --source bm25",
        default="valuesimplex-ai-lab/Fin-Retriever-base",
    )
    candidate_pool: str | None = args.option(
        "file of passages with `text` (.jsonl, .csv, .parquet); without it all passages of the rows", default=None
    )
    passage_template: str = args.option(TEMPLATE_HELP, default=TEMPLATE)
    source: Literal["dense", "bm25", "both"] = args.option("where candidates come from", default="dense")
    rank_min: int = args.option("first rank of the window, from 0", default=0)
    rank_max: int = args.option("rank at which the window ends", default=100)
    negatives: int = args.option("negatives a query, drawn from what the window keeps", default=15)
    max_relative_score: float = args.option(
        "candidates above this share of the best positive's score are dropped as false negatives", default=0.95
    )
    min_margin: float = args.option(
        "least distance of a candidate's score from the best positive's, in the score's own units", default=0.0
    )
    near_duplicate: float = args.option(
        "share of common character trigrams from which a passage is a positive in other words", default=0.6
    )
    reranker: str | None = args.option(
        "cross-encoder that judges the drawn candidates once more and whose scores are kept for distillation",
        default=None,
    )
    reranker_max_length: int = args.option("tokens that it reads of a query and a passage", default=512)
    cache_dir: str | None = args.option(
        "folder in which vectors are kept for further runs; unset: beside the output until it is written", default=None
    )
    batch_size: int = args.option("texts a forward pass", default=64)
    seed: int = args.option("seed of the draw", default=42)

    def __post_init__(self) -> None:
        """Refuse an empty window, a share that is none, and another kind of file."""
        self.passage_template = checked_template(self.passage_template)
        if not 0 <= self.rank_min < self.rank_max:
            raise ValueError(f"--rank_min {self.rank_min} --rank_max {self.rank_max}: the window holds no rank")
        if not 0 < self.near_duplicate <= 1:
            raise ValueError(f"--near_duplicate {self.near_duplicate}: a share above 0 and up to 1 was expected")
        if not self.output.endswith(files.JSON_SUFFIXES):
            raise ValueError(f"--output {self.output}: its name has to end in .jsonl")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read rows, search, filter, write rows and what was dropped why."""
    (options,) = args.parse("retriever mine", __doc__ or "", argv, MiningArguments)
    start = time.monotonic()
    args.spare_input(options.output, *sources(options))
    rows, moved = read_training_rows(options.train_data)
    pool = read_pool(options.candidate_pool, options.passage_template) if options.candidate_pool else all_passages(rows)
    known = known_positives(rows)
    counts: Counter[str] = Counter()
    refusal = Refusal(options.near_duplicate)
    found = {
        query: filtered(query, one, known[query], refusal, options, counts)
        for query, one in search(pool, known, prompts(rows), options)
    }
    if options.reranker:
        found = reranked(found, known, options, counts)
    mined = [with_negatives(row, found[row.query], options) for row in rows]
    files.write_rows(options.output, (row.as_record() for row in mined))
    finish(options, mined, len(pool), moved, counts, time.monotonic() - start)


def sources(options: MiningArguments) -> list[Path]:
    """Return the files that are read."""
    pool = [Path(options.candidate_pool)] if options.candidate_pool else []
    return [*files.expand(options.train_data, files.JSON_SUFFIXES), *pool]


def prompts(rows: list[TrainingRow]) -> dict[str, str]:
    """Return the `prompt` of each query that has one, of several the first."""
    return {row.query: row.prompt for row in reversed(rows) if row.prompt is not None}


def search(
    pool: list[str], known: dict[str, set[str]], prompted: dict[str, str], options: MiningArguments
) -> "Iterator[tuple[str, Found]]":
    """Yield each query with its candidates, by the sources that the options name."""
    searcher = Searcher(pool, known, options.rank_min, options.rank_max, prompted)
    folder = Path(options.cache_dir or f"{options.output}.cache")
    rows = []
    if options.source != "bm25":
        rows.append(searcher.dense(options.model_name_or_path, options.batch_size, folder))
    if options.source != "dense":
        rows.append(searcher.bm25())
    return searcher.search(rows)


def filtered(
    query: str, found: Found, known: set[str], refusal: Refusal, options: MiningArguments, counts: Counter[str]
) -> Found:
    """Return what remains of the candidates, in the order in which they are drawn."""
    bar = highest_score(max(found.scores[text] for text in known), options)
    kept = []
    positives = sorted(known)
    for text in found.candidates:
        reason = refusal.exact(text, query, positives) or ("score" if found.scores[text] > bar else None)
        if reason is None and refusal.nearly(text, positives):
            reason = "near_duplicate"
        counts[reason or "kept"] += 1
        kept += [] if reason else [text]
    random.Random(f"{options.seed}/{query}").shuffle(kept)
    return Found(kept, found.scores)


def highest_score(best: float, options: MiningArguments) -> float:
    """Return the score above which a candidate counts as a false negative, given the best positive's."""
    relative = best - (1 - options.max_relative_score) * abs(best)
    return min(relative, best - options.min_margin) if options.min_margin else relative


def reranked(
    found: dict[str, Found], known: dict[str, set[str]], options: MiningArguments, counts: Counter[str]
) -> dict[str, Found]:
    """Return the candidates that a cross-encoder keeps, with its raw scores.

    As sentence-transformers compares them, its scores go through the logistic function before the margins are taken.
    """
    from finbert2.retriever.reranker import Reranker

    shown = {query: one.candidates[: SPARE * options.negatives] for query, one in found.items()}
    pairs = [(query, text) for query, texts in shown.items() for text in (*sorted(known[query]), *texts)]
    model = Reranker(options.reranker or "", options.batch_size, options.reranker_max_length)
    log.info("%s: %d pairs", options.reranker, len(pairs))
    scores: dict[str, dict[str, float]] = {query: {} for query in found}
    for (query, text), score in zip(pairs, model.score(pairs, show_progress=True), strict=True):
        scores[query][text] = score
    judged = {}
    for query, texts in shown.items():
        bar = highest_score(max(logistic(scores[query][text]) for text in known[query]), options)
        kept = [text for text in texts if logistic(scores[query][text]) <= bar]
        counts["reranker"] += len(texts) - len(kept)
        counts["kept"] -= len(texts) - len(kept)
        judged[query] = Found(kept, scores[query])
    return judged


def logistic(score: float) -> float:
    """Return 1 / (1 + e^-x)."""
    return 0.5 * (1 + math.tanh(score / 2))


def with_negatives(row: TrainingRow, found: Found, options: MiningArguments) -> TrainingRow:
    """Return the row with the first of its drawn candidates, the best of them first, fewer where there are fewer."""
    drawn = sorted(found.candidates[: options.negatives], key=lambda text: (-found.scores[text], text))
    return dataclasses.replace(
        row, negatives=drawn,
        pos_scores=[found.scores[text] for text in row.positives], neg_scores=[found.scores[text] for text in drawn],
    )  # fmt: skip


def finish(
    options: MiningArguments,
    mined: list[TrainingRow],
    n_candidates: int,
    moved: int,
    counts: Counter[str],
    seconds: float,
) -> None:
    """Write the numbers and the figure of what was kept and dropped; clear the vectors away."""
    found = [len(row.negatives) for row in mined]
    results = {
        "n_rows": len(mined),
        "n_candidates": n_candidates,
        "kept": sum(found),
        "dropped": {reason: counts[reason] for reason in REASONS},
        "not_drawn": counts["kept"] - sum({row.query: len(row.negatives) for row in mined}.values()),
        "rows_short": sum(number < options.negatives for number in found),
        "rows_without_negatives": found.count(0),
        "positives_among_negatives": moved,
        "data": files.fingerprint(sources(options)),
        **runtime.circumstances(options.seed, seconds),
    }
    files.write_json(f"{options.output}.results.json", results)
    shares = {"kept": sum(found), "not drawn": results["not_drawn"], **results["dropped"]}
    files.write_text(
        f"{options.output}.svg", plots.svg(plots.bars({k: {"n": v} for k, v in shares.items()}, "candidates"))
    )
    if options.cache_dir is None:
        shutil.rmtree(f"{options.output}.cache", ignore_errors=True)
    log.info("%d negatives for %d rows; dropped: %s", sum(found), len(mined), json.dumps(results["dropped"]))
    if found.count(0) > len(mined) / 2:
        log.warning(
            "%d of %d rows have no negatives: the scores lie too close together for --max_relative_score %s; "
            "raise it, widen the window, or use a better encoder",
            found.count(0), len(mined), options.max_relative_score,
        )  # fmt: skip


if __name__ == "__main__":
    main()
