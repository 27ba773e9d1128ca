"""The page of a run: map, topics, tree, trends, industries, quality and settings in one file that needs no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import pages
from finbert2.topics import figures
from finbert2.topics.fit import Fit
from finbert2.topics.titles import Titles
from finbert2.topics.trends import Trend

if TYPE_CHECKING:
    import numpy as np

WIDTH, HEIGHT = 1100, 760
LISTED, TRENDING, HEAT = 200, 30, 24
GREY = "#d5dae0"
COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#9c755f", "#ff9da7", "#76b7b2", "#edc948", "#86bcb6",
)  # fmt: skip
KINDS = {"rising": "↑ 上升", "fading": "↓ 下降", "new": "★ 新出现", "": ""}


@dataclass(frozen=True)
class Layout:
    """Some of the distinct titles in two dimensions, for the map."""

    shown: "np.ndarray"  # (shown,) which distinct titles
    points: "np.ndarray"  # (shown, 2)


@dataclass(frozen=True)
class Material:
    """What the page is made of."""

    source: str
    titles: Titles
    found: Fit
    results: dict[str, Any]
    layout: Layout | None
    months: list[str]
    table: "np.ndarray | None"  # (topics + 1, months)
    trends: list[Trend]
    tree: str


def page(material: Material) -> str:
    """Return the whole page."""
    found, results, model = material.found, material.results, material.found.model
    kinds = {trend.topic: trend.kind for trend in material.trends}
    drawn, crossed, rows = atlas(material), heat(material), trend_lines(material)
    parts = [
        ("map", "地图", drawn), ("topics", "主题", True), ("tree", "主题树", material.tree), ("trends", "趋势", rows),
        ("heat", "热图", crossed), ("quality", "质量", True), ("settings", "设置", True),
    ]  # fmt: skip
    return pages.render(
        "finbert2.topics", "report.html",
        source=material.source, settings=results["settings"], versions=results["versions"],
        encoder=Path(str(model.encoder["name"])).name if model.encoder else "无（给定向量或只用词）",
        span=f"{material.months[0]} 至 {material.months[-1]}" if material.months else "",
        tiles=tiles(results), parts=[(name, text) for name, text, there in parts if there],
        map=drawn, topics=[topic_line(topic, found, kinds) for topic in model.topics[:LISTED]],
        more=max(0, len(model.topics) - LISTED), tree=material.tree, trending=rows, recent=recent_months(material),
        heat=crossed, quality=list(numbers(results)),
    )  # fmt: skip


def tiles(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the numbers at the page's head."""
    wanted = {
        "n_titles": ("标题", "{:,}"), "n_topics": ("主题", "{:,}"), "coverage": ("覆盖率", "{:.1%}"),
        "ami": ("AMI（行业）", "{:.3f}"), "npmi": ("NPMI", "{:.3f}"), "topic_diversity": ("词的多样性", "{:.3f}"),
        "silhouette": ("轮廓系数", "{:.3f}"), "stability_seeds": ("稳定性", "{:.3f}"),
    }  # fmt: skip
    there = {name: form for name, form in wanted.items() if results.get(name) is not None}
    return [(text, form.format(results[name])) for name, (text, form) in there.items()]


def numbers(results: dict[str, Any], before: str = "") -> Any:
    """Yield every measure of the results as (name, text), those of inner blocks with the block's name before."""
    passed_over = ("seed", "seconds", "peak_memory_gib", "settings", "data", "machine", "versions")
    for name, value in results.items():
        if isinstance(value, dict) and name not in passed_over:
            yield from numbers(value, f"{name}.")
        elif isinstance(value, int | float) and name not in passed_over:
            yield before + name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def topic_line(topic: Any, found: Fit, kinds: dict[int, str]) -> dict[str, Any]:
    """Return a row of the topic table."""
    kind = kinds.get(topic.topic, "")
    return {
        "topic": topic.topic, "label": topic.label, "size": topic.size, "words": " ".join(topic.words),
        "examples": topic.examples, "bar": round(90 * topic.size / found.model.topics[0].size, 1),
        "kind": kind, "kind_text": KINDS[kind],
    }  # fmt: skip


