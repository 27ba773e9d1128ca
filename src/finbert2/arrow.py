"""Rows of what Arrow stores, and back: Parquet files; folders written by `datasets.Dataset.save_to_disk` are read."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from finbert2.errors import UserError, first_line

PARQUET = ".parquet"
SAVED_NOTES, SPLITS_NOTE = ("state.json", "dataset_info.json"), "dataset_dict.json"  # what `save_to_disk` writes
BATCH = 1000  # rows in memory at a time


def is_saved(path: Path) -> bool:
    """Tell whether a folder was written by `datasets.Dataset.save_to_disk`."""
    return all((path / name).exists() for name in SAVED_NOTES)


def data_files(folder: Path) -> list[Path]:
    """Return the files that hold the rows of a saved dataset: whoever maps it leaves caches beside them."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return [folder / one["filename"] for one in state["_data_files"]]


def count(path: Path) -> int:
    """Return how many rows a Parquet file or a saved dataset has; raise `UserError` for what is no Parquet."""
    if path.is_dir():
        return len(saved(path))
    with opened(path) as file:
        return int(file.metadata.num_rows)


def rows(path: Path, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows from `start` to below `stop` of a Parquet file or a saved dataset, by the types of JSON.

    A date has its ISO form, bytes are text as far as they are UTF-8, what else JSON has no type for has its text.
    Raises `UserError` for what is no Parquet.
    """
    for values in saved_rows(path, start, stop) if path.is_dir() else parquet_rows(path, start, stop):
        yield orjson.loads(orjson.dumps(values, default=by_json))


def by_json(value: Any) -> Any:
    """Return what JSON has no type for as text; of bytes that are none an object, which nobody takes for a text."""
    if not isinstance(value, bytes):
        return str(value)
    try:  # strings that are not marked so in Parquet
        return value.decode()
    except UnicodeDecodeError:
        return {"hexadecimal": value.hex()}


def saved(folder: Path) -> Any:
    """Return a saved dataset; its files are mapped, not loaded."""
    import datasets

    return datasets.load_from_disk(str(folder))


def saved_rows(folder: Path, start: int, stop: int | None) -> Iterator[dict[str, Any]]:
    """Yield rows of a saved dataset as they are."""
    dataset = saved(folder)
    stop = len(dataset) if stop is None else stop
    for first in range(start, stop, BATCH):
        yield from dataset.select(range(first, min(first + BATCH, stop)))


def parquet_rows(path: Path, start: int, stop: int | None) -> Iterator[dict[str, Any]]:
    """Yield rows of a Parquet file as they are; only the row groups that hold them are read."""
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


def write(file: IO[bytes], rows: Iterable[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write records as Parquet, with every column that one of them has; of no records `columns`, without a type.

    Raises `UserError` for values without a type of Parquet's: those of several kinds in one column, say.
    """
    import pyarrow
    import pyarrow.parquet

    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row) or dict.fromkeys(columns)
    table = pyarrow.table({name: column(name, [row.get(name) for row in rows]) for name in names})
    with typed("a column"):
        pyarrow.parquet.write_table(table, file)


def column(name: str, values: Sequence[Any]) -> Any:
    """Return values of JSON as an Arrow array; dictionaries that are all empty, which Parquet has not, as nulls."""
    import pyarrow

    with typed(name):
        array = pyarrow.array(values)
    return pyarrow.nulls(len(array)) if pyarrow.types.is_struct(array.type) and not array.type.num_fields else array


@contextlib.contextmanager
def typed(what: str) -> Iterator[None]:
    """Raise `UserError` for values of `what` for which Parquet has no type."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OverflowError) as error:
        raise UserError(f"{what} has values without a type of Parquet's ({first_line(error)}): write .jsonl") from None


def join(file: IO[bytes], paths: Sequence[Path]) -> None:
    """Write Parquet files one after another into one, whose columns have the types that hold them all.

    One file is in memory at a time. Raises `UserError` where a column of one is of another kind in another.
    """
    import pyarrow
    import pyarrow.parquet

    with typed("a column"):
        schema = pyarrow.unify_schemas(map(pyarrow.parquet.read_schema, paths), promote_options="permissive")
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for path in paths:
                table = pyarrow.parquet.read_table(path)
                for name in schema.names:
                    if name not in table.column_names:
                        table = table.append_column(name, pyarrow.nulls(len(table)))
                writer.write_table(table.select(schema.names).cast(schema))
