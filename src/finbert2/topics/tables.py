"""What a run tells: rows of topics, of titles and of months, and a few lines for the terminal."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finbert2.topics.fit import EXAMPLES, Fit
from finbert2.topics.model import Topic
from finbert2.topics.titles import Titles

if TYPE_CHECKING:
    import numpy as np


def topic_row(topic: Topic) -> dict[str, Any]:
    """Return a topic as a row of `topics.csv`."""
    texts = [*topic.examples, *[""] * EXAMPLES][:EXAMPLES]
    examples = {f"example_{number}": text for number, text in enumerate(texts, start=1)}
    return {"topic": topic.topic, "size": topic.size, "words": " ".join(topic.words), **examples}


def title_rows(titles: Titles, found: Fit) -> Iterator[dict[str, Any]]:
    """Yield a row for each title of the file, repeated ones too, with its other known columns."""
    known = {name: titles.column(name) for name in ("date", "date_str", "industry", "org")}
    for number, (text, place) in enumerate(zip(titles.texts, titles.place, strict=True)):
        row = {"title": text, "topic": int(found.labels[place]), "similarity": round(float(found.similarity[place]), 4)}
        yield row | {name: values[number] for name, values in known.items() if values}


def trend_rows(months: list[str], labels: "np.ndarray", found: Fit) -> Iterator[dict[str, Any]]:
    """Yield for each month and topic how many titles it had, and their share of the month's titles."""
    pairs = [(month, int(label)) for month, label in zip(months, labels, strict=True) if month]
    totals, each = Counter(month for month, _ in pairs), Counter(pairs)
    for (month, label), number in sorted(each.items()):
        if label >= 0:
            words = " ".join(found.model.topics[label].words[:3])
            share = round(number / totals[month], 5)
            yield {"month": month, "topic": label, "words": words, "titles": number, "share": share}


def as_text(found: Fit, results: dict[str, Any], most: int = 12) -> str:
    """Return the largest topics and the main numbers as lines of text."""
    lines = [f"{'topic':>5} {'titles':>7}  words"]
    lines += [f"{t.topic:>5} {t.size:>7}  {' '.join(t.words[:8])}" for t in found.model.topics[:most]]
    more = results["n_topics"] - most
    lines += [f"      … and {more} more"] if more > 0 else []
    names = ("n_topics", "coverage", "topic_diversity", "npmi", "silhouette", "ami")
    lines.append("  ".join(f"{name} {results[name]:.4g}" for name in names if results.get(name) is not None))
    return "\n".join(lines) + "\n"
