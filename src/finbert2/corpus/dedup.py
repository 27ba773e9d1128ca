"""De-duplication in four steps: sketch each document, pair those that share a key, judge the pairs, choose.

A task holds its share of keys or pairs and nothing else, so that memory does not grow with the corpus; only the last
step, one task, sees all verified pairs, and a byte for each document.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.batching import batched

from finbert2 import files
from finbert2.corpus import similar
from finbert2.corpus.minhash import sketch

KEPT, EXACT, NEAR = 0, 1, 2
REASONS = {EXACT: "exact_duplicate", NEAR: "near_duplicate"}
# Each holder of a key is paired with the first one and with so many before it: a boilerplate title that ten thousand
# share must not make fifty million pairs.
NEIGHBOURS = 4
ROWS_AT_ONCE = 256
PAIRS_AT_ONCE = 2**22
JUDGED_AT_ONCE = 2**17


class Sketches(PipelineStep):
    """Passes documents on and keeps their sketches: sorted keys with their holders, and the records to judge by."""

    name, type = "sketches", "dedup"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write `<rank>.keys.npy`, `<rank>.holders.npy` and `<rank>.records.npy` when the last document has passed."""
        keys, sizes, records = [np.zeros(0, dtype=np.uint64)], [], [np.zeros(0, dtype=similar.RECORD)]
        for docs in batched(data, ROWS_AT_ONCE):
            with self.track_time("batch"):
                found = [sketch(doc.text) for doc in docs]
                keys.append(np.concatenate([each.keys for each in found]))
                sizes += [len(each.keys) for each in found]
                records.append(np.zeros(len(docs), dtype=similar.RECORD))
                for place, each in enumerate(found):
                    similar.fill(records[-1], place, each)
            yield from docs
        holders = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
        all_keys = np.concatenate(keys)
        order = np.argsort(all_keys, kind="stable")
        files.write_array(self.folder / f"{rank:05d}.keys.npy", all_keys[order])
        files.write_array(self.folder / f"{rank:05d}.holders.npy", holders[order])
        files.write_array(self.folder / f"{rank:05d}.records.npy", np.concatenate(records))


