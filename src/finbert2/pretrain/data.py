"""Documents → token ids with word starts → windows, tokenised once and memory-mapped."""

import fcntl
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from finbert2 import files, runtime, vocabulary
from finbert2.errors import UserError
from finbert2.segment import segmenter, word_boundaries

CHUNK, CHUNK_CHARACTERS = 512, 2**20  # documents and characters that a worker tokenises at a time
MOST_SOURCES = 1000  # that are told apart: a field of addresses is none of sources
FORMAT = 3  # of the cached files; counted up when their meaning changes (3: words of texts beyond 100,000 characters)
NO_SOURCE = -1


@dataclass(frozen=True)
class Windows:
    """A tokenised corpus: all windows one after the other, each [CLS] … [SEP] and no longer than a sequence.

    `ids` (tokens,), `starts` (tokens,) True where a word begins and at specials, `ends` (windows,) the place after
    each window, `sources` (windows,) the number of its name in `source_names` or -1, `characters` of all texts,
    `longest` window. The arrays are memory-mapped files in `folder`.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    sources: np.ndarray
    source_names: list[str]
    characters: int
    longest: int
    folder: Path

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each window (windows,), specials counted."""
        return np.diff(self.ends, prepend=0).astype(np.int32)

    @property
    def tokens(self) -> int:
        """Tokens without the two specials of each window."""
        return int(self.ends[-1]) - 2 * len(self.ends)


def load_windows(
    paths: Sequence[str], field: str, tokenizer: Any, max_length: int, cache: Path, name: str, source: str = "source"
) -> Windows:
    """Return the tokenised corpus, from the cache if the same files met the same tokenizer before.

    `field` holds the text of a row, `source` where it is from, if the row says so. Raises `UserError` if there is no
    text in it.
    """
    known = fingerprint(paths, cache)
    contents = sorted(known[str(path)]["sha256"] for path in files.of_corpus(paths))  # one named twice counts twice
    folder = cache / f"{name}-{cache_key(contents, field, source, tokenizer, max_length)}"
    if not (folder / "meta.json").exists():
        with alone(folder):
            if not (folder / "meta.json").exists():
                write_windows(paths, field, source, tokenizer, max_length, folder, name)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    ids, starts, ends, sources = (
        np.memmap(folder / f"{part}.bin", dtype=meta["dtypes"][part], mode="r")
        for part in ("ids", "starts", "ends", "sources")
    )
    return Windows(ids, starts, ends, sources, meta["source_names"], meta["characters"], meta["longest"], folder)


def fingerprint(paths: Sequence[str], cache: Path) -> dict[str, dict[str, Any]]:
    """Return `files.fingerprint` of a corpus, remembered in the cache."""
    return files.fingerprint(files.of_corpus(paths), cache / "contents.json")


def cache_key(contents: Sequence[str], field: str, source: str, tokenizer: Any, max_length: int) -> str:
    """Return a short hash of the content that is tokenised, by its hashes, and of what tokenises it."""
    rules = tokenizer.backend_tokenizer.to_str()
    return hashlib.sha256(json.dumps([FORMAT, contents, field, source, max_length, rules]).encode()).hexdigest()[:16]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make `folder`: runs may share a cache. Not a `flock`, which forked workers inherit."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def write_windows(
    paths: Sequence[str], field: str, source: str, tokenizer: Any, max_length: int, folder: Path, name: str
) -> None:
    """Tokenise the corpus on all cores and stream its arrays into `folder`, which gets its name when it is whole.

    Memory is bounded by a few chunks a core, whatever the size of the corpus.
    """
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    names: dict[str, int] = {}
    end = characters = longest = 0
    with open_all(unfinished, ("ids", "starts", "ends", "sources")) as outputs:
        for part in tokenize_all(chunked(paths, field, source), tokenizer, max_length, name):
            for source_name in dict.fromkeys(filter(None, part.sources)):
                if len(names) < MOST_SOURCES:
                    names.setdefault(source_name, len(names))
            numbers = [names.get(source_name or "", NO_SOURCE) for source_name in part.sources]
            arrays: tuple[np.ndarray, ...] = (
                part.ids,
                part.starts,
                end + np.cumsum(part.lengths, dtype=np.int64),
                np.array(numbers, dtype=np.int32),
            )
            for output, array in zip(outputs, arrays, strict=True):
                array.tofile(output)
            end += len(part.ids)
            characters += part.characters
            longest = max(longest, int(part.lengths.max(initial=0)))
    if not end:
        shutil.rmtree(unfinished)
        raise UserError(f"{', '.join(paths)}: no document with text in '{field}' was found to train on")
    dtypes = {"ids": id_type(tokenizer).__name__, "starts": "bool", "ends": "int64", "sources": "int32"}
    meta = {"dtypes": dtypes, "source_names": list(names), "characters": characters, "longest": longest}
    files.write_json(unfinished / "meta.json", meta)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


