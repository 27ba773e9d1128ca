"""CSV and TSV files."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from finbert2 import lines, malformed
from finbert2.errors import UserError
from finbert2.malformed import Skip

SUFFIXES = (".csv", ".tsv")


def read(path: Path, skip: Skip = malformed.stop) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Yield (number of its last line, values) of each row of a CSV or TSV file with a header, None for a bad row.

    A bad row goes to `skip`. A quote left open, which may hide any number of rows, is never passed over, nor is a
    header that is not UTF-8: both raise `UserError`.
    """
    csv.field_size_limit(2**27)
    number = last = 0
    bad: list[str] = []  # what was found in the lines of the row that is being read

    def told() -> Iterator[str]:
        nonlocal number
        for number, line, flaw in lines.numbered(path):
            if flaw:
                bad.append(malformed.not_utf8(f"{path} line {number}", path, flaw))
            yield line + "\n"

    reader = csv.DictReader(told(), delimiter="\t" if lines.suffix(path) == ".tsv" else ",", strict=True)
    try:
        header = reader.fieldnames or []
        if bad:
            raise UserError(bad[0])
        last = number
        for values in reader:
            last, wrong = number, bad[:1]
            bad.clear()
            if wrong:
                skip("not_utf8", wrong[0])
            elif None in values:  # beyond the header; "" is a column without name, as pandas writes its index
                wrong = [malformed.more_fields(f"{path} line {last}", header)]
                skip("not_csv", wrong[0])
            yield last, None if wrong else values
    except csv.Error as error:  # an open quote is noticed only at the file's end: it is in the row after the last one
        raise UserError(malformed.not_csv(f"{path} line {last + 1}", error)) from None


def write(file: IO[str], rows: Iterable[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write records as CSV; the first one's keys are the header, `columns` if there is none."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(UnixLines(file), fieldnames=list(row), lineterminator="\r\n")
            writer.writeheader()
        writer.writerow({name: cell(value) for name, value in row.items()})
    if writer is None and columns:
        csv.writer(UnixLines(file), lineterminator="\r\n").writerow(columns)


class UnixLines:
    r"""Ends lines with \n for csv, which quotes a text with \r in it only if its own lines end so (Python < 3.13)."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, line: str) -> int:
        """Write a whole line."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def cell(value: Any) -> Any:
    """Return a value as a CSV cell holds it: lists and dictionaries as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