class Candidates(PipelineStep):
    """Pairs the documents that share a key; each task has an equal range of the keys of all documents."""

    name, type = "candidates", "dedup"

    def __init__(self, sketches: Path, folder: Path) -> None:
        super().__init__()
        self.sketches, self.folder = sketches, folder

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the distinct pairs of this range, packed and sorted."""
        keys, numbers = [], []
        low, high = key_range(rank, world_size)
        starts = first_numbers(self.sketches)
        for task, path in enumerate(sorted(self.sketches.glob("*.keys.npy"))):
            mine = np.load(path, mmap_mode="r")
            begin, end = np.searchsorted(mine, low), np.searchsorted(mine, high, side="right")
            holders = np.load(path.with_name(path.name.replace("keys", "holders")), mmap_mode="r")
            keys.append(np.array(mine[begin:end]))
            numbers.append(holders[begin:end] + np.uint64(starts[task]))
        files.write_array(self.folder / f"{rank:05d}.npy", pair_up(np.concatenate(keys), np.concatenate(numbers)))


class Judge(PipelineStep):
    """Keeps the candidate pairs that are exact or near copies; each task has a range of the first documents."""

    name, type = "judge", "dedup"

    def __init__(self, sketches: Path, candidates: Path, folder: Path) -> None:
        super().__init__()
        self.sketches, self.candidates, self.folder = sketches, candidates, folder

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the packed pairs that hold and the kind of each."""
        starts = first_numbers(self.sketches)
        borders = [int(starts[-1]) * part // world_size for part in (rank, rank + 1)]
        found, kinds = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint8)]
        for pairs in candidate_pairs(self.candidates, borders[0], borders[1]):
            for start in range(0, len(pairs), JUDGED_AT_ONCE):
                some = pairs[start : start + JUDGED_AT_ONCE]
                kind = self.kinds(some, starts)
                self.stat_update("candidates", value=len(some))
                found.append(some[kind != KEPT])
                kinds.append(kind[kind != KEPT])
        files.write_array(self.folder / f"{rank:05d}.pairs.npy", np.concatenate(found))
        files.write_array(self.folder / f"{rank:05d}.kinds.npy", np.concatenate(kinds))

    def kinds(self, pairs: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return EXACT, NEAR or KEPT for each packed pair, uint8 (pairs,)."""
        one, other = (records_of(self.sketches, numbers, starts) for numbers in unpack(pairs))
        kind = np.where(similar.are_near(one, other), NEAR, KEPT).astype(np.uint8)
        kind[one["exact"] == other["exact"]] = EXACT
        return kind


class Choose(PipelineStep):
    """Chooses what stays: a document goes if an earlier one that stays is nearly the same, or an earlier one equal."""

    name, type = "choose", "dedup"

    def __init__(self, sketches: Path, judged: Path, folder: Path, examples: int) -> None:
        super().__init__()
        self.sketches, self.judged, self.folder, self.examples = sketches, judged, folder, examples

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write each task's verdicts, one byte a document, and which pairs a person is shown."""
        starts = first_numbers(self.sketches)
        pairs = np.concatenate([np.load(path) for path in sorted(self.judged.glob("*.pairs.npy"))])
        kinds = np.concatenate([np.load(path) for path in sorted(self.judged.glob("*.kinds.npy"))])
        verdicts, decisive = choose(pairs, kinds, int(starts[-1]))
        for task, (begin, end) in enumerate(zip(starts, starts[1:], strict=False)):
            files.write_array(self.folder / f"{task:05d}.npy", verdicts[begin:end])
        shown = {
            REASONS[kind]: some_of(pairs[decisive & (verdicts[pairs & np.uint64(0xFFFFFFFF)] == kind)], self.examples)
            for kind in REASONS
        }
        files.write_json(self.folder / "shown.json", shown)


def key_range(part: int, parts: int) -> tuple[np.uint64, np.uint64]:
    """Return the first and the last key of one of so many equal parts of all 64-bit numbers."""
    return np.uint64(2**64 * part // parts), np.uint64(2**64 * (part + 1) // parts - 1)


def first_numbers(sketches: Path) -> np.ndarray:
    """Return the number of each task's first document, and of all documents at the end (tasks + 1,)."""
    counts = [len(np.load(path, mmap_mode="r")) for path in sorted(sketches.glob("*.records.npy"))]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def pair_up(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the distinct pairs of documents that share a key, packed, sorted; documents have less than 32 bits.

    `keys` and `numbers` (holders,) uint64 name one holder each, documents in ascending order within a key.
    """
    order = np.argsort(keys, kind="stable")
    keys, numbers = keys[order], numbers[order]
    places = np.arange(len(keys))
    new = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, dtype=bool)
    first = np.maximum.accumulate(np.where(new, places, 0)) if len(keys) else places
    found = [pack(numbers[first[~new]], numbers[~new])]
    for back in range(1, NEIGHBOURS + 1):
        late = places[places - back > first]  # the first of all is paired already
        found.append(pack(numbers[late - back], numbers[late]))
    return np.unique(np.concatenate(found))


def pack(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return pairs of document numbers as one uint64 each, the smaller number in the high half; no self-pairs."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    return ((low << np.uint64(32)) | high)[low != high]


def unpack(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two document numbers (pairs,) of packed pairs."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def candidate_pairs(folder: Path, low: int, high: int) -> Iterator[np.ndarray]:
    """Yield the distinct pairs of all tasks whose first document is from `low` to below `high`, some at a time."""
    stored = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    count = sum(int(np.diff(np.searchsorted(part, limits(low, high)))[0]) for part in stored)
    pieces = -(-count // PAIRS_AT_ONCE)
    for piece in range(pieces):
        begin, end = (low + (high - low) * part // pieces for part in (piece, piece + 1))
        cuts = [(part, np.searchsorted(part, limits(begin, end))) for part in stored]
        yield np.unique(np.concatenate([np.array(part[places[0] : places[1]]) for part, places in cuts]))


def limits(low: int, high: int) -> np.ndarray:
    """Return the packed pairs between which those of the documents from `low` to below `high` lie."""
    return np.array([low << 32, high << 32], dtype=np.uint64)


def records_of(sketches: Path, numbers: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the records of documents by their numbers; the files are mapped one after the other, not loaded."""
    records = np.zeros(len(numbers), dtype=similar.RECORD)
    tasks = np.searchsorted(starts, numbers, side="right") - 1
    for task in np.unique(tasks):
        which = np.flatnonzero(tasks == task)
        stored = np.load(sketches / f"{task:05d}.records.npy", mmap_mode="r")
        records[which] = stored[numbers[which] - starts[task]]
    return records


def choose(pairs: np.ndarray, kinds: np.ndarray, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each document's verdict (documents,) uint8, and which pairs decided one (pairs,) bool.

    Documents are judged in their order, so that what stays has no near copy before it that stays; chains, where each
    text is near the next and the last is far from the first, do not go as a whole.
    """
    verdicts = np.zeros(documents, dtype=np.uint8)
    decisive = np.zeros(len(pairs), dtype=bool)
    early, late = unpack(pairs)
    for place in np.lexsort((early, -(kinds == EXACT).astype(np.int8), late)).tolist():
        one, other = early[place], late[place]
        if verdicts[other] == KEPT and (kinds[place] == EXACT or verdicts[one] == KEPT):
            verdicts[other] = kinds[place]
            decisive[place] = True
    return verdicts, decisive


def some_of(pairs: np.ndarray, count: int) -> list[list[int]]:
    """Return up to `count` pairs of document numbers, spread over all of them."""
    chosen = pairs[np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(np.int64)]
    return [[int(one), int(other)] for one, other in zip(*unpack(chosen), strict=True)]


def shown_numbers(folder: Path, first: int, last: int) -> dict[int, int]:
    """Return which of a task's documents (by their number within it) a person is shown, with their number overall."""
    shown: dict[str, Sequence[Sequence[int]]] = json.loads((folder / "shown.json").read_text(encoding="utf-8"))
    numbers = {number for pairs in shown.values() for pair in pairs for number in pair}
    return {number - first: number for number in numbers if first <= number < last}
