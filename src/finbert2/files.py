"""Rows from files and back: JSON lines, CSV, TSV and plain text, plain or packed; an error names file and line."""

import csv
import gzip
import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from finbert2 import utf8
from finbert2.errors import UserError

TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")
PACKED_SUFFIXES = (".gz", ".zst")
Skip = Callable[[str], None]  # told what is wrong with a record that is then passed over
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True)
class Row:
    """One record of a file, with the place it came from."""

    path: Path
    line: int
    values: dict[str, Any]

    @property
    def place(self) -> str:
        """Where the record stands, as an error says it."""
        return f"{self.path} line {self.line}"

    def require(self, *columns: str) -> Any:
        """Return the value of the first of `columns` that the record has; raise `UserError` if it has none."""
        for column in columns:
            if self.values.get(column) is not None:
                return self.values[column]
        wanted = " or ".join(f"'{column}'" for column in columns)
        raise UserError(
            f"{self.place} has no {wanted}: it has {self.filled() or 'nothing'}; "
            "rename the column or field, or name yours by a flag"
        )

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


def suffix(path: Path) -> str:
    """Return the suffix that says the format, `.gz` and `.zst` passed over."""
    return Path(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix


def open_text(path: Path, errors: str = "strict") -> IO[str]:
    """Open a plain, gzip or zstandard file as UTF-8 text; a byte-order mark is passed over."""
    if path.suffix == ".zst":
        return io.TextIOWrapper(zstandard.open(path, "rb"), encoding="utf-8-sig", errors=errors, newline="")
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", errors=errors, newline="")


def read_lines(path: str | Path, skip: Skip | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a text file.

    Raises `UserError` naming file and line if the file is missing, damaged or not UTF-8; with `skip`, a line that is
    not UTF-8 is passed over.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist" if not path.exists() else f"{path} is a folder, a file was expected")
    number = 0
    with open_text(path, "surrogateescape" if skip else "strict") as file:
        try:
            for number, line in enumerate(file, start=1):
                if skip and utf8.UNDECODABLE.search(line):
                    skip(f"{path} line {number} is not UTF-8")
                    continue
                yield number, line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            # The decoder works in blocks: the bad line is somewhere after the last one that came out whole.
            further = 0 if path.suffix in PACKED_SUFFIXES else utf8.undecodable_line(path, number)
            line_number = number + 1 + further
            raise UserError(
                f"{path} line {line_number} is not UTF-8 ({error.reason}, byte 0x{error.object[error.start]:02x}): "
                f"convert the file, for example: {utf8.conversion(path)}"
            ) from None
        except DAMAGED as error:
            raise UserError(f"{path} cannot be unpacked after line {number} ({error}): make or fetch it anew") from None


def read_rows(path: str | Path, skip: Skip | None = None) -> Iterator[Row]:
    """Yield the records of a .jsonl, .json (one object a line), .csv, .tsv or .txt file (`text` is the whole line).

    Raises `UserError` naming file and line for what cannot be read; with `skip`, such a line is passed over.
    """
    path = Path(path)
    kind = suffix(path)
    if kind in (".jsonl", ".json"):
        yield from read_jsonl(path, skip)
    elif kind in (".csv", ".tsv"):
        yield from read_csv(path, "\t" if kind == ".tsv" else ",", skip)
    elif kind == ".txt":
        yield from (Row(path, number, {"text": line}) for number, line in read_lines(path, skip) if line.strip())
    else:
        raise UserError(f"{path} has the suffix '{kind}': {', '.join(TEXT_SUFFIXES)} are read, also with .gz or .zst")


def read_documents(paths: Iterable[str | Path], field: str = "text", skip: Skip | None = None) -> Iterator[Row]:
    """Yield the records of files, folders of files and saved `datasets` folders that have a text in `field`.

    Empty texts are passed over. Raises `UserError` for a record without the field; with `skip`, records that cannot
    be read are passed over.
    """
    for path in map(Path, paths):
        rows = read_saved_dataset(path) if is_saved(path) else read_all(expand([path]), skip)
        for row in rows:
            text = row.require(field)
            if not isinstance(text, str):
                raise UserError(f"{row.place} has {text!r:.40} for '{field}': a text was expected")
            if text.strip():
                yield row


def read_all(paths: Iterable[Path], skip: Skip | None = None) -> Iterator[Row]:
    """Yield the records of several files."""
    for path in paths:
        yield from read_rows(path, skip)


def is_saved(path: Path) -> bool:
    """Tell whether a folder was written by `datasets.Dataset.save_to_disk`."""
    return (path / "dataset_info.json").exists()


def read_saved_dataset(folder: Path) -> Iterator[Row]:
    """Yield the rows of a folder written by `datasets.Dataset.save_to_disk`."""
    import datasets

    for number, values in enumerate(datasets.load_from_disk(str(folder)), start=1):
        yield Row(folder, number, dict(values))


def read_jsonl(path: Path, skip: Skip | None = None) -> Iterator[Row]:
    """Yield the objects of a JSON-lines file; blank lines are passed over."""
    for number, line in read_lines(path, skip):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            if skip:
                skip(f"{path} line {number} is not JSON")
                continue
            raise UserError(
                f"{path} line {number} is not JSON ({error.msg} at column {error.colno}): "
                "each line has to be one whole object; mend or remove the line"
            ) from None
        if utf8.HALF.search(line) and not utf8.is_whole(values):
            if skip:
                skip(f"{path} line {number} holds half a character")
                continue
            raise UserError(
                f"{path} line {number} holds half a character (\\ud800 to \\udfff without its other half): "
                "mend or remove the line"
            )
        if not isinstance(values, dict):
            raise UserError(f"{path} line {number} holds a {type(values).__name__}: each line has to be one object")
        yield Row(path, number, values)


def read_csv(path: Path, delimiter: str = ",", skip: Skip | None = None) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header; values are strings."""
    csv.field_size_limit(2**30)
    lines = (line + "\n" for _, line in read_lines(path, skip))
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    try:
        for values in reader:
            if None in values:  # the fields beyond the header; "" is a column without name, as pandas writes its index
                names = ", ".join(reader.fieldnames or [])
                raise UserError(
                    f"{path} line {reader.line_num} has more fields than the header ({names}): "
                    "put a text that holds the delimiter in double quotes"
                )
            yield Row(path, reader.line_num, values)
    except csv.Error as error:
        first = reader.line_num + 1  # of the record that failed: an open quote is noticed only at the file's end
        raise UserError(f"{path} line {first} is not CSV ({error}): mend the quotes of the line") from None


def header(path: str | Path) -> list[str]:
    """Return the column names of a CSV or TSV file."""
    path = Path(path)
    first = next(read_lines(path), (1, ""))[1]
    return next(csv.reader([first], delimiter="\t" if suffix(path) == ".tsv" else ","), [])


def expand(paths: Iterable[str | Path], suffixes: Sequence[str] = TEXT_SUFFIXES) -> list[Path]:
    """Return the files that `paths` name, folders replaced by the readable files in them in sorted order.

    Raises `UserError` for a path that does not exist and a folder with nothing readable in it.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path} does not exist")
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if suffix(p) in suffixes and p.is_file())
        if not inside:
            raise UserError(f"{path} holds no file that can be read: {', '.join(suffixes)} are, also with .gz or .zst")
        found += inside
    return found


def of_corpus(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files behind what `read_documents` takes; a saved `datasets` folder counts as its arrow files."""
    return expand(paths, (*TEXT_SUFFIXES, ".arrow"))


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


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write records as JSON lines (.jsonl, .json) or CSV with a header (.csv), by the path's suffix."""
    path = Path(path)
    if path.suffix in (".jsonl", ".json"):
        write_atomically(path, lambda f: f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    elif path.suffix == ".csv":
        write_atomically(path, lambda file: write_csv(file, rows))
    else:
        raise UserError(f"{path} has the suffix '{path.suffix}': .csv and .jsonl are written")


def write_csv(file: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write records as CSV; the first one's keys are the header."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(UnixLines(file), fieldnames=list(row), lineterminator="\r\n")
            writer.writeheader()
        writer.writerow({name: cell(value) for name, value in row.items()})


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
