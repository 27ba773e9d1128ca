"""Reading a task's blocks: each record with its place, mistakes named by file and line or counted."""

import csv
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from finbert2 import files, utf8
from finbert2.corpus.blocks import LONGEST_LINE, Block, open_bytes
from finbert2.errors import UserError

BATCH = 1000
Skip = Callable[[str, str], None]  # (reason, place and what is wrong): raises, or counts


@dataclass(frozen=True)
class Record:
    """One document as it came: its number among all records of its source, its place, its fields."""

    number: int
    place: str
    values: dict[str, Any]


def stop(reason: str, message: str) -> None:
    """Refuse a bad record: what `--errors stop` does."""
    raise UserError(message)


def read_block(block: Block, skip: Skip, wanted: np.ndarray | None = None) -> Iterator[Record]:
    """Yield the records of a block, those numbered in `wanted` (sorted, over all sources) if it is given.

    Calls `skip(reason, message)` for each one that cannot be read. Blank lines are passed over.
    """
    path = Path(block.path)
    if block.kind == "rows":
        records = read_table(path, block)
    elif files.suffix(path) in (".csv", ".tsv"):
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
    parse = parse_text if files.suffix(path) == ".txt" else parse_object
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
            skip("not_utf8", not_utf8(place, path, error))
        except orjson.JSONDecodeError as error:
            skip(
                "not_json",
                f"{place} is not JSON ({error.msg} at column {error.colno}): "
                "each line has to be one whole object; mend or remove the line",
            )
        else:
            if not isinstance(values, dict):
                skip("not_json", f"{place} holds a {type(values).__name__}: each line has to be one object")
            elif values:
                yield Record(number, place, values)


def numbered_lines(path: Path, block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 0 in the file, bytes) of the lines of a block; one too long comes cut, and is passed over."""
    with open_bytes(path) as file:
        number, left = block.line - 1, None
        if block.kind == "bytes":
            file.seek(block.start)
            left = block.stop - block.start
        try:
            while (left is None or left > 0) and (line := file.readline(LONGEST_LINE + 1)):
                left = None if left is None else left - len(line)
                part = line
                while not part.endswith(b"\n") and (part := file.readline(LONGEST_LINE)):
                    left = None if left is None else left - len(part)
                if block.kind == "bytes" or number % block.stop == block.start:
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
                number += 1
        except files.DAMAGED as error:
            raise UserError(f"{path} cannot be unpacked after line {number} ({error}): make or fetch it anew") from None


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


def not_utf8(place: str, path: Path, error: UnicodeDecodeError) -> str:
    """Return the message for a line that does not decode."""
    byte = f"0x{error.object[error.start]:02x}"
    return (
        f"{place} is not UTF-8 ({error.reason}, byte {byte}): convert the file, for example: "
        f"{utf8.conversion(path)}, or pass over such lines: --errors skip"
    )


def read_csv(path: Path, block: Block, skip: Skip) -> Iterator[Record]:
    """Yield this block's turns of the rows of a CSV or TSV file; a quote left open is never passed over."""
    csv.field_size_limit(LONGEST_LINE)
    bad: list[str] = []  # what was found in the lines of the row that is being read
    mine = functools.partial(heard, skip if block.start == 0 else ignore)  # every task reads all rows, one may count
    reader = csv.DictReader(
        decoded_lines(path, bad), delimiter="\t" if files.suffix(path) == ".tsv" else ",", strict=True
    )
    try:
        for number, values in enumerate(reader):
            place = f"{path} line {reader.line_num}"
            if bad:
                mine("not_utf8", bad)
            elif None in values:
                names = ", ".join(reader.fieldnames or [])
                mine(
                    "not_csv", [f"{place} has more fields than the header ({names}): put such a text in double quotes"]
                )
            elif number % block.stop == block.start:
                yield Record(number, place, values)
    except csv.Error as error:
        raise UserError(
            f"{path} line {reader.line_num + 1} is not CSV ({error}): mend the quotes of the line"
        ) from None


def heard(skip: Skip, reason: str, messages: list[str]) -> None:
    """Hand the first message to `skip` and forget them all."""
    skip(reason, messages[0])
    messages.clear()


def ignore(reason: str, message: str) -> None:
    """Pass over a bad record that another task counts."""


def decoded_lines(path: Path, bad: list[str]) -> Iterator[str]:
    """Yield the lines of a file; one that is not UTF-8 comes with marks in it and a message in `bad`."""
    for number, line in numbered_lines(path, Block(str(path), "turns", 0, 1)):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad.append(not_utf8(f"{path} line {number + 1}", path, error))
            yield line.decode("utf-8", errors="replace")


def read_table(path: Path, block: Block) -> Iterator[Record]:
    """Yield the rows from `block.start` to `block.stop` of a Parquet file or a saved dataset."""
    rows = saved_rows(path, block) if files.is_saved(path) else parquet_rows(path, block)
    for number, values in enumerate(rows, start=block.start):
        # The shards are JSON: a date becomes its ISO form, a number that JSON has none for its string.
        yield Record(number, f"{path} row {number + 1}", orjson.loads(orjson.dumps(values, default=str)))


def saved_rows(path: Path, block: Block) -> Iterator[dict[str, Any]]:
    """Yield rows of a saved dataset; the file is mapped, not loaded."""
    import datasets

    dataset = datasets.load_from_disk(str(path))
    for start in range(block.start, block.stop, BATCH):
        yield from dataset.select(range(start, min(start + BATCH, block.stop)))


def parquet_rows(path: Path, block: Block) -> Iterator[dict[str, Any]]:
    """Yield rows of a Parquet file; only the row groups that hold them are read."""
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if first < block.stop and first + rows > block.start:
            place = first
            for batch in file.iter_batches(BATCH, row_groups=[group]):
                low, high = max(block.start - place, 0), min(block.stop - place, batch.num_rows)
                if low < high:
                    yield from batch.slice(low, high - low).to_pylist()
                place += batch.num_rows
        first += rows


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
