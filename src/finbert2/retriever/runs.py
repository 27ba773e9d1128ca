"""Run files: TREC's lines, FlagEmbedding's search results, MTEB's result JSON."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.errors import UserError
from finbert2.retriever.ranking import Run

MTEB = "2.26.24"  # the version whose result files `mteb` writes


def trec(run: Run, tag: str) -> str:
    """Return a run as TREC's lines `query Q0 passage rank score tag`; the tag is one word.

    Scores keep the nine digits of fp32, so that no two of them become equal and change places.
    """
    word = "_".join(tag.split())
    lines = [
        f"{query} Q0 {passage} {place} {score:.9g} {word}\n"
        for query, ranked in run.items()
        for place, (passage, score) in enumerate(ranked, start=1)
    ]
    return "".join(lines)


def flag_embedding(run: Run, name: str, split: str, data: str) -> dict[str, Any]:
    """Return a run as FlagEmbedding's evaluator writes and reads search results."""
    return {
        "eval_name": "finbert2", "model_name": name, "reranker_name": "NoReranker", "split": split,
        "dataset_name": data, "search_results": {query: dict(ranked) for query, ranked in run.items()},
    }  # fmt: skip


def read(path: str | Path) -> Run:
    """Return a run from TREC's lines, or from FlagEmbedding's search results (.json); ties fall by descending id."""
    path = Path(path)
    scores: dict[str, dict[str, float]] = {}
    if path.suffix == ".json":
        text = "\n".join(line for _, line in files.read_lines(path))
        try:
            scores = json.loads(text)["search_results"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise UserError(
                f"{path} has no 'search_results': FlagEmbedding's search files do; TREC runs end in .trec"
            ) from None
    else:
        for number, line in files.read_lines(path):
            words = line.split()
            if len(words) != 6:
                raise UserError(
                    f"{path} line {number} has {len(words)} words: 'query Q0 passage rank score tag' was expected"
                )
            try:
                scores.setdefault(words[0], {})[words[2]] = float(words[4])
            except ValueError:
                raise UserError(f"{path} line {number} has the score {words[4]!r}: a number was expected") from None
    return {q: sorted(found.items(), key=lambda item: (item[1], item[0]), reverse=True) for q, found in scores.items()}


def mteb(metrics: Mapping[str, float], task: str, split: str, fingerprint: str, seconds: float) -> dict[str, Any]:
    """Return a result as MTEB's `TaskResult` JSON, by its names `ndcg_at_10` and so on."""
    scores = {name.replace("@", "_at_"): value for name, value in metrics.items()}
    entry = {**scores, "main_score": scores["ndcg_at_10"], "hf_subset": "default", "languages": ["cmn-Hans"]}
    return {
        "dataset_revision": fingerprint, "task_name": task, "mteb_version": MTEB, "scores": {split: [entry]},
        "evaluation_time": round(seconds, 1), "kg_co2_emissions": None, "date": time.time(),
    }  # fmt: skip
