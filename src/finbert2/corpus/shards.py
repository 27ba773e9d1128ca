"""Files of documents: what passes between the stages, the shards that come out, and samples of what was dropped."""

import gzip
import heapq
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from finbert2 import files

SOURCE, SPLIT = "finbert2.source", "finbert2.split"  # what the steps add; a plain `_source` may be the user's
OURS = frozenset({"text", SOURCE, SPLIT})
GZIP_LEVEL = 2  # a tenth larger than the usual 9 and several times faster
SHOWN_CHARACTERS = 2000


def part_of(path: Path) -> Path:
    """Return the name that a file has while it is being written."""
    return path.with_name(f".{path.name}.part")


class CleanedWriter(PipelineStep):
    """Writes a task's documents for the next stages to read; the file appears when it is whole."""

    name, type = "cleaned", "writer"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write one JSON array a line: place, text, metadata."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{rank:05d}.jsonl.zst"
        with zstandard.open(part_of(path), "wb", cctx=zstandard.ZstdCompressor(level=1)) as file:
            for doc in data:
                file.write(orjson.dumps([doc.id, doc.text, doc.metadata]) + b"\n")
                yield doc
        os.replace(part_of(path), path)


class CleanedReader(PipelineStep):
    """Reads what `CleanedWriter` wrote for the same task."""

    name, type = "cleaned", "reader"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield the documents in the order they were written."""
        for _, line in files.read_lines(self.folder / f"{rank:05d}.jsonl.zst"):
            place, text, metadata = orjson.loads(line)
            yield Document(text=text, id=place, metadata=metadata)


class ShardWriter(PipelineStep):
    """Writes documents into `<split>/<task>-<number>.jsonl.gz`, each of bounded size, each appearing when whole."""

    name, type = "shards", "writer"

    def __init__(self, folder: Path, most_bytes: int) -> None:
        super().__init__()
        self.folder, self.most_bytes = folder, most_bytes

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write each document as its text and the fields it came with; `metadata[SPLIT]` says where."""
        shards: dict[str, Shard] = {}
        for doc in data:
            with self.track_time():
                line = orjson.dumps(fields(doc)) + b"\n"
                split = doc.metadata[SPLIT]
                shard = shards.setdefault(split, Shard(self.folder / split, rank))
                if shard.written and shard.written + len(line) > self.most_bytes:
                    shard.finish()
                    shard = shards[split] = Shard(self.folder / split, rank, shard.number + 1)
                shard.write(line)
            yield doc
        for shard in shards.values():
            shard.finish()


class Shard:
    """A shard that is being written."""

    def __init__(self, folder: Path, rank: int, number: int = 0) -> None:
        self.path, self.number, self.written = folder / f"{rank:05d}-{number:03d}.jsonl.gz", number, 0
        self.file: IO[bytes] | None = None

    def write(self, line: bytes) -> None:
        """Add a line."""
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # No time and no name in the header: the same run makes the same bytes.
            self.file = gzip.GzipFile("", "wb", GZIP_LEVEL, part_of(self.path).open("wb"), mtime=0)  # type: ignore[assignment]
        self.file.write(line)  # type: ignore[union-attr]
        self.written += len(line)

    def finish(self) -> None:
        """Give the file its final name."""
        if self.file is not None:
            raw = self.file.fileobj  # type: ignore[attr-defined]
            self.file.close()
            raw.close()
            os.replace(part_of(self.path), self.path)


def fields(doc: Document) -> dict[str, Any]:
    """Return a document as it is written: its text and the fields it came with."""
    return {"text": doc.text} | {name: value for name, value in doc.metadata.items() if name not in OURS}


class Samples:
    """Up to `limit` examples for each reason, those whose place has the smallest hash: the same however work is cut."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.heaps: dict[str, list[tuple[int, str, str]]] = {}

    def add(self, reason: str, place: str, text: str) -> None:
        """Take an example, or pass over it."""
        heap = self.heaps.setdefault(reason, [])
        rank = -zlib.crc32(place.encode("utf-8", "replace"))
        if len(heap) < self.limit:
            heapq.heappush(heap, (rank, place, text[:SHOWN_CHARACTERS]))
        elif rank > heap[0][0]:
            heapq.heapreplace(heap, (rank, place, text[:SHOWN_CHARACTERS]))

    def rows(self, reason: str) -> Iterator[dict[str, str]]:
        """Yield the examples of one reason, ordered by their hash."""
        for _, place, text in sorted(self.heaps.get(reason, []), reverse=True):
            yield {"place": place, "text": text}

    def save(self, path: Path) -> None:
        """Write all examples, to be merged with those of other tasks."""
        files.write_json(path, {reason: list(self.rows(reason)) for reason in self.heaps})
