"""Lines of text files, plain or packed."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from finbert2 import utf8
from finbert2.errors import UserError

PACKED_SUFFIXES = (".gz", ".zst")
BUFFER = 2**20


def suffix(path: Path) -> str:
    """Return the suffix that says the format, `.gz` and `.zst` passed over."""
    return Path(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, gzip or zstandard file for its unpacked bytes; raise `UserError` when it turns out damaged."""
    openers: dict[str, Any] = {".gz": gzip.open, ".zst": zstandard.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as file:
            yield io.BufferedReader(file, BUFFER) if path.suffix == ".zst" else file
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): make or fetch it anew") from None


def numbered(path: Path) -> Iterator[tuple[int, str, UnicodeDecodeError | None]]:
    """Yield (number from 1, line without its end, what is not UTF-8 in it) of a text file; a byte-order mark is none.

    Raises `UserError` naming a file that is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist" if not path.exists() else f"{path} is a folder, a file was expected")
    with unpacked(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, start=1):
            yield number, line.rstrip("\r\n"), utf8.flaw(line)
