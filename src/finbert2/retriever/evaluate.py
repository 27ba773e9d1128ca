"""Evaluate sentence encoders, BM25 and their hybrid on queries with judged passages."""

import dataclasses
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.retriever import benchmark, metrics, ranking, report, runs, windows
from finbert2.retriever.benchmark import Benchmark
from finbert2.retriever.bm25 import Bm25
from finbert2.retriever.data import TEMPLATE, TEMPLATE_HELP, checked_template
from finbert2.retriever.ranking import Run

if TYPE_CHECKING:
    from finbert2.encoder import Encoder

log = logging.getLogger(__name__)
DEPTH = 100
WEIGHTS = [step / 20 for step in range(21)]


@dataclasses.dataclass
class EvaluationArguments:
    """What is evaluated on what."""

    data: str = args.option(
        "BEIR folder (corpus.jsonl, queries.jsonl, qrels/), file of FIR-Bench's labelled pairs, or its Hub name"
    )
    output_dir: str = args.option("folder of results.json and runs/")
    model_name_or_path: list[str] = args.option(
        "encoders, one or more", factory=lambda: ["valuesimplex-ai-lab/Fin-Retriever-base"]
    )
    sentence_pooling_method: Literal["cls", "mean"] = args.option(
        "the vector of a text by a plain encoder; a trained retriever's folder says it itself", default="cls"
    )
    split: str = args.option("judgements to use, qrels/<split>.tsv", default="test")
    analyzer: Literal["bigrams", "words"] = args.option(
        "BM25's tokens: bigrams (of characters) or words (jieba's)", default="bigrams"
    )
    max_queries: int = args.option("queries drawn from the split; 0: all", default=0)
    max_passages: int = args.option("passages drawn from the corpus, relevant ones always kept; 0: all", default=0)
    passage_template: str = args.option(TEMPLATE_HELP, default=TEMPLATE)
    window: int = args.option("characters of a window, its best one scoring a passage; 0: no windows", default=0)
    stride: int = args.option("characters from one window to the next; FIR-Bench's authors: 400 and 380", default=380)
    reranker: str | None = args.option("cross-encoder that orders the best hybrid hits anew", default=None)
    rerank_depth: int = args.option(f"hits that it orders, up to {DEPTH}", default=50)
    endpoint: str | None = args.option(
        "OpenAI-compatible API as a further model, its URL up to /v1; key: FINBERT2_LLM_KEY, else OPENAI_API_KEY",
        default=None,
    )
    endpoint_model: str = args.option("the endpoint's model", default="text-embedding-3-large")
    runs: list[str] = args.option("TREC runs or FlagEmbedding search results to measure beside", factory=list)
    batch_size: int = args.option("texts a forward pass", default=64)
    seed: int = args.option("seed of the sampling", default=42)

    def __post_init__(self) -> None:
        """Refuse windows that leave gaps, hits that no run has, and runs of one name."""
        self.passage_template = checked_template(self.passage_template)
        windows.check(self.window, self.stride)
        if not 0 < self.rerank_depth <= DEPTH:
            raise ValueError(f"--rerank_depth {self.rerank_depth}: it has to be from 1 to {DEPTH}, the hits of a run")
        models = [*dict.fromkeys(self.model_name_or_path), *([self.endpoint_model] if self.endpoint else [])]
        slugs = [report.slug(name) for name in models]
        alike = [name for name, slug in zip(models, slugs, strict=True) if slugs.count(slug) > 1]
        if alike:
            raise ValueError(
                f"{' and '.join(alike)} are models of one name: results are kept as {report.slug(alike[0])}; rename one"
            )
        names = [Path(path).stem for path in self.runs]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"--runs names {twice[0]} twice: results are kept by the file's name; rename one of them")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read the benchmark, rank by each model, measure, write runs, results and a table."""
    (options,) = args.parse("retriever evaluate", __doc__ or "", argv, EvaluationArguments)
    args.spare_run(options.output_dir)
    start = time.monotonic()
    full = benchmark.load(options.data, options.split, options.passage_template)
    test = benchmark.sample(full, options.max_queries, options.max_passages, options.seed)
    dev = dev_queries(options, test)
    extra = {f"run-{Path(path).stem}": known_queries(runs.read(path), path, test) for path in options.runs}
    lexical_test, lexical_dev = bm25(test, dev, options.analyzer)
    found = {"bm25": lexical_test}
    results: dict[str, Any] = {"models": {}, "bm25": metrics.measure(lexical_test, test.judgements), "hybrid": {}}
    for name, encoder in encoders(options):
        dense_test, dense_dev = dense(name, encoder, test, dev, options)
        weight = best_weight(dense_dev, lexical_dev, dev) if dev else None
        hybrid = combine(dense_test, lexical_test, weight)
        method = "RRF" if weight is None else "weighted, chosen on dev"
        results["models"][name] = metrics.measure(dense_test, test.judgements)
        results["hybrid"][name] = {**metrics.measure(hybrid, test.judgements), "weight": weight, "method": method}
        found |= {f"dense-{report.slug(name)}": dense_test, f"hybrid-{report.slug(name)}": hybrid}
        if options.reranker:
            reranked = rerank(hybrid, test, options)
            results.setdefault("reranked", {})[name] = metrics.measure(reranked, test.judgements)
            found[f"reranked-{report.slug(name)}"] = reranked
    if extra:
        results["runs"] = {name: metrics.measure(run, test.judgements) for name, run in extra.items()}
        found |= extra
    results |= report.details(found, test, options.seed)
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
    report.write(Path(options.output_dir), found, test, results, options.data)
    files.write_json(Path(options.output_dir) / "results.json", results)
    sys.stdout.write(report.table(results))


def encoders(options: EvaluationArguments) -> "Iterator[tuple[str, Encoder]]":
    """Yield name and encoder of every model asked for, each opened when it is its turn."""
    from finbert2.encoder import SentenceEncoder
    from finbert2.retriever.endpoint import Endpoint
    from finbert2.retriever.onnx_export import OnnxEncoder

    for name in dict.fromkeys(options.model_name_or_path):
        if name.endswith(".onnx"):
            yield name, OnnxEncoder(name)
        else:
            yield name, SentenceEncoder(name, options.batch_size, options.sentence_pooling_method)
    if options.endpoint:
        cache = Path(options.output_dir) / "endpoint_cache.jsonl"
        yield options.endpoint_model, Endpoint(options.endpoint, options.endpoint_model, cache)


def known_queries(run: Run, path: str, test: Benchmark) -> Run:
    """Return a run's judged queries with those hits that are in the corpus, which may be sampled.

    Raises `UserError` if there are none.
    """
    judged = {query: run.get(query, []) for query in test.queries}
    kept = {query: [hit for hit in ranked if hit[0] in test.passages] for query, ranked in judged.items()}
    if not any(kept.values()):
        raise UserError(
            f"{path} ranks no passage of the corpus for any of the {len(test.queries)} judged queries: "
            "is it a run over the same data?"
        )
    left_out = sum(len(judged[query]) - len(kept[query]) for query in kept)
    if left_out:
        log.warning("%s: %d hits left out, as the corpus or the sample of it lacks them", path, left_out)
    return kept


def rerank(run: Run, test: Benchmark, options: EvaluationArguments) -> Run:
    """Return a run whose first hits a cross-encoder has put in order; the others stay behind them."""
    from finbert2.retriever.reranker import Reranker

    reranker = Reranker(options.reranker or "", options.batch_size)
    log.info("%s: %d queries, %d hits each", options.reranker, len(run), options.rerank_depth)
    heads = {query: ranked[: options.rerank_depth] for query, ranked in run.items()}
    pairs = [(test.queries[query], test.passages[passage]) for query, head in heads.items() for passage, _ in head]
    scores = iter(reranker.score(pairs, show_progress=True))
    reordered = {}
    for query, head in heads.items():
        ordered = sorted(((next(scores), passage) for passage, _ in head), reverse=True)
        floor = min((score for score, _ in ordered), default=0.0)
        tail = [(p, floor - place) for place, (p, _) in enumerate(run[query][len(head) :], start=1)]
        reordered[query] = [(passage, score) for score, passage in ordered] + tail
    return reordered


def dev_queries(options: EvaluationArguments, test: Benchmark) -> Benchmark | None:
    """Return the dev split over the test's passages, or None where there is none or it is the one evaluated."""
    if options.split == "dev" or not benchmark.has_split(options.data, "dev"):
        return None
    dev = benchmark.sample(
        benchmark.load(options.data, "dev", options.passage_template), options.max_queries, 0, options.seed
    )
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
    index = Bm25(list(test.passages.values()), analyzer)
    ids = list(test.passages)
    parts = [part.queries if part else {} for part in (test, dev)]
    first, second = (ranking.rank(q, index.scores(q.values()), ids, DEPTH) for q in parts)
    return ranking.positive(first), ranking.positive(second)


