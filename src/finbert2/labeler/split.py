"""Parts of labelled rows: a development part, folds, and random samples."""

import itertools
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from finbert2.errors import UserError
from finbert2.labeler import duplicates

log = logging.getLogger(__name__)
DEV_SHARE = 0.1


def split(rows: Sequence[Any], seed: int, share: float = DEV_SHARE) -> tuple[list[Any], list[Any]]:
    """Return training and development rows; near duplicates stay together, and classes keep their shares.

    A class with one group of rows stays in training. Raises `UserError` where nothing can be held out.
    """
    chosen = set(hold_out(rows, share, seed))
    dev = [row for place, row in enumerate(rows) if place in chosen]
    if not dev or len(dev) == len(rows):
        raise UserError(
            f"the training data has {len(rows)} rows, and none can be held out (one row, or all near duplicates of "
            "one another): add rows, or name --dev_data"
        )
    return [row for place, row in enumerate(rows) if place not in chosen], dev


def hold_out(rows: Sequence[Any], share: float, seed: int) -> list[int]:
    """Return the places of about `share` of the rows, whole groups of near duplicates, class by class."""
    chance = random.Random(seed)
    classes = by_class(rows)
    chosen: list[int] = []
    pool = []
    owed = 0.0  # what rounding, to nothing in small classes, leaves to the next one
    for members in classes.values():
        chance.shuffle(members)
        if len(members) > 1:
            wanted = owed + share * sum(map(len, members))
            taken = take(members[:-1], wanted)
            owed = min(1.0, max(0.0, wanted - len(taken)))
            chosen += taken
            pool += members[:-1]
    if not chosen:
        chance.shuffle(pool)
        chosen = take(pool, max(1.0, share * len(rows)))
    if not chosen:  # every group is larger than what is wanted
        chosen = [place for groups in classes.values() if len(groups) > 1 for place in min(groups, key=len)]
    return chosen


def take(groups: Sequence[list[int]], wanted: float) -> list[int]:
    """Return the places of groups in their order until about `wanted` are found; a group too large is passed over."""
    chosen: list[int] = []
    for group in groups:
        if len(chosen) + len(group) <= wanted + 0.5:
            chosen += group
    return chosen


def by_class(rows: Sequence[Any]) -> dict[str, list[list[int]]]:
    """Return for each class the groups of near duplicates (places) whose first row has it; sentences are one class.

    A row of several labels is of its rarest: of their combinations most are too rare to have a share anywhere.
    """
    texts = [row.text for row in rows]
    members: dict[int, list[int]] = defaultdict(list)
    for place, first in enumerate(duplicates.groups(texts)):
        members[first].append(place)
    labels: list[list[str]] = [getattr(row, "labels", []) for row in rows]
    counts = Counter(itertools.chain(*labels))
    classes: dict[str, list[list[int]]] = defaultdict(list)
    for first, group in members.items():
        classes[min(labels[first], key=lambda label: (counts[label], label), default="")].append(group)
    return dict(sorted(classes.items()))


def folds(rows: Sequence[Any], count: int, seed: int) -> list[int]:
    """Return the fold (0 to `count` - 1) of each row; near duplicates share one, classes are spread over all.

    Raises `UserError` for more folds than groups of rows.
    """
    chance = random.Random(seed)
    sizes, fold_of = [0] * count, [0] * len(rows)
    classes = by_class(rows)
    if sum(map(len, classes.values())) < count:
        raise UserError(f"--folds {count}: the training data has fewer rows that are no near duplicates of another")
    for groups in classes.values():
        chance.shuffle(groups)
        ranks = sorted(range(count), key=lambda fold: sizes[fold])  # the smallest fold begins
        for number, group in enumerate(groups):
            fold = ranks[number % count]
            sizes[fold] += len(group)
            for place in group:
                fold_of[place] = fold
    return fold_of


def sample(rows: list[Any], limit: int, seed: int) -> list[Any]:
    """Return a random sample of `limit` rows in their order, all of them if there are no more (or limit is 0)."""
    if not 0 < limit < len(rows):
        return rows
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), limit))]
