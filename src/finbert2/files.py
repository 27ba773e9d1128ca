"""Rows from files and back: JSON lines, CSV, TSV, plain text, packed or not, Parquet; an error names file and line."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from finbert2 import arrow, lines, malformed, tables, utf8
from finbert2.errors import UserError
from finbert2.malformed import Skip

if TYPE_CHECKING:
    import numpy as np

JSON_SUFFIXES = (".jsonl", ".json")
TEXT_SUFFIXES = (*JSON_SUFFIXES, *tables.SUFFIXES, ".txt")
SUFFIXES = (*TEXT_SUFFIXES, arrow.PARQUET)


@dataclass(frozen=True)
class Row:
    """One record of a file, with the place it came from."""

    path: Path
    line: int
    values: dict[str, Any]

    @property
    def place(self) -> str:
        """Where the record stands, as an error says it."""
        return f"{self.path} {'line' if lines.suffix(self.path) in TEXT_SUFFIXES else 'row'} {self.line}"

    def require(self, *columns: str) -> Any:
        """Return the value of the first of `columns` that the record has; raise `UserError` if it has none."""
        for column in columns:
            if self.values.get(column) is not None:
                return self.values[column]
        wanted = " or ".join(f"'{column}'" for column in columns)
        remedy = "rename the column or field, or name yours by a flag if there is one (-h)"
        if len(self.values) == 1 and re.search("[;\t]", next(iter(self.values))):
            remedy = "save it with commas between the columns, or with tabs as .tsv"
        raise UserError(f"{self.place} has no {wanted}: it has {self.filled() or 'nothing'}; {remedy}")

    def filled(self) -> str:
        """Return the names of the columns that have a value; a CSV row that ends early has none for the last ones."""
        return ", ".join(repr(str(name)) for name, value in self.values.items() if value is not None)

    def text(self, *columns: str) -> str:
        """Return a value that has to be a string with something in it; raise `UserError` if it is not."""
        value = self.require(*columns)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.place} has {value!r} for '{columns[0]}': a text was expected; fill or drop the row")
        return value

    def texts(self, column: str) -> list[str]:
        """Return a value that has to be a list of strings; raise `UserError` if it is not."""
        value = self.require(column)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{self.place} has {value!r:.80} for '{column}': a list of texts was expected")
        return value


def beside(values: Mapping[str, Any], taken: Collection[str]) -> dict[str, Any]:
    """Return a row's columns with names that are not `taken` by an answer's columns: these become `given_…`.

    One that has such a name already gets another `given_`: so no two columns get the same.
    """
    own = {name: re.sub("^(given_)+", "", str(name)) for name in values}
    return {f"given_{name}" if own[name] in taken else name: value for name, value in values.items()}


def read_lines(path: str | Path, skip: Skip = malformed.stop) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of a text file; one that is not UTF-8 goes to `skip`.

    Raises `UserError` naming a file that is missing or damaged.
    """
    path = Path(path)
    for number, line, flaw in lines.numbered(path):
        if flaw:
            skip("not_utf8", malformed.not_utf8(f"{path} line {number}", path, flaw))
        else:
            yield number, line


def read_rows(path: str | Path, skip: Skip = malformed.stop) -> Iterator[Row]:
    """Yield the records of a .jsonl, .json (one object a line), .csv, .tsv, .parquet or .txt file (a line is `text`).

    What cannot be read goes to `skip`, by default to a `UserError` naming file and line, and is passed over.
    """
    path = Path(path)
    kind = lines.suffix(path)
    if kind in JSON_SUFFIXES:
        yield from read_jsonl(path, skip)
    elif kind in tables.SUFFIXES:
        yield from (Row(path, number, values) for number, values in tables.read(path, skip) if values is not None)
    elif kind == ".txt":
        yield from (Row(path, number, {"text": line}) for number, line in read_lines(path, skip) if line.strip())
    elif kind == arrow.PARQUET:
        yield from arrow_rows(path)
    else:
        raise UserError(f"{path} has the suffix '{kind}': {', '.join(SUFFIXES)} are read, text also as .gz or .zst")


def read_documents(paths: Iterable[str | Path], field: str = "text", skip: Skip = malformed.stop) -> Iterator[Row]:
    """Yield the records of files, saved `datasets` folders (all splits) and folders of both with a text in `field`.

    Empty texts are passed over. Raises `UserError` for a record without the field; what cannot be read goes to `skip`.
    """
    for path in corpus_sources(paths):
        for row in arrow_rows(path) if path.is_dir() else read_rows(path, skip):
            text = row.require(field)
            if not isinstance(text, str):
                raise UserError(f"{row.place} has {text!r:.40} for '{field}': a text was expected")
            if text.strip():
                yield row


