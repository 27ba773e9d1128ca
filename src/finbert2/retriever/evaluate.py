"""Evaluate sentence encoders, BM25 and their hybrid on queries with judged passages."""

import dataclasses
import logging
import sys
import time
from pathlib import Path
from typing import Any

from finbert2 import args, files, runtime
from finbert2.retriever import benchmark, lexical, metrics, ranking
from finbert2.retriever.benchmark import Benchmark
from finbert2.retriever.ranking import Run

log = logging.getLogger(__name__)
DEPTH = 100
WEIGHTS = [step / 10 for step in range(11)]


@dataclasses.dataclass
class Options:
    """What is evaluated on what."""

    data: str = args.option("BEIR folder (corpus.jsonl, queries.jsonl, qrels/) or file of FIR-Bench's labelled pairs")
    output_dir: str = args.option("folder of results.json and runs/")
    model_name_or_path: list[str] = args.option(
        "encoders, one or more", factory=lambda: ["valuesimplex-ai-lab/Fin-Retriever-base"]
    )
    split: str = args.option("judgements to use, qrels/<split>.tsv", default="test")
    analyzer: str = args.option("BM25's tokens: bigrams (of characters) or words (jieba's)", default="bigrams")
    max_queries: int = args.option("queries drawn from the split; 0: all", default=0)
    max_passages: int = args.option("passages drawn from the corpus, relevant ones always kept; 0: all", default=0)
    batch_size: int = args.option("texts a forward pass", default=64)
    seed: int = args.option("seed of the sampling", default=42)

    def __post_init__(self) -> None:
        """Refuse an unknown analyzer."""
        if self.analyzer not in lexical.ANALYZERS:
            raise ValueError(f"--analyzer {self.analyzer}: it has to be one of {', '.join(lexical.ANALYZERS)}")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read the benchmark, rank by each model, measure, write runs, results and a table."""
    (options,) = args.parse("retriever evaluate", __doc__ or "", argv, Options)
    start = time.monotonic()
    full = benchmark.load(options.data, options.split)
    test = benchmark.sample(full, options.max_queries, options.max_passages, options.seed)
    dev = dev_queries(options, test)
    lexical_test, lexical_dev = bm25(test, dev, options.analyzer)
    runs = {"bm25": lexical_test}
    results: dict[str, Any] = {"models": {}, "bm25": metrics.measure(lexical_test, test.judgements), "hybrid": {}}
    for name in dict.fromkeys(options.model_name_or_path):
        dense_test, dense_dev = dense(name, test, dev, options.batch_size)
        weight = best_weight(dense_dev, lexical_dev, dev) if dev else None
        hybrid = combine(dense_test, lexical_test, weight)
        method = "RRF" if weight is None else "weighted, chosen on dev"
        results["models"][name] = metrics.measure(dense_test, test.judgements)
        results["hybrid"][name] = {**metrics.measure(hybrid, test.judgements), "weight": weight, "method": method}
        runs |= {f"dense-{slug(name)}": dense_test, f"hybrid-{slug(name)}": hybrid}
    results |= {
        "split": options.split,
        "analyzer": options.analyzer,
        "n_queries": len(test.queries),
        "n_passages": len(test.passages),
        "n_dev_queries": len(dev.queries) if dev else 0,
        "sampled": len(test.queries) < len(full.queries) or len(test.passages) < len(full.passages),
        "data": files.fingerprint(full.files),
        **runtime.circumstances(options.seed, time.monotonic() - start),
    }
    for name, run in runs.items():
        files.write_text(Path(options.output_dir) / "runs" / f"{name}.trec", trec(run, name))
    files.write_json(Path(options.output_dir) / "results.json", results)
    sys.stdout.write(table(results))


def dev_queries(options: Options, test: Benchmark) -> Benchmark | None:
    """Return the dev split over the test's passages, or None where there is none or it is the one evaluated."""
    if options.split == "dev" or not benchmark.has_split(options.data, "dev"):
        return None
    dev = benchmark.sample(benchmark.load(options.data, "dev"), options.max_queries, 0, options.seed)
    judged = {
        query: {passage: value for passage, value in labels.items() if passage in test.passages}
        for query, labels in dev.judgements.items()
    }
    judged = {query: labels for query, labels in judged.items() if any(value > 0 for value in labels.values())}
    if not judged:
        return None
    return Benchmark(test.passages, {query: dev.queries[query] for query in judged}, judged, dev.files)


def bm25(test: Benchmark, dev: Benchmark | None, analyzer: str) -> tuple[Run, Run]:
    """Return BM25's runs of the test and the dev queries."""
    index = lexical.Bm25(list(test.passages.values()), analyzer)
    ids = list(test.passages)
    parts = [part.queries if part else {} for part in (test, dev)]
    first, second = (ranking.rank(q, index.scores(q.values()), ids, DEPTH) for q in parts)
    return ranking.positive(first), ranking.positive(second)


def dense(name: str, test: Benchmark, dev: Benchmark | None, batch_size: int) -> tuple[Run, Run]:
    """Return a model's runs of the test and the dev queries; the passages are encoded once."""
    from finbert2.encoder import SentenceEncoder

    encoder = SentenceEncoder(name, batch_size=batch_size)
    log.info("%s: %d passages", name, len(test.passages))
    passages = encoder.encode(list(test.passages.values()), show_progress=True)
    runs = []
    for queries in (test.queries, dev.queries if dev else {}):
        vectors = encoder.encode(list(queries.values()), is_query=True) if queries else passages[:0]
        runs.append(ranking.rank(queries, ranking.products(vectors, passages), list(test.passages), DEPTH))
    return runs[0], runs[1]


def combine(dense_run: Run, lexical_run: Run, weight: float | None) -> Run:
    """Return the hybrid run: weighted, or by reciprocal ranks where no weight was chosen."""
    if weight is None:
        return ranking.fuse_ranks(dense_run, lexical_run, DEPTH)
    return ranking.fuse_scores(dense_run, lexical_run, weight, DEPTH)


def best_weight(dense_run: Run, lexical_run: Run, dev: Benchmark) -> float:
    """Return the weight of the dense scores with the highest nDCG@10 on dev, the smallest of equals."""
    found = {w: metrics.measure(combine(dense_run, lexical_run, w), dev.judgements)["ndcg@10"] for w in WEIGHTS}
    return max(found, key=lambda weight: (found[weight], -weight))


def slug(name: str) -> str:
    """Return a model's name as part of a file's."""
    return name.strip("./").replace("/", "_") or "model"


def trec(run: Run, tag: str) -> str:
    """Return a run as TREC's lines `query Q0 passage rank score tag`."""
    lines = [
        f"{query} Q0 {passage} {place} {score:.6f} {tag}\n"
        for query, ranked in run.items()
        for place, (passage, score) in enumerate(ranked, start=1)
    ]
    return "".join(lines)


def table(results: dict[str, Any]) -> str:
    """Return the metrics as a text table, one line a method."""
    rows = {"BM25": results["bm25"]} | results["models"]
    for name, values in results["hybrid"].items():
        how = "RRF" if values["weight"] is None else f"{values['weight']:.1f} dense"
        rows[f"{name} + BM25 ({how})"] = values
    names = [name for name in results["bm25"]]
    width = max(len(name) for name in rows)
    lines = [f"{'':{width}}" + "".join(f"{name:>14}" for name in names)]
    lines += [f"{row:{width}}" + "".join(f"{values[name]:>14.4f}" for name in names) for row, values in rows.items()]
    sampled = ", sampled" if results["sampled"] else ""
    lines.append(f"{results['n_queries']} queries, {results['n_passages']} passages{sampled}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
