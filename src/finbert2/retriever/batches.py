"""Which passages and which rows meet in a batch: drawn anew each epoch, a pure function of (seed, epoch, row)."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from finbert2.errors import UserError
from finbert2.retriever.data import TrainingRow, all_passages, known_positives

NO_SCORE = float("nan")


class Place(NamedTuple):
    """One use of a row: the number of the epoch, of the row, and how often the epoch had it before."""

    epoch: int
    row: int
    copy: int = 0


@dataclass(frozen=True)
class Group:
    """What one row brings to a batch: the query with its instruction, then a positive and the negatives.

    Without `in_batch` its softmax ends at its own passages. `scores` are a teacher's, one a passage, NaN for those it
    has not seen; empty for a row without.
    """

    query: str
    passages: tuple[str, ...]
    in_batch: bool = True
    scores: tuple[float, ...] = ()


class Groups:
    """The groups of a data set: `groups[epoch, row]` is drawn when asked for.

    A row with too few negatives is filled up with passages of other rows, each at most once, never with a repeat and
    never with a positive of its query: the loss stays InfoNCE with a few easy negatives more.
    """

    def __init__(self, rows: Sequence[TrainingRow], size: int, instruction: str, seed: int) -> None:
        self.rows, self.size, self.instruction, self.seed = rows, size, instruction, seed
        self.positives = known_positives(rows)
        self.pool = all_passages(rows)
        self.epoch = 0
        most = max(len(positives) for positives in self.positives.values())
        if len(self.pool) - most < size - 1:
            raise UserError(
                f"the data hold {len(self.pool)} different passages, too few for groups of {size} "
                f"(a positive and {size - 1} negatives): lower --train_group_size or give more rows"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that `Batches` draws next; accelerate calls it, on one process and on many."""
        self.epoch = epoch

    def __getitem__(self, place: tuple[int, ...]) -> Group:
        epoch, number, copy = Place(*place)
        row, chance = self.rows[number], random.Random(f"{self.seed}/{epoch}/{number}" + f"/{copy}" * (copy > 0))
        instruction = self.instruction if row.prompt is None else row.prompt
        passages = (chance.choice(row.positives), *self.draw_negatives(row, chance))
        return Group(instruction + row.query, passages, row.in_batch, teacher_scores(row, passages))

    def draw_negatives(self, row: TrainingRow, chance: random.Random) -> list[str]:
        """Return size - 1 different negatives, the row's own first."""
        own = list(dict.fromkeys(row.negatives))
        drawn = chance.sample(own, min(len(own), self.size - 1))
        refused = self.positives[row.query] | set(drawn)
        while len(drawn) < self.size - 1:
            text = chance.choice(self.pool)
            if text not in refused:
                drawn.append(text)
                refused.add(text)
        return drawn

    def short_rows(self) -> int:
        """Return how many rows have fewer negatives of their own than a group takes."""
        return sum(len(set(row.negatives)) < self.size - 1 for row in self.rows)


def teacher_scores(row: TrainingRow, passages: Sequence[str]) -> tuple[float, ...]:
    """Return the teacher's score of each passage, NaN for one that another row lent; empty for a row without scores."""
    if row.pos_scores is None or row.neg_scores is None:
        return ()
    known = dict(zip((*row.negatives, *row.positives), (*row.neg_scores, *row.pos_scores), strict=True))
    return tuple(known.get(text, NO_SCORE) for text in passages)