def dense(
    name: str, encoder: "Encoder", test: Benchmark, dev: Benchmark | None, options: EvaluationArguments
) -> tuple[Run, Run]:
    """Return a model's runs of the test and the dev queries; the passages are encoded once."""
    parts, starts = windows.split(test.passages.values(), options.window, options.stride)
    log.info("%s: %d passages in %d parts", name, len(test.passages), len(parts))
    passages = encoder.encode(parts, show_progress=True)
    found = []
    for queries in (test.queries, dev.queries if dev else {}):
        vectors = encoder.encode(list(queries.values()), is_query=True) if queries else passages[:0]
        blocks = (windows.fold(block, starts) for block in ranking.products(vectors, passages))
        found.append(ranking.rank(queries, blocks, list(test.passages), DEPTH))
    return found[0], found[1]


def combine(dense_run: Run, lexical_run: Run, weight: float | None) -> Run:
    """Return the hybrid run: weighted, or by reciprocal ranks where no weight was chosen."""
    if weight is None:
        return ranking.fuse_ranks(dense_run, lexical_run, DEPTH)
    return ranking.fuse_scores(dense_run, lexical_run, weight, DEPTH)


def best_weight(dense_run: Run, lexical_run: Run, dev: Benchmark) -> float:
    """Return the weight of the dense scores with the highest nDCG@10 on dev, the smallest of equals."""
    found = {w: metrics.measure(combine(dense_run, lexical_run, w), dev.judgements)["ndcg@10"] for w in WEIGHTS}
    return max(found, key=lambda weight: (found[weight], -weight))


if __name__ == "__main__":
    main()
