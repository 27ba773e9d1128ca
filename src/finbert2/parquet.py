"""Rows of Parquet files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finbert2.errors import UserError, first_line

BATCH = 1000  # rows in memory at a time


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; raises `UserError` for one that is none, also when that turns out while it is read."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path.absolute()} does not exist") from None
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is not Parquet ({first_line(error)}): make or fetch it anew") from None


def count(path: Path) -> int:
    """Return the number of rows."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def rows(path: Path, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows from `start` to below `stop`; only the row groups that hold them are read."""
    with opened(path) as file:
        stop = file.metadata.num_rows if stop is None else stop
        first = 0
        for group in range(file.num_row_groups):
            held = file.metadata.row_group(group).num_rows
            if first < stop and first + held > start:
                place = first
                for batch in file.iter_batches(BATCH, row_groups=[group]):
                    low, high = max(start - place, 0), min(stop - place, batch.num_rows)
                    if low < high:
                        yield from batch.slice(low, high - low).to_pylist()
                    place += batch.num_rows
            first += held