def arrow_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file or of a folder saved by `datasets`."""
    return (Row(path, number, values) for number, values in enumerate(arrow.rows(path), start=1))


def read_jsonl(path: Path, skip: Skip = malformed.stop) -> Iterator[Row]:
    """Yield the objects of a JSON-lines file; blank lines are passed over."""
    for number, line in read_lines(path, skip):
        if not line.strip():
            continue
        place = f"{path} line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            skip("not_json", malformed.not_json(place, error))
            continue
        if utf8.HALF.search(line) and not utf8.is_whole(values):
            skip(
                "half_a_character",
                f"{place} holds half a character (\\ud800 to \\udfff without its other half): mend or remove the line",
            )
        elif not isinstance(values, dict):
            skip("not_json", malformed.no_object(place, values))
        else:
            yield Row(path, number, values)


def expand(paths: Iterable[str | Path], suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Return the files that `paths` name, folders replaced by the readable files in them in sorted order.

    Raises `UserError` for a path that does not exist and a folder with nothing readable in it.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path.absolute()} does not exist")
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in files_in(path) if lines.suffix(p) in suffixes and p.is_file())
        if not inside:
            raise UserError(f"{path} holds no file that can be read ({', '.join(suffixes)}; text also as .gz or .zst)")
        found += inside
    return found


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its sub-folders, linked ones too; each once, links may lead in a circle."""
    seen: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        yield from (Path(place, name) for name in names)


def corpus_sources(paths: Iterable[str | Path]) -> list[Path]:
    """Return what `expand` does; a folder saved by `datasets`, named or in a folder, stands there as a whole."""
    found: list[Path] = []
    for path in map(Path, paths):
        notes = (file for file in files_in(path) if file.name == arrow.SAVED_NOTES[0])
        saved = {file.parent for file in notes if arrow.is_saved(file.parent)}
        if not saved:
            found += expand([path])
            continue
        others = {file for file in files_in(path) if lines.suffix(file) in SUFFIXES and file.is_file()}
        apart = {file for file in others if file.parent not in saved and file.name != arrow.SPLITS_NOTE}
        found += sorted(saved | apart)
    return found


def of_corpus(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files behind what `read_documents` takes; a saved `datasets` folder counts as its rows' files."""
    return [file for path in corpus_sources(paths) for file in (arrow.data_files(path) if path.is_dir() else [path])]


def write_atomically(path: str | Path, write: Callable[[IO[str]], Any]) -> None:
    """Call `write(file)` on a temporary neighbour of `path` and give it its final name only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write(file)
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner reads
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_atomically(path, lambda file: json.dump(value, file, ensure_ascii=False, indent=2, default=float))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_atomically(path, lambda file: file.write(text))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a binary file, whole or not at all."""
    write_atomically(path, lambda file: file.buffer.write(data))  # type: ignore[attr-defined]


def write_array(path: str | Path, array: "np.ndarray") -> None:
    """Write an array as .npy, whole or not at all."""
    import numpy as np

    write_atomically(path, lambda file: np.save(file.buffer, array))  # type: ignore[attr-defined]


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write records as JSON lines (.jsonl, .json), CSV with a header (.csv) or Parquet, by the path's suffix.

    `columns` are those of a table that has no row; otherwise a CSV has the first row's keys, Parquet those of all rows.
    """
    path = Path(path)
    if path.suffix in JSON_SUFFIXES:
        write_atomically(path, lambda f: f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    elif path.suffix == ".csv":
        write_atomically(path, lambda file: tables.write(file, rows, columns))
    elif path.suffix == arrow.PARQUET:
        write_atomically(path, lambda file: arrow.write(file.buffer, rows, columns))  # type: ignore[attr-defined]
    else:
        raise UserError(f"{path} has the suffix '{path.suffix}': .csv, .jsonl and .parquet are written")


def fingerprint(paths: Iterable[str | Path], memory: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return size in bytes and SHA-256 of each file, by its name: what a results file says of its data.

    `memory` is a file that keeps them by size and time of change: a corpus is not read again at every start.
    """
    known = json.loads(memory.read_text(encoding="utf-8")) if memory and memory.exists() else {}
    found, seen = {}, {}
    for path in map(Path, paths):
        state = path.stat()
        key = f"{path.absolute()} {state.st_size} {state.st_mtime_ns}"
        seen[key] = known.get(key) or sha256(path)
        found[str(path)] = {"bytes": state.st_size, "sha256": seen[key]}
    if memory and not seen.items() <= known.items():
        write_json(memory, known | seen)
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def content(fingerprints: dict[str, dict[str, Any]]) -> str:
    """Return a short hash of what files with these fingerprints hold, whatever their names and order."""
    return hashlib.sha256("".join(sorted(one["sha256"] for one in fingerprints.values())).encode()).hexdigest()[:12]
