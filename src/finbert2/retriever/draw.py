"""Which passages and which rows meet in a batch: drawn anew each epoch, a pure function of (seed, epoch, row)."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finbert2.errors import UserError
from finbert2.retriever.data import TrainingRow, all_passages, known_positives

Place = tuple[int, int]  # (epoch, row)


@dataclass(frozen=True)
class Group:
    """What one row brings to a batch: the query with its instruction, then a positive and the negatives."""

    query: str
    passages: tuple[str, ...]


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

    def __getitem__(self, place: Place) -> Group:
        epoch, number = place
        row, chance = self.rows[number], random.Random(f"{self.seed}/{epoch}/{number}")
        instruction = self.instruction if row.prompt is None else row.prompt
        positive = chance.choice(row.positives)
        return Group(instruction + row.query, (positive, *self.draw_negatives(row, chance)))

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


class Batches:
    """Batches of places in which no row's positive is another row's negative, and no query or positive comes twice.

    `together` consecutive batches (one a process) share the rule, as their passages meet in one loss. An epoch's
    batches that rows in conflict leave unfilled are filled by a second pass over the rows, up to the promised number.
    """

    def __init__(self, groups: Groups, batch_size: int, together: int = 1) -> None:
        self.groups, self.batch_size, self.together = groups, batch_size, together
        self.drop_last = True  # read by accelerate, which deals the batches out to the processes
        if len(self) == 0:
            raise UserError(
                f"{len(groups)} rows do not fill one step of {batch_size} on {together} process(es): "
                "lower --per_device_train_batch_size or give more rows"
            )

    def __len__(self) -> int:
        return len(self.groups) // (self.batch_size * self.together) * self.together

    def __iter__(self) -> Iterator[list[Place]]:
        left = len(self)
        for turn in range(10):
            for step in self.steps(turn):
                for start in range(0, len(step), self.batch_size):
                    yield step[start : start + self.batch_size]
                left -= self.together
                if left == 0:
                    return
        raise UserError(
            f"too many rows share queries or passages for batches of {self.batch_size * self.together} without false "
            "negatives: lower --per_device_train_batch_size or remove duplicates"
        )

    def steps(self, turn: int) -> Iterator[list[Place]]:
        """Yield whole steps from one shuffled pass over the rows; a row that does not fit waits for the next step."""
        order = list(range(len(self.groups)))
        random.Random(f"{self.groups.seed}/{self.groups.epoch}/order/{turn}").shuffle(order)
        waiting: list[int] = []
        size = self.batch_size * self.together
        while order or waiting:
            step, waiting, order = self.fill(waiting, order, size)
            if len(step) < size:
                return
            yield step

    def fill(self, waiting: list[int], order: list[int], size: int) -> tuple[list[Place], list[int], list[int]]:
        """Return one step, the rows that now wait, and the rest of the order."""
        step: list[Place] = []
        refused: list[int] = []
        queries, positives, negatives = set[str](), set[str](), set[str]()
        candidates = iter([*waiting, *order])
        for number in candidates:
            row, group = self.groups.rows[number], self.groups[self.groups.epoch, number]
            own, others = self.groups.positives[row.query], set(group.passages[1:])
            if row.query in queries or own & (positives | negatives) or others & positives:
                refused.append(number)
                continue
            step.append((self.groups.epoch, number))
            queries.add(row.query)
            positives |= own
            negatives |= others
            if len(step) == size:
                break
        return step, refused, list(candidates)
