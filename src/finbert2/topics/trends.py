"""Topics over time and among industries or brokers: counts, shares with intervals, and which way they go."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from finbert2.topics.model import Topic

SURE = 3.0  # standard errors between two shares before they are said to differ
FACTOR = 1.5  # … and how many times larger one has to be
SCORES = ("topic", "words", "kind", "share_before", "share_recent", "z")  # columns of `trend_scores.csv`
RECENT = 4  # the last fourth of the months is compared with those before


@dataclass(frozen=True)
class Trend:
    """A topic's share of all titles in the recent months and before, and what that makes it."""

    topic: int
    before: float
    recent: float
    z: float  # of the two shares' difference
    kind: str  # "rising", "fading", "new" or ""


def interval(number: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (E. B. Wilson, 1927, JASA 22)."""
    z = 1.96
    share, room = number / total, z * z / total
    middle = (share + room / 2) / (1 + room)
    half = z / (1 + room) * ((share * (1 - share) + room / 4) / total) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def month_rows(months: Sequence[str], labels: "np.ndarray", topics: Sequence["Topic"]) -> Iterator[dict[str, Any]]:
    """Yield for each month and topic how many titles it had, their share of the month's titles and its interval."""
    pairs = [(month, int(label)) for month, label in zip(months, labels, strict=True) if month]
    totals, each = Counter(month for month, _ in pairs), Counter(pairs)
    for (month, label), number in sorted(each.items()):
        if label >= 0:
            low, high = interval(number, totals[month])
            yield {
                "month": month, "topic": label, "words": " ".join(topics[label].words[:3]), "titles": number,
                "share": round(number / totals[month], 5), "low": round(low, 5), "high": round(high, 5),
            }  # fmt: skip


def month_table(months: Sequence[str], labels: "np.ndarray", topics: int) -> tuple[list[str], "np.ndarray"]:
    """Return the months in order and the titles of each topic in each: (topics, months); the last row has no topic."""
    import numpy as np

    found = sorted({month for month in months if month})
    place = {month: number for number, month in enumerate(found)}
    table = np.zeros((topics + 1, len(found)), dtype=np.int64)
    known = [(int(label), place[month]) for label, month in zip(labels, months, strict=True) if month]
    if known:
        np.add.at(table, tuple(np.array(known).T), 1)
    return found, table


def trends(table: "np.ndarray") -> list[Trend]:
    """Return the trend of each topic from its titles a month (topics + 1, months); none for fewer than four months.

    The last fourth of the months against those before: z of the difference of two shares. Rising and fading need z of 3
    and a factor of 1.5; new is a rising topic of which less than a twentieth of the recent share was there before.
    """
    months = table.shape[1]
    if months < RECENT:
        return []
    first = months - max(1, months // RECENT)
    early, late = table[:, :first].sum(axis=1), table[:, first:].sum(axis=1)
    totals = int(early.sum()), int(late.sum())
    if not all(totals):
        return []
    return [compare(topic, (int(early[topic]), int(late[topic])), totals) for topic in range(len(table) - 1)]


def compare(topic: int, numbers: tuple[int, int], totals: tuple[int, int]) -> Trend:
    """Return the `Trend` of a topic with these titles before and recently, of these totals."""
    before, recent = numbers[0] / totals[0], numbers[1] / totals[1]
    pooled = sum(numbers) / sum(totals)
    error = (pooled * (1 - pooled) * (1 / totals[0] + 1 / totals[1])) ** 0.5
    z = (recent - before) / error if error else 0.0
    kind = ""
    if z >= SURE and recent >= FACTOR * before:
        kind = "new" if before < recent / 20 else "rising"
    elif z <= -SURE and before >= FACTOR * recent:
        kind = "fading"
    return Trend(topic, before, recent, z, kind)


def trend_rows(found: Sequence[Trend], topics: Sequence["Topic"]) -> Iterator[dict[str, Any]]:
    """Yield the trends as rows of `trend_scores.csv`, the strongest rise first."""
    for trend in sorted(found, key=lambda trend: -trend.z):
        yield {
            "topic": trend.topic, "words": " ".join(topics[trend.topic].words[:5]), "kind": trend.kind,
            "share_before": round(trend.before, 5), "share_recent": round(trend.recent, 5), "z": round(trend.z, 2),
        }  # fmt: skip


def class_rows(
    values: Sequence[str], labels: "np.ndarray", topics: Sequence["Topic"], column: str
) -> Iterator[dict[str, Any]]:
    """Yield for each value of a column (an industry, a broker) and topic: titles, share of the value's titles, lift.

    Lift is that share over the topic's share of all titles: above 1 the topic is the value's own.
    """
    pairs = [(value, int(label)) for value, label in zip(values, labels, strict=True) if value]
    totals, overall, each = Counter(v for v, _ in pairs), Counter(t for _, t in pairs), Counter(pairs)
    for (value, label), number in sorted(each.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        if label >= 0:
            share = number / totals[value]
            yield {
                column: value, "topic": label, "words": " ".join(topics[label].words[:3]), "titles": number,
                "share": round(share, 5), "lift": round(share * len(pairs) / overall[label], 3),
            }  # fmt: skip
