"""Documents → token ids with word starts → windows → packed rows, tokenised once and memory-mapped."""

import hashlib
import json
import os
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from finbert2 import files
from finbert2.errors import UserError
from finbert2.pretrain.segment import word_starts

CHUNK = 512  # documents a worker tokenises at a time
FORMAT = 1  # of the cached files; counted up when their meaning changes


@dataclass(frozen=True)
class Windows:
    """A tokenised corpus: all windows one after the other, each [CLS] … [SEP] and no longer than a sequence.

    `ids` (tokens,), `starts` (tokens,) True where a word begins and at specials, `lengths` (windows,),
    `characters` the number of characters of the texts.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    characters: int

    @property
    def tokens(self) -> int:
        """Tokens without the two specials of each window."""
        return int(self.lengths.sum()) - 2 * len(self.lengths)


def load_windows(paths: Sequence[str], field: str, tokenizer: Any, max_length: int, cache: Path, name: str) -> Windows:
    """Return the tokenised corpus, from the cache if the same files met the same tokenizer before.

    Raises `UserError` if there is no text in it.
    """
    folder = cache / f"{name}-{cache_key(paths, field, tokenizer, max_length)}"
    if not (folder / "meta.json").exists():
        write_windows(paths, field, tokenizer, max_length, folder, name)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    ids, starts, lengths = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("ids", "starts", "lengths"))
    return Windows(ids, starts, lengths, meta["characters"])


def cache_key(paths: Sequence[str], field: str, tokenizer: Any, max_length: int) -> str:
    """Return a short hash of the content that is tokenised and of what tokenises it."""
    contents = sorted(entry["sha256"] for entry in files.fingerprint(corpus_files(paths)).values())
    rules = tokenizer.backend_tokenizer.to_str()
    return hashlib.sha256(json.dumps([FORMAT, contents, field, max_length, rules]).encode()).hexdigest()[:16]


def corpus_files(paths: Sequence[str]) -> list[Path]:
    """Return the files behind the corpus paths; a saved `datasets` folder counts as its arrow files."""
    return files.expand(paths, (*files.TEXT_SUFFIXES, ".arrow"))


def write_windows(paths: Sequence[str], field: str, tokenizer: Any, max_length: int, folder: Path, name: str) -> None:
    """Tokenise the corpus on all cores and write its arrays into `folder`, `meta.json` last."""
    ids, starts, lengths, characters = [], [], [], 0
    for part in tokenize_all(paths, field, tokenizer, max_length, name):
        ids.append(part[0])
        starts.append(part[1])
        lengths.append(part[2])
        characters += part[3]
    if not lengths or not sum(map(len, lengths)):
        raise UserError(f"{', '.join(paths)}: no document with text in '{field}' was found to train on")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "ids.npy", np.concatenate(ids))
    np.save(folder / "starts.npy", np.concatenate(starts))
    np.save(folder / "lengths.npy", np.concatenate(lengths))
    files.write_json(folder / "meta.json", {"characters": characters})


Part = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def tokenize_all(paths: Sequence[str], field: str, tokenizer: Any, max_length: int, name: str) -> Iterator[Part]:
    """Yield (ids, word starts, window lengths, characters) for each chunk of documents, in their order."""
    chunks = list(chunked(paths, field))
    workers = min(len(chunks), os.cpu_count() or 1)
    with ProcessPoolExecutor(max(1, workers)) as pool:
        parts = pool.map(tokenize_chunk, chunks, [tokenizer] * len(chunks), [max_length] * len(chunks))
        yield from tqdm(parts, total=len(chunks), desc=f"tokenise {name}", unit="chunk")


def chunked(paths: Sequence[str], field: str) -> Iterator[list[str]]:
    """Yield lists of up to `CHUNK` texts."""
    chunk: list[str] = []
    for row in files.read_documents(paths, field):
        chunk.append(row.values[field])
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def tokenize_chunk(texts: list[str], tokenizer: Any, max_length: int) -> Part:
    """Return the windows of some documents as one `Part`."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    ids, starts, lengths = [], [], []
    for text, tokens, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        begins = word_starts(text, offsets)
        for place in range(0, len(tokens), max_length - 2):
            window = tokens[place : place + max_length - 2]
            ids += [tokenizer.cls_token_id, *window, tokenizer.sep_token_id]
            starts += [True, True, *begins[place + 1 : place + len(window)], True]
            lengths.append(len(window) + 2)
    return np.array(ids, dtype), np.array(starts, bool), np.array(lengths, np.int32), sum(map(len, texts))


def pack(lengths: np.ndarray, row_length: int, seed: int, chunk: int = 10_000) -> list[list[int]]:
    """Return rows of window numbers whose lengths add up to `row_length` or just below.

    Best-fit decreasing within random chunks: packed as fully as over the whole corpus (99 % and more for chunks of
    this size), while rows still mix documents from anywhere.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    rows: list[list[int]] = []
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        rows += best_fit(part[np.argsort(-lengths[part], kind="stable")], lengths, row_length)
    return rows


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
    """Rows of `row_length` tokens; an item is asked for by (epoch, row), since masks differ by epoch."""

    def __init__(self, windows: Windows, row_length: int, pad_id: int, seed: int) -> None:
        self.windows, self.row_length, self.pad_id = windows, row_length, pad_id
        self.rows = pack(np.asarray(windows.lengths), row_length, seed)
        self.ends = np.cumsum(windows.lengths, dtype=np.int64)
        self.longest = int(windows.lengths.max())

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fill(self) -> float:
        """Share of the slots of all rows that hold a token of a document."""
        return float(self.windows.lengths.sum()) / (len(self.rows) * self.row_length)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        """Return ids and word starts (row_length,), the lengths of the row's segments, epoch and row.

        Padding at the row's end is segments of its own, no longer than the longest window: positions have to exist.
        """
        epoch, row = place
        ids = np.full(self.row_length, self.pad_id, dtype=np.int64)
        starts = np.ones(self.row_length, dtype=bool)
        lengths, filled = [], 0
        for window in self.rows[row]:
            end, length = int(self.ends[window]), int(self.windows.lengths[window])
            ids[filled : filled + length] = self.windows.ids[end - length : end]
            starts[filled : filled + length] = self.windows.starts[end - length : end]
            lengths.append(length)
            filled += length
        while filled < self.row_length:
            lengths.append(min(self.longest, self.row_length - filled))
            filled += lengths[-1]
        return {"ids": ids, "starts": starts, "lengths": lengths, "epoch": epoch, "row": row}


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, row) in an order that is a pure function of (seed, epoch)."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the Trainer does so, also when it resumes in the middle of one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch))
        return ((self.epoch, row) for row in order.tolist())
