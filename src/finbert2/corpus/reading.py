"""Reading a task's blocks: each record with its place, mistakes named by file and line or counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from finbert2 import arrow, lines, malformed, tables
from finbert2.corpus.blocks import LONGEST_LINE, Block
from finbert2.errors import UserError
from finbert2.malformed import Skip


@dataclass(frozen=True)
class Record:
    """One document as it came: its number among all records of its source, its place, its fields."""

    number: int
    place: str
    values: dict[str, Any]


def stop(reason: str, message: str) -> None:
    """Refuse a bad record: what `--errors stop` does."""
    hint = ", or pass over such lines: --errors skip" if reason == "not_utf8" else ""
    raise UserError(message + hint)


def read_block(block: Block, skip: Skip, wanted: np.ndarray | None = None) -> Iterator[Record]:
    """Yield the records of a block, those numbered in `wanted` (sorted, over all sources) if it is given.

    Calls `skip(reason, message)` for each one that cannot be read. Blank lines are passed over.
    """
    path = Path(block.path)
    if block.kind == "rows":
        records = read_table(path, block)
    elif lines.suffix(path) in tables.SUFFIXES:
        records = read_csv(path, block, skip)
    else:
        records = read_lines(path, block, skip, wanted)
    for record in records:
        if wanted is None or is_in(wanted, block.base + record.number):
            yield record


def is_in(numbers: np.ndarray, number: int) -> bool:
    """Tell whether a sorted array holds a number."""
    place = int(np.searchsorted(numbers, number))
    return place < len(numbers) and int(numbers[place]) == number


def read_lines(path: Path, block: Block, skip: Skip, wanted: np.ndarray | None) -> Iterator[Record]:
    """Yield the records of a file of one record a line, plain or packed."""
    parse = parse_text if lines.suffix(path) == ".txt" else parse_object
    for number, line in numbered_lines(path, block):
        if wanted is not None and not is_in(wanted, block.base + number):
            continue  # not worth parsing
        place = f"{path} line {number + 1}"
        if len(line) > LONGEST_LINE:
            skip("line_too_long", f"{place} is longer than {LONGEST_LINE:,} bytes: a line holds one document")
            continue
        try:
            values = parse(line)
        except UnicodeDecodeError as error:
            skip("not_utf8", malformed.not_utf8(place, path, error))
        except orjson.JSONDecodeError as error:
            skip("not_json", malformed.not_json(place, error))
        else:
            if not isinstance(values, dict):
                skip("not_json", malformed.no_object(place, values))
            elif values:
                yield Record(number, place, values)


def numbered_lines(path: Path, block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 0 in the file, bytes) of the lines of a block; one too long comes cut, and is passed over."""
    with lines.unpacked(path) as file:
        number, left = block.line - 1, None
        if block.kind == "bytes":
            file.seek(block.start)
            left = block.stop - block.start
        while (left is None or left > 0) and (line := file.readline(LONGEST_LINE + 1)):
            left = None if left is None else left - len(line)
            part = line
            while not part.endswith(b"\n") and (part := file.readline(LONGEST_LINE)):
                left = None if left is None else left - len(part)
            if block.kind == "bytes" or number % block.stop == block.start:
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            number += 1


def parse_text(line: bytes) -> dict[str, Any]:
    """Return a line of plain text as a record; nothing for a blank one."""
    text = line.decode("utf-8").strip()
    return {"text": text} if text else {}


def parse_object(line: bytes) -> Any:
    """Return a JSON value, nothing for a blank line; raises `UnicodeDecodeError` or `orjson.JSONDecodeError`."""
    line = line.strip()
    try:
        return orjson.loads(line) if line else {}
    except orjson.JSONDecodeError:
        line.decode("utf-8")  # orjson says of bytes that are not UTF-8 only that the JSON is bad
        raise


def read_csv(path: Path, block: Block, skip: Skip) -> Iterator[Record]:
    """Yield this block's share of the rows of a CSV or TSV file."""
    mine = skip if block.start == 0 else malformed.ignore  # every task reads all rows, one may count
    for number, (line, values) in enumerate(tables.read(path, mine)):
        if values is not None and number % block.stop == block.start:
            yield Record(number, f"{path} line {line}", values)


def read_table(path: Path, block: Block) -> Iterator[Record]:
    """Yield the rows from `block.start` to `block.stop` of a Parquet file or a saved dataset."""
    for number, values in enumerate(arrow.rows(path, block.start, block.stop), start=block.start):
        yield Record(number, f"{path} row {number + 1}", values)


def text_of(record: Record, field: str, skip: Skip) -> str:
    """Return a record's text, "" if it has none to give; a missing field or another type goes to `skip`."""
    value = record.values.get(field)
    if isinstance(value, str):
        return value
    if field not in record.values or value is None:
        names = ", ".join(repr(name) for name, filled in record.values.items() if filled is not None)
        skip(
            "no_text",
            f"{record.place} has no '{field}': it has {names or 'nothing'}; name the field of the text: --text_field",
        )
    else:
        skip("no_text", f"{record.place} has {value!r:.40} for '{field}': a text was expected")
    return ""