def atlas(material: Material) -> dict[str, Any] | None:
    """Return dots by topic, noise first, in the map's own coordinates, and the names of the largest topics."""
    import numpy as np

    if material.layout is None:
        return None
    shown, points = material.layout.shown, material.layout.points
    low, high = points.min(axis=0), points.max(axis=0)
    points = 20 + (points - low) / np.maximum(high - low, 1e-9) * [WIDTH - 40, HEIGHT - 40]
    labels, topics = material.found.labels[shown], material.found.model.topics
    groups = []
    for topic in range(-1, len(topics)):
        inside = np.flatnonzero(labels == topic)
        dots = [
            (round(float(points[n, 0]), 1), round(float(points[n, 1]), 1), material.titles.unique[shown[n]])
            for n in inside
        ]
        colour = COLOURS[topic % len(COLOURS)] if topic >= 0 else GREY
        groups.append({"topic": topic, "colour": colour, "dots": dots})
    middles = [(t.label, np.median(points[labels == t.topic], axis=0)) for t in topics if (labels == t.topic).any()]
    names = figures.apart(middles[:40], (WIDTH, HEIGHT), size=13)
    return {
        "width": WIDTH, "height": HEIGHT, "groups": groups, "names": names, "shown": len(points),
        "all": len(material.found.labels),
    }  # fmt: skip


def trend_lines(material: Material) -> list[dict[str, Any]]:
    """Return the rows of the trend table: rises, then falls, those that are sure; each with its line of shares."""
    if material.table is None:
        return []
    sure = sorted((trend for trend in material.trends if trend.kind), key=lambda trend: -abs(trend.z))[:TRENDING]
    share = material.table / material.table.sum(axis=0).clip(min=1)
    return [
        {
            "label": material.found.model.topics[trend.topic].label, "kind": trend.kind, "kind_text": KINDS[trend.kind],
            "before": f"{trend.before:.2%}", "recent": f"{trend.recent:.2%}", "z": f"{trend.z:+.1f}",
            "line": polyline(share[trend.topic].tolist()),
        }
        for trend in sorted(sure, key=lambda trend: -trend.z)
    ]  # fmt: skip


def polyline(values: Sequence[float]) -> str:
    """Return the points of a line of 120 × 26 through values from 0 up."""
    top, step = max(values) or 1.0, 118 / max(1, len(values) - 1)
    return " ".join(f"{1 + place * step:.1f},{25 - 24 * value / top:.1f}" for place, value in enumerate(values))


def recent_months(material: Material) -> str:
    """Return the months that trends call recent."""
    number = max(1, len(material.months) // 4)
    return f"{material.months[-number]} 起" if material.months else ""


def heat(material: Material) -> dict[str, Any] | None:
    """Return the shares of the largest topics among the titles of each industry, or broker where there is none."""
    import numpy as np

    column = next((c for c in ("industry", "org") if any(material.titles.column(c) or [])), None)
    if column is None:
        return None
    values = np.array(material.titles.column(column))
    labels, topics = material.found.labels[material.titles.place], material.found.model.topics[:HEAT]
    names, sizes = np.unique(values[values != ""], return_counts=True)
    rows = []
    for name, size in sorted(zip(names.tolist(), sizes.tolist(), strict=True), key=lambda item: -item[1])[:HEAT]:
        inside = labels[values == name]
        cells = []
        for topic in topics:
            number = int((inside == topic.topic).sum())
            share = number / size
            cells.append(
                {"name": topic.label, "titles": number, "share": f"{share:.1%}", "depth": round(share**0.5, 3)}
            )
        rows.append({"name": name, "cells": cells})
    title = "行业与主题" if column == "industry" else "机构与主题"
    return {"title": title, "column": column, "names": [topic.label for topic in topics], "rows": rows}