@contextmanager
def open_all(folder: Path, names: Sequence[str]) -> Iterator[list[Any]]:
    """Open `<name>.bin` of each name for writing."""
    with ExitStack() as stack:
        yield [stack.enter_context((folder / f"{name}.bin").open("wb")) for name in names]


@dataclass(frozen=True)
class Part:
    """The windows of a chunk of documents: `Windows`' arrays with lengths instead of ends, sources by name."""

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    sources: list[str | None]
    characters: int


Document = tuple[str, str | None]  # text, where it is from


def chunked(paths: Sequence[str], field: str, source: str) -> Iterator[list[Document]]:
    """Yield lists of up to `CHUNK` documents and, but for a single longer one, `CHUNK_CHARACTERS` characters."""
    chunk: list[Document] = []
    size = 0
    for row in files.read_documents(paths, field):
        text, origin = row.values[field], row.values.get(source)
        if chunk and (len(chunk) == CHUNK or size + len(text) > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append((text, None if origin is None else str(origin)))
        size += len(text)
    if chunk:
        yield chunk


def tokenize_all(chunks: Iterator[list[Document]], tokenizer: Any, max_length: int, name: str) -> Iterator[Part]:
    """Yield the `Part` of each chunk in the chunks' order, made on all cores; no more than a few chunks are held.

    A single chunk is not worth the processes. Raises `UserError` if one of them was killed; a SIGTERM ends them all.
    """
    first = list(itertools.islice(chunks, 2))
    if len(first) < 2:
        set_tokenizer(tokenizer, max_length)
        yield from map(tokenize_chunk, first)
        return
    workers = runtime.cores()
    waiting: deque[tuple[int, Future[Part]]] = deque()
    with (
        ProcessPoolExecutor(workers, initializer=set_tokenizer, initargs=(tokenizer, max_length)) as pool,
        tqdm(desc=f"tokenise {name}", unit="document") as bar,
        runtime.term_as_exit(),
    ):
        try:
            for chunk in itertools.chain(first, chunks):
                waiting.append((len(chunk), pool.submit(tokenize_chunk, chunk)))
                if len(waiting) > 4 * workers:
                    yield finished(waiting, bar)
            while waiting:
                yield finished(waiting, bar)
        except BrokenProcessPool:
            raise UserError(
                f"a process that tokenises the {name} text was killed, most often for want of memory: run the same "
                "command with more of it free, or on fewer cores (taskset), a process each"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def finished(waiting: "deque[tuple[int, Future[Part]]]", bar: Any) -> Part:
    """Return the oldest chunk's part, waiting for it."""
    documents, future = waiting.popleft()
    part = future.result()
    bar.update(documents)
    return part


WORKER: dict[str, Any] = {}  # of a tokenising process: what all of its chunks share


def set_tokenizer(tokenizer: Any, max_length: int) -> None:
    """Prepare a tokenising process: the tokenizer is sent once, not with every chunk."""
    if multiprocessing.parent_process():
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    WORKER.update(tokenizer=tokenizer, max_length=max_length, id_type=id_type(tokenizer), jieba=segmenter())


def tokenize_chunk(documents: list[Document]) -> Part:
    """Return the windows of some documents as one `Part`."""
    tokenizer, step = WORKER["tokenizer"], WORKER["max_length"] - 2
    texts = [text for text, _ in documents]
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids: list[int] = []
    starts: list[bool] = []
    lengths, sources = [], []
    for (text, source), tokens, offsets in zip(documents, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        begins = word_starts(WORKER["jieba"], text, offsets).tolist()
        for place in range(0, len(tokens), step):
            window = tokens[place : place + step]
            ids += [tokenizer.cls_token_id, *window, tokenizer.sep_token_id]
            # A window that begins inside a word begins one of its own.
            starts += [True, True, *begins[place + 1 : place + len(window)], True]
            lengths.append(len(window) + 2)
            sources.append(source)
    return Part(
        np.array(ids, dtype=WORKER["id_type"]), np.array(starts, dtype=bool), np.array(lengths, dtype=np.int32),
        sources, sum(map(len, texts)),
    )  # fmt: skip


def word_starts(jieba: Any, text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return for each token (tokens,) whether a word begins with it, given the tokens' character offsets.

    A token that crosses a boundary merges the words it touches: the next token then starts inside a word and is none.
    """
    starts = np.fromiter((start for start, _ in offsets), dtype=np.int64, count=len(offsets))
    return word_boundaries(jieba, text)[starts]


def id_type(tokenizer: Any) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every id."""
    return np.uint16 if vocabulary.size(tokenizer) <= 2**16 else np.uint32
