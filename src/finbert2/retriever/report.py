"""What an evaluation leaves behind: table, intervals, tests, slices, run files, worst queries, MTEB's JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.retriever import metrics, runs, significance, slices
from finbert2.retriever.benchmark import Benchmark
from finbert2.retriever.ranking import Run

MAIN = "ndcg@10"


def by_query(run: Run, test: Benchmark) -> dict[str, float]:
    """Return each query's nDCG@10."""
    return {query: values[MAIN] for query, values in metrics.measure_queries(run, test.judgements).items()}


def details(found: Mapping[str, Run], test: Benchmark, seed: int) -> dict[str, Any]:
    """Return of nDCG@10 each run's 95 % interval, its p-values against the others, and its means by slices."""
    values = {name: by_query(run, test) for name, run in found.items()}
    classes = slices.classes(test)
    return {
        "intervals": {name: significance.interval(list(one.values()), seed) for name, one in values.items()},
        "p_values": significance.compare(values, seed),
        "slices": {
            name: {kind: slices.sliced(one, by_class) for kind, by_class in classes.items()}
            for name, one in values.items()
        },
    }


def write(folder: Path, found: Mapping[str, Run], test: Benchmark, results: dict[str, Any], data: str) -> None:
    """Write every run in TREC's and FlagEmbedding's form, its worst queries, and its result as MTEB's JSON."""
    revision = "-".join(entry["sha256"][:8] for entry in results["data"].values())
    task = Path(data).stem
    for name, run in found.items():
        files.write_text(folder / "runs" / f"{name}.trec", runs.trec(run, name))
        files.write_json(folder / "runs" / f"{name}.json", runs.flag_embedding(run, name, results["split"], task))
        page = slices.worst_page(f"{name} · {task}", run, by_query(run, test), test)
        files.write_text(folder / "worst" / f"{name}.html", page)
        scores = metrics.measure(run, test.judgements)
        files.write_json(
            folder / "mteb" / name / f"{task}.json",
            runs.mteb(scores, task, results["split"], revision, results["seconds"]),
        )


def table(results: dict[str, Any]) -> str:
    """Return the metrics as a text table, one line a method, with nDCG@10's interval and its p-value against BM25."""
    names = list(results["bm25"])
    rows = lines_of(results)
    width = max(len(label) for label, _, _ in rows)
    lines = [f"{'':{width}}" + "".join(f"{name:>14}" for name in names) + f"{'95 % of ' + MAIN:>20}{'p to BM25':>11}"]
    for label, run, values in rows:
        low, high = results["intervals"][run]
        p = results["p_values"][run].get("bm25")
        line = f"{label:{width}}" + "".join(f"{values[name]:>14.4f}" for name in names)
        lines.append(line + f"{f'{low:.4f}-{high:.4f}':>20}" + (f"{p:>11.4f}" if p is not None else ""))
    sampled = ", sampled" if results["sampled"] else ""
    lines.append(f"{results['n_queries']} queries, {results['n_passages']} passages{sampled}")
    return "\n".join(lines) + "\n"


def lines_of(results: dict[str, Any]) -> list[tuple[str, str, dict[str, float]]]:
    """Return label, run and metrics of each line of the table."""
    lines = [("BM25", "bm25", results["bm25"])]
    lines += [(name, f"dense-{slug(name)}", values) for name, values in results["models"].items()]
    for name, values in results["hybrid"].items():
        how = "RRF" if values["weight"] is None else f"{values['weight']:.1f} dense"
        lines.append((f"{name} + BM25 ({how})", f"hybrid-{slug(name)}", values))
    for name, values in results.get("reranked", {}).items():
        lines.append((f"{name} + BM25, reranked", f"reranked-{slug(name)}", values))
    return lines + [(name, name, values) for name, values in results.get("runs", {}).items()]


def slug(name: str) -> str:
    """Return a model's name as part of a file's."""
    return name.strip("./").replace("/", "_") or "model"
