"""Texts to be labelled, from files and standard input, a chunk in memory at a time."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from finbert2 import files, lines
from finbert2.errors import UserError
from finbert2.labeler.data import is_empty

CHUNK = 4096  # rows in memory at a time; enough of them for batches of equal length
CHUNK_CHARACTERS = 4_000_000
ANSWER = ("text", "label", "score", "probs", "abstained", "entities")  # its columns, beside the id


def read_texts(path: str, field: str, empty_texts: str = "error", table: bool = False) -> Iterator[dict[str, Any]]:
    """Yield `id`, `text` and the other columns of each row of a file, or of each line of standard input (-).

    The id is the row's own or its line; a column named as one of an answer's becomes `given_…`. Of a `table` each row
    has every column that one of them has. A row without text is an error, or has an empty text if `empty_texts` is not
    "error". Raises `UserError` naming file and line for what cannot be read.
    """
    if path == "-":
        yield from ({"id": number, "text": line} for number, line in read_standard_input() if line.strip())
        return
    blank = columns(Path(path)) if table else {}
    for row in files.read_rows(path):
        empty = empty_texts != "error" and is_empty(row, field)
        others = {name: value for name, value in (blank | row.values).items() if name not in ("id", field)}
        text = "" if empty else row.text(field)
        yield {"id": row.values.get("id", row.line), "text": text} | files.beside(others, ANSWER)


def columns(path: Path) -> dict[str, None]:
    """Return the names of a file's columns: of a table the first row's, of JSON lines those of any object."""
    names: dict[str, None] = {}
    for row in files.read_rows(path):
        names |= dict.fromkeys(row.values)
        if lines.suffix(path) not in files.JSON_SUFFIXES:
            break
    return names


def read_standard_input() -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end); raises `UserError` naming the first line that is not UTF-8.

    Bytes and not `sys.stdin`, whose encoding is the terminal's. Joined files may have a byte-order mark in the middle.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield number, line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise UserError(
                f"standard input, line {number}, is not UTF-8 ({error.reason}, byte 0x{byte:02x}): convert it, "
                "for example: iconv -f GB18030 -t UTF-8 file | …"
            ) from None


def chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in lists of at most `CHUNK` rows and, but for a single longer text, `CHUNK_CHARACTERS` characters."""
    chunk: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == CHUNK or size + len(row["text"]) > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row["text"])
    if chunk:
        yield chunk
