"""What a run tells: rows of topics and of titles, a page of Markdown, and a few lines for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finbert2.topics.fit import EXAMPLES, Fit
from finbert2.topics.model import Topic
from finbert2.topics.titles import Titles

if TYPE_CHECKING:
    import numpy as np


def topic_row(topic: Topic, layers: Sequence["np.ndarray"] = ()) -> dict[str, Any]:
    """Return a topic as a row of `topics.csv`; `layers` hold the topic's branch on each coarser layer."""
    texts = [*topic.examples, *[""] * EXAMPLES][:EXAMPLES]
    examples = {f"example_{number}": text for number, text in enumerate(texts, start=1)}
    branches = {f"layer_{number}": int(layer[topic.topic]) for number, layer in enumerate(layers, start=1)}
    row = {"topic": topic.topic, "size": topic.size, "words": " ".join(topic.words), **examples}
    return row | {"name": topic.name} | branches


def title_rows(titles: Titles, found: Fit) -> Iterator[dict[str, Any]]:
    """Yield a row for each title of the file, repeated ones too, with its other known columns."""
    known = {name: titles.column(name) for name in ("date", "date_str", "industry", "org")}
    similarity = found.placed.similarity
    for number, (text, place) in enumerate(zip(titles.texts, titles.place, strict=True)):
        row = {"title": text, "topic": int(found.labels[place]), "similarity": round(float(similarity[place]), 4)}
        yield row | {name: values[number] for name, values in known.items() if values}


def markdown(topics: Sequence[Topic]) -> str:
    """Return the topics as a Markdown table."""
    lines = ["| topic | titles | name | words | title nearest to the centre |", "| --: | --: | --- | --- | --- |"]
    for topic in topics:
        cells = (topic.topic, topic.size, topic.name, " ".join(topic.words), *topic.examples[:1])
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_text(found: Fit, results: dict[str, Any], most: int = 12) -> str:
    """Return the largest topics and the main numbers as lines of text."""
    lines = [f"{'topic':>5} {'titles':>7}  words"]
    lines += [
        f"{t.topic:>5} {t.size:>7}  {t.name and t.name + ': '}{' '.join(t.words[:8])}"
        for t in found.model.topics[:most]
    ]
    more = results["n_topics"] - most
    lines += [f"      … and {more} more"] if more > 0 else []
    names = ("n_topics", "coverage", "topic_diversity", "npmi", "silhouette", "ami")
    lines.append("  ".join(f"{name} {results[name]:.4g}" for name in names if results.get(name) is not None))
    return "\n".join(lines) + "\n"