class Batches:
    """Batches of places in which no row's positive is another row's negative, and no query or positive comes twice.

    `together` consecutive batches (one a process) share the rule, as their passages meet in one loss; a row without
    in-batch negatives sees no others and asks nothing of them. An epoch's batches that rows in conflict leave unfilled
    are filled by a second pass over the rows, up to the promised number. With `ratio` the sources' shares of an
    epoch's rows are these numbers' shares of their sum. With `one_source` the rows of a step come from one source.
    """

    def __init__(
        self,
        groups: Groups,
        batch_size: int,
        together: int = 1,
        ratio: Sequence[float] = (),
        one_source: bool = False,
    ) -> None:
        self.groups, self.batch_size, self.together, self.one_source = groups, batch_size, together, one_source
        self.drop_last = True  # read by accelerate, which deals the batches out to the processes
        self.rows_of: dict[int, list[int]] = {}
        for number, row in enumerate(groups.rows):
            self.rows_of.setdefault(row.source, []).append(number)
        shares = [ratio[source] / sum(ratio) for source in self.rows_of] if ratio else []
        self.wanted = {
            source: round(len(groups) * shares[place]) if ratio else len(rows)
            for place, (source, rows) in enumerate(self.rows_of.items())
        }
        self.size = batch_size * together
        if len(self) == 0 or (one_source and min(self.steps_of().values()) == 0):
            what = "the rows of a source" if one_source else f"{len(groups)} rows"
            raise UserError(
                f"{what} do not fill one step of {batch_size} on {together} process(es): "
                "lower --per_device_train_batch_size or give more rows"
            )

    def steps_of(self) -> dict[int, int]:
        """Return how many steps of an epoch are a source's own."""
        return {source: wanted // self.size for source, wanted in self.wanted.items()}

    def __len__(self) -> int:
        steps = sum(self.steps_of().values()) if self.one_source else sum(self.wanted.values()) // self.size
        return steps * self.together

    def __iter__(self) -> Iterator[list[Place]]:
        for step in self.mixed() if self.one_source else self.steps(list(self.rows_of), len(self) // self.together):
            for start in range(0, len(step), self.batch_size):
                yield step[start : start + self.batch_size]

    def mixed(self) -> Iterator[list[Place]]:
        """Yield the steps of all sources in a drawn order."""
        counts = self.steps_of()
        streams = {source: self.steps([source], count) for source, count in counts.items()}
        order = [source for source, count in counts.items() for _ in range(count)]
        self.chance("sources").shuffle(order)
        for source in order:
            yield next(streams[source])

    def steps(self, sources: Sequence[int], count: int) -> Iterator[list[Place]]:
        """Yield `count` steps from shuffled passes over the rows; a row that does not fit waits for the next step."""
        left = count
        for turn in range(10):
            places = deque(self.order(sources, turn))
            while left and places:
                step = self.fill(places)
                if len(step) < self.size:
                    break
                yield step
                left -= 1
            if not left:
                return
        raise UserError(
            f"too many rows share queries or passages for batches of {self.size} without false negatives: lower "
            "--per_device_train_batch_size or --train_group_size, remove duplicates, or give the rows negatives that "
            "are no other row's positive (`retriever mine --candidate_pool`)"
        )

    def order(self, sources: Sequence[int], turn: int) -> list[Place]:
        """Return the places of one pass over some sources, shuffled; a source asked for more often repeats its rows."""
        places = []
        for source in sources:
            rows, wanted = self.rows_of[source], self.wanted[source]
            for copy in range(-(-wanted // len(rows))):
                drawn = min(len(rows), wanted - copy * len(rows))
                part = rows if drawn == len(rows) else self.chance(f"part/{source}/{turn}").sample(rows, drawn)
                places += [Place(self.groups.epoch, number, copy) for number in part]
        self.chance(f"order/{turn}").shuffle(places)
        return places

    def chance(self, name: str) -> random.Random:
        """Return the random numbers of one purpose in this epoch."""
        return random.Random(f"{self.groups.seed}/{self.groups.epoch}/{name}")

    def fill(self, places: deque[Place]) -> list[Place]:
        """Return one step, taken out of the places; those that do not fit it stay at their beginning."""
        step: list[Place] = []
        refused: list[Place] = []
        guarded, present = set[str](), set[str]()  # positives of rows that see the others; all passages
        while places and len(step) < self.size:
            place = places.popleft()
            row = self.groups.rows[place.row]
            own = self.groups.positives[row.query]
            if row.in_batch and not present.isdisjoint(own):  # told before anything is drawn
                refused.append(place)
                continue
            passages = self.groups[place].passages
            if not guarded.isdisjoint(passages):
                refused.append(place)
                continue
            step.append(place)
            present |= own | set(passages)
            guarded |= own if row.in_batch else set()
        places.extendleft(reversed(refused))
        return step
