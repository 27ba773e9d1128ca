"""The files of a run: the model, tables, figures and the page."""

import io
import logging
import shutil
from pathlib import Path
from typing import Any

from finbert2 import files, plots
from finbert2.topics import cluster, figures, hierarchy, report, tables, trends
from finbert2.topics.fit import Fit, sample
from finbert2.topics.report import Layout
from finbert2.topics.titles import Titles

log = logging.getLogger(__name__)

MAP_TITLES = 5000
TABLES = (
    "topics.csv", "topics.md", "titles_topics.csv", "hierarchy.csv", "tree.txt", "trends.csv", "trend_scores.csv",
    "by_industry.csv", "by_org.csv",
)  # fmt: skip
FIGURES = ("map.svg", "map.png", "report.html")


def clear(output: Path) -> None:
    """Take away what an earlier run left in the folder; its vectors and the names it asked for stay."""
    for name in ("results.json", "names.csv", *TABLES, *FIGURES):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "bertopic", ignore_errors=True)


def write_tables(output: Path, titles: Titles, found: Fit, months: list[str]) -> list[trends.Trend]:
    """Write the model and its tables; return the trends, none where there are no dates."""
    topics, labels = found.model.topics, found.labels[titles.place]
    found.model.save(output)
    nodes = hierarchy.grow(found.model)
    layers = hierarchy.layers(nodes)
    files.write_rows(output / "topics.csv", (tables.topic_row(topic, layers) for topic in topics))
    files.write_text(output / "topics.md", tables.markdown(topics))
    files.write_rows(output / "titles_topics.csv", tables.title_rows(titles, found))
    files.write_rows(output / "hierarchy.csv", hierarchy.node_rows(nodes), hierarchy.COLUMNS)
    files.write_text(output / "tree.txt", hierarchy.tree_text(nodes, [topic.label for topic in topics]))
    for column in ("industry", "org"):
        values = titles.column(column)
        if values and any(values):
            files.write_rows(output / f"by_{column}.csv", trends.class_rows(values, labels, topics, column))
    if not any(months):
        return []
    files.write_rows(output / "trends.csv", trends.month_rows(months, labels, topics))
    going = trends.trends(trends.month_table(months, labels, len(topics))[1])
    files.write_rows(output / "trend_scores.csv", trends.trend_rows(going, topics), trends.SCORES)
    return going


def lay_out(found: Fit, neighbors: int, seed: int) -> Layout:
    """Lay out the distinct titles, or a sample of them, anew in two dimensions."""
    shown = sample(len(found.labels), MAP_TITLES, seed)
    return Layout(shown, figures.narrowed(cluster.reduce(found.vectors[shown], 2, neighbors, seed, min_dist=0.3)))


def draw(output: Path, found: Fit, layout: Layout) -> None:
    """Write `map.svg`, whose names its viewer's fonts draw, and `map.png` if this machine has a Chinese font."""
    names, labels = [topic.label for topic in found.model.topics], found.labels[layout.shown]
    files.write_text(output / "map.svg", plots.svg(figures.topic_map(layout.points, labels, names)))
    font = figures.chinese_font()
    if font is None:
        log.warning(
            "map.png is left out: no font of this machine has Chinese characters (for example: apt install "
            "fonts-noto-cjk); map.svg and report.html are drawn with their viewer's fonts"
        )
        return
    picture = io.BytesIO()
    figures.topic_map(layout.points, labels, names, [font]).savefig(picture, format="png", dpi=160)
    files.write_bytes(output / "map.png", picture.getvalue())


def write_page(
    output: Path, source: str, titles: Titles, found: Fit, results: dict[str, Any], layout: Layout | None,
    dates: list[str], going: list[trends.Trend],
) -> None:  # fmt: skip
    """Write `report.html`."""
    months, table = trends.month_table(dates, found.labels[titles.place], len(found.model.topics))
    material = report.Material(
        Path(source).name, titles, found, results, layout, months,
        table if months else None,
        going, (output / "tree.txt").read_text(encoding="utf-8"),
    )  # fmt: skip
    files.write_text(output / "report.html", report.page(material))
