"""Titles from a file: the texts, what is known about each, and which of them are the same."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import files
from finbert2.errors import UserError
from finbert2.topics.words import HAN

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

COLUMNS = ("title", "metadata")
FEWEST = 20  # below this no two topics of a readable size can be told apart

# A month of one digit stands alone: else the 12 of "2024-12" would be read as the second of January.
DATE = re.compile(r"\s*(\d{4})\s*[-/.年]?\s*(\d{2}|(?<!\d)\d(?!\d))(?:\s*[-/.月]?\s*(\d{1,2})(?!\d)|\s*(?:月份?)?\s*$)")


@dataclass(frozen=True)
class Titles:
    """The rows of a file that hold a title; identical titles share one entry of `unique`."""

    rows: list[files.Row]
    texts: list[str]  # of each row
    unique: list[str]
    place: "np.ndarray"  # (rows,) which unique title a row has
    in_file: list[int]  # the number of each row among all rows of the file, from 0
    rows_in_file: int

    @property
    def weights(self) -> "np.ndarray":
        """How often each unique title occurs: (unique,)."""
        import numpy as np

        return np.bincount(self.place, minlength=len(self.unique)).astype(np.float64)

    @property
    def dropped(self) -> int:
        """Rows without a title."""
        return self.rows_in_file - len(self.rows)

    def first_in_file(self) -> "np.ndarray":
        """Return for each unique title the number of the first row of the file that has it: (unique,)."""
        import numpy as np

        return np.asarray(self.in_file)[np.unique(self.place, return_index=True)[1]]

    def columns(self) -> list[str]:
        """Return the names of all columns: a row of JSON lines may have some that the first one lacks."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def column(self, *names: str) -> list[str] | None:
        """Return each row's first filled value of the columns, blanks trimmed; None if the file has none of them."""
        if not any(name in row.values for row in self.rows for name in names):
            return None
        filled = (next((v for v in map(row.values.get, names) if v not in (None, "")), "") for row in self.rows)
        return [str(value).strip() for value in filled]

    def months(self) -> list[str] | None:
        """Return each row's month as "2024-03", "" where its date cannot be read; None without a date column."""
        dates = self.column("date", "date_str")
        if dates is None:
            return None
        months = [month(date) for date in dates]
        bad = [n for n, (date, found) in enumerate(zip(dates, months, strict=True)) if date and not found]
        if bad:
            place, value = self.rows[bad[0]].place, dates[bad[0]]
            log.warning("%d dates are no dates and stay out of the trends; the first: %s, %r", len(bad), place, value)
        return months


def month(date: str) -> str:
    """Return the month of a date as "2024-03"; "" if it is none.

    Read are 2024-03-01, 2024/3/1, 2024.3.1, 20240301 and 2024年3月1日, and each of them without the day.
    """
    import datetime

    found = DATE.match(date)
    try:
        return datetime.date(*map(int, found.groups("1"))).strftime("%Y-%m") if found else ""
    except ValueError:
        return ""


def title_of(row: files.Row, columns: Sequence[str]) -> str:
    """Return the row's title, blanks trimmed; "" where it is empty, a `UserError` where there is no such column."""
    if not any(column in row.values for column in columns):
        row.require(*columns)
    value: Any = next(row.values[column] for column in columns if column in row.values)
    return str(value or "").strip()


def read_titles(path: str | Path, column: str | None = None, fewest: int = 1) -> Titles:
    """Read a file of titles; rows with an empty one are dropped and counted.

    Raises `UserError` if the column is missing or fewer than `fewest` distinct titles are left.
    """
    import numpy as np

    columns = (column,) if column else COLUMNS
    rows = list(files.read_rows(path))
    found = [title_of(row, columns) for row in rows]
    kept = [number for number, title in enumerate(found) if title]
    texts = [found[number] for number in kept]
    places = {title: number for number, title in enumerate(dict.fromkeys(texts))}
    if len(places) < fewest:
        raise UserError(
            f"{path} has {len(places)} distinct titles in {len(rows)} rows ({len(rows) - len(kept)} of them empty): "
            f"at least {fewest} are needed; give more titles"
        )
    if len(kept) < len(rows):
        log.warning("%s: %d rows without a title were dropped", path, len(rows) - len(kept))
    foreign = [number for number, title in enumerate(texts) if not HAN.search(title)]
    if foreign and 2 * len(foreign) <= len(texts):
        log.warning(
            "%s: %d of %d titles have no Chinese character (the first: %r); they stay, and may form topics by language",
            path, len(foreign), len(texts), texts[foreign[0]],
        )  # fmt: skip
    place = np.array([places[title] for title in texts], dtype=np.int64)
    return Titles([rows[number] for number in kept], texts, list(places), place, kept, len(rows))
