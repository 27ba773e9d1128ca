"""Dividing the input among tasks: byte ranges of plain files, rows of Parquet, every n-th record of what cannot be cut.

One pass that only counts line ends is enough to tell each task where it starts and with which line number.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from finbert2 import arrow, files, lines, malformed, tables
from finbert2.errors import UserError

SCAN = 2**20
LONGEST_LINE = 2**27
LARGEST_TASK = 2**26  # bytes of text: what a task keeps of its documents stays below half a gigabyte
UNPACKED = 3  # bytes of Chinese text in a byte of a packed file


@dataclass(frozen=True)
class Block:
    """A part of a source that one task reads.

    `kind` is "bytes" (from `start` to `stop` of a plain file), "rows" (from `start` to `stop` of a table) or "strided"
    (every `stop`-th record, beginning with the one numbered `start`: a packed file or a CSV cannot be entered in the
    middle). `line` is the number of the first line or row; `base` is how many records lie before this source.
    """

    path: str
    kind: str
    start: int
    stop: int
    line: int = 1
    base: int = 0


def sources(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files and saved `datasets` folders that `paths` name, folders in sorted order.

    Raises `UserError` for a path that does not exist and a folder with nothing readable in it.
    """
    found = files.corpus_sources(paths)
    for path in found:
        if path.is_file() and lines.suffix(path) not in files.SUFFIXES:
            raise UserError(
                f"{path} has the suffix '{lines.suffix(path)}': {', '.join(files.SUFFIXES)} are read, "
                "text also as .gz or .zst, and folders saved by datasets"
            )
    return found


def is_plain(path: Path) -> bool:
    """Tell whether a source is a file that can be read from the middle: one record a line, not packed."""
    return path.suffix in (".jsonl", ".json", ".txt")


def is_table(path: Path) -> bool:
    """Tell whether a source is Parquet or a saved dataset, whose rows are numbered without reading them."""
    return path.suffix == arrow.PARQUET or path.is_dir()


def text_bytes(path: Path) -> int:
    """Return about how many bytes of text a source holds."""
    if path.is_dir():
        return sum(part.stat().st_size for part in arrow.data_files(path))
    packed = path.suffix in (*lines.PACKED_SUFFIXES, arrow.PARQUET)
    return path.stat().st_size * (UNPACKED if packed else 1)


def divide(paths: Sequence[Path], at_least: int, count: bool) -> tuple[list[list[Block]], int]:
    """Return the blocks of each task, at least about `at_least` tasks, and the records, 0 unless `count`ed.

    Counting reads packed files and CSVs once more, so it is done only for a sample.
    """
    total = sum(map(text_bytes, paths))
    size = max(1, min(LARGEST_TASK, math.ceil(total / at_least)))
    tasks: list[list[Block]] = [[]]
    filled = records = 0
    for path in paths:
        for block, weight in cut(path, size, records):
            if tasks[-1] and filled + weight > size:
                tasks.append([])
                filled = 0
            tasks[-1].append(block)
            filled += weight
        records += count_records(path) if count else 0
    return tasks, records


def cut(path: Path, size: int, base: int) -> Iterator[tuple[Block, int]]:
    """Yield the blocks of a source, each of about `size` bytes of text, with its bytes of text."""
    if is_plain(path):
        for start, stop, line in cut_lines(path, size):
            yield Block(str(path), "bytes", start, stop, line, base), stop - start
        return
    parts = max(1, math.ceil(text_bytes(path) / size))
    if is_table(path):
        rows = arrow.count(path)
        borders = [rows * part // parts for part in range(parts + 1)]
        for start, stop in zip(borders, borders[1:], strict=False):
            yield Block(str(path), "rows", start, stop, start + 1, base), size
        return
    for part in range(parts):
        yield Block(str(path), "strided", part, parts, 1, base), size


def cut_lines(path: Path, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first byte, byte after the last, number of the first line) of pieces of whole lines."""
    start, line, ends = 0, 1, 0
    with path.open("rb") as file:
        while True:
            ends += count_ends(file, size)
            while (rest := file.readline(SCAN)) and not rest.endswith(b"\n"):
                pass  # to the end of the line that was cut, if one was; it may be too long to be held
            stop = file.tell()
            if stop == start:
                return
            yield start, stop, line
            start, line, ends = stop, line + ends + 1, 0


def count_ends(file: IO[bytes], size: int) -> int:
    """Read `size` bytes and return how many line ends they hold."""
    ends = 0
    while size > 0 and (data := file.read(min(size, SCAN))):
        ends += data.count(b"\n")
        size -= len(data)
    return ends


def count_records(path: Path) -> int:
    """Return the records of a source: rows of a table or CSV, lines of anything else, bad ones and empty ones too."""
    if is_table(path):
        return arrow.count(path)
    if lines.suffix(path) in tables.SUFFIXES:
        return sum(1 for _ in tables.read(path, malformed.ignore))
    with lines.unpacked(path) as file:
        return count_lines(file)


def count_lines(file: IO[bytes]) -> int:
    """Return the lines of a file, the last one also if it has no end."""
    ends, last = 0, b"\n"
    while data := file.read(SCAN):
        ends, last = ends + data.count(b"\n"), data[-1:]
    return ends + (last != b"\n")
