"""Windows → packed rows of equal length, and the order in which a run meets them."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from finbert2 import files
from finbert2.pretrain.data import Windows

CHUNK = 10_000  # windows that are packed together
BLANK = -1  # the row of a place that the batch ramp leaves empty


class Place(NamedTuple):
    """What a sampler asks for: a row in an epoch, to be masked at a ratio."""

    epoch: int
    row: int
    ratio: float


def pack(lengths: np.ndarray, row_length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return window numbers in the order of rows (windows,), and where each row ends in it (rows,).

    The windows of a row add up to `row_length` or just below. Best-fit decreasing within random chunks: packed as
    fully as over the whole corpus (99 % and more for chunks of this size), while rows still mix documents from
    anywhere.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    packed, sizes = [], []
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        rows = best_fit(part[np.argsort(-lengths[part], kind="stable")], lengths, row_length)
        packed.append(np.array([window for row in rows for window in row], dtype=np.int64))
        sizes.append(np.array([len(row) for row in rows], dtype=np.int64))
    return np.concatenate(packed), np.cumsum(np.concatenate(sizes))


def best_fit(order: np.ndarray, lengths: np.ndarray, row_length: int) -> list[list[int]]:
    """Return rows filled in the given order, each window into the fullest row that still holds it."""
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (space left, row), sorted
    for window in order.tolist():
        length = int(lengths[window])
        place = bisect_left(open_rows, (length, -1))
        if place < len(open_rows):
            space, row = open_rows.pop(place)
            rows[row].append(window)
        else:
            space, row = row_length, len(rows)
            rows.append([window])
        if space > length:
            insort(open_rows, (space - length, row))
    return rows


class PackedRows(Dataset):
    """Rows of `row_length` tokens, asked for by `Place`, a whole batch at a time.

    `offset` of the windows inside the memory-mapped corpus is all that is held; the plan, which window goes into which
    row, is kept beside the corpus and read back by every other process and run.
    """

    def __init__(self, windows: Windows, row_length: int, pad_id: int, seed: int) -> None:
        self.windows, self.row_length, self.pad_id = windows, row_length, pad_id
        self.order, self.row_ends = load_plan(windows, row_length, seed)

    def __len__(self) -> int:
        return len(self.row_ends)

    @property
    def fill(self) -> float:
        """Share of the slots of all rows that hold a token of a document."""
        return float(self.windows.ends[-1]) / (len(self) * self.row_length)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """Return a batch of one row."""
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[Place]) -> dict[str, Any]:
        """Return ids and word starts (rows, row_length), `lengths` and `sources` (segments,), `rows` (rows,).

        The loader hands a batch's places over at once, so that rows are gathered by a handful of array operations.
        Padding at a row's end is segments of its own, no longer than the longest window: positions have to exist.
        `real` tells the segments that are not padding.
        """
        rows = np.array([place.row for place in places if place.row != BLANK])
        begins = np.where(rows > 0, self.row_ends[rows - 1], 0)
        counts = self.row_ends[rows] - begins
        chosen = self.order[ragged(begins, counts)]
        ends = self.windows.ends[chosen]
        firsts = np.where(chosen > 0, self.windows.ends[chosen - 1], 0)
        tokens = ragged(firsts, ends - firsts)
        filled = np.add.reduceat(ends - firsts, np.cumsum(counts) - counts)
        slots = np.arange(self.row_length) < filled[:, None]  # (rows, row_length)
        ids = np.full(slots.shape, self.pad_id, dtype=np.int64)
        starts = np.ones(slots.shape, dtype=bool)
        ids[slots] = self.windows.ids[tokens]
        starts[slots] = self.windows.starts[tokens]
        segments = self.with_padding(ends - firsts, self.windows.sources[chosen], counts, self.row_length - filled)
        return {
            "ids": ids,
            "starts": starts,
            "rows": rows,
            "epoch": places[0].epoch,
            "ratio": places[0].ratio,
        } | segments

    def with_padding(
        self, lengths: np.ndarray, sources: np.ndarray, counts: np.ndarray, spaces: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return `lengths`, `sources` and `real` of the segments (segments,), each row's space cut up too."""
        pads = -(-spaces // self.windows.longest)  # (rows,)
        ends = np.repeat(np.cumsum(counts), pads)
        sizes = np.full(int(pads.sum()), self.windows.longest)
        sizes[np.cumsum(pads)[pads > 0] - 1] = (spaces - (pads - 1) * self.windows.longest)[pads > 0]
        return {
            "lengths": np.insert(lengths, ends, sizes),
            "sources": np.insert(sources, ends, -1),
            "real": np.insert(np.ones(len(lengths), dtype=bool), ends, False),
        }


def load_plan(windows: Windows, row_length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `pack`'s order and row ends, packed once and then read from beside the corpus."""
    paths = [windows.folder / f"{part}-{row_length}-{seed}.npy" for part in ("rows", "order")]
    if not all(path.exists() for path in paths):
        order, ends = pack(windows.lengths, row_length, seed)
        for path, array in zip(paths, (ends, order), strict=True):
            files.write_array(path, array)
    ends, order = (np.load(path, mmap_mode="r") for path in paths)
    return order, ends


def ragged(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return begins[0], begins[0] + 1, … (counts[0] numbers), then begins[1], … and so on."""
    shifts = begins - (np.cumsum(counts) - counts)
    return np.arange(int(counts.sum())) + np.repeat(shifts, counts)


@dataclass(frozen=True)
class Schedule:
    """What changes in the course of a run, by the number of rows met so far.

    `ratios` are (share of the run, mask ratio) in rising order, the first at 0; `planned` is the number of rows of the
    whole run. In the first `ramp` steps, of `batches` batches each, the batches grow from one row to `batch_rows`.
    """

    ratios: tuple[tuple[float, float], ...]
    planned: int
    batch_rows: int = 1
    batches: int = 1
    ramp: int = 0

    def ratio(self, met: int) -> float:
        """Return the mask ratio after `met` rows."""
        return [ratio for share, ratio in self.ratios if share * self.planned <= met][-1]

    def rows(self, batch: int) -> int:
        """Return how many rows the batch of that number in the first epoch holds."""
        step = batch // self.batches
        return self.batch_rows if step >= self.ramp else max(1, self.batch_rows * (step + 1) // (self.ramp + 1))


class EpochSampler(Sampler[Place]):
    """Yields places in an order that is a pure function of (seed, epoch).

    During the batch ramp the tail of each batch is blank; the rows that are thereby left over are not met in the first
    epoch, so that every epoch has the same number of batches and resuming can count them.
    """

    def __init__(self, rows: int, seed: int, schedule: Schedule) -> None:
        self.rows, self.seed, self.schedule, self.epoch = rows, seed, schedule, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the Trainer does so, also when it resumes in the middle of one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Place]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch))
        rows = iter(order.tolist())
        for place in range(self.rows):
            number, inside = divmod(place, self.schedule.batch_rows)
            blank = self.epoch == 0 and inside >= self.schedule.rows(number)
            ratio = self.schedule.ratio(self.epoch * self.rows + place)
            yield Place(self.epoch, BLANK if blank else next(rows), ratio)
