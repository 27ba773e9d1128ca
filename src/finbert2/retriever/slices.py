"""Where a method is strong and weak: slices by length and source, and the queries it answers worst."""

import html
from collections.abc import Mapping

from finbert2.retriever.benchmark import Benchmark
from finbert2.retriever.ranking import Run

QUERY_BOUNDS, PASSAGE_BOUNDS = (15, 30), (100, 300)
STYLE = "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto}.r{background:#e8f4e8}td{padding:.2em .6em}"


def length_class(length: int, bounds: tuple[int, ...]) -> str:
    """Return the class of a length in characters, say "16-30"."""
    lows = (0, *(bound + 1 for bound in bounds))
    for low, bound in zip(lows, bounds, strict=False):
        if length <= bound:
            return f"{low}-{bound}"
    return f"{lows[-1]}+"


def classes(benchmark: Benchmark) -> dict[str, dict[str, str]]:
    """Return for each way of slicing the class of every query; a query's passage length is its relevant ones' mean."""
    found: dict[str, dict[str, str]] = {"query_length": {}, "passage_length": {}}
    for query, text in benchmark.queries.items():
        found["query_length"][query] = length_class(len(text), QUERY_BOUNDS)
        relevant = [len(benchmark.passages[p]) for p, v in benchmark.judgements[query].items() if v > 0]
        found["passage_length"][query] = length_class(round(sum(relevant) / len(relevant)), PASSAGE_BOUNDS)
    if benchmark.sources:
        found["source"] = {query: benchmark.sources.get(query, "none") for query in benchmark.queries}
    return found


def sliced(values: Mapping[str, float], by_class: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return number of queries and mean of their values for each class."""
    parts: dict[str, list[float]] = {}
    for query, value in values.items():
        parts.setdefault(by_class[query], []).append(value)
    return {name: {"queries": len(part), "mean": sum(part) / len(part)} for name, part in sorted(parts.items())}


def worst_page(title: str, run: Run, values: Mapping[str, float], benchmark: Benchmark, most: int = 50) -> str:
    """Return a page of the queries with the lowest nDCG@10: what was relevant, where it stood, what stood above."""
    worst = sorted(values, key=lambda query: (values[query], query))[:most]
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1><p>{len(worst)} of {len(values)} queries, lowest nDCG@10 first</p>")
    for query in worst:
        ranked = run.get(query, [])
        places = {passage: place for place, (passage, _) in enumerate(ranked, start=1)}
        parts.append(f"<h3>{values[query]:.3f} · {html.escape(benchmark.queries[query])}</h3><table>")
        for passage, value in benchmark.judgements[query].items():
            if value > 0:
                place = places.get(passage)
                parts.append(line("r", f"rank {place}" if place else "not found", benchmark.passages[passage]))
        parts += [
            line("", f"{place}", benchmark.passages[passage])
            for place, (passage, _) in enumerate(ranked[:5], start=1)
            if benchmark.judgements[query].get(passage, 0) <= 0
        ]
        parts.append("</table>")
    return "\n".join(parts) + "\n"


def line(kind: str, label: str, text: str) -> str:
    """Return a row of the page's table."""
    return f'<tr class="{kind}"><td>{label}<td>{html.escape(" ".join(text.split())[:200])}'
