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
PACKED_AT_ONCE = 2**16  # bytes of zstandard: it packs lines that are all alike into a thousandth and less


def suffix(path: Path) -> str:
    """Return the suffix that says the format, `.gz` and `.zst` passed over."""
    return Path(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix


class Frames(io.RawIOBase):
    """The unpacked bytes of a zstandard file; zstandard's own reader takes one that was cut off for a whole one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.frame: Any = None  # the one that is being unpacked
        self.packed, self.unpacked = b"", memoryview(b"")

    def readable(self) -> bool:
        """Say that this is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes; raise `EOFError` if the file ends before its last frame does."""
        while not self.unpacked:
            packed = self.packed or self.file.read(PACKED_AT_ONCE)
            if not packed:
                if self.frame is not None:
                    raise EOFError("Compressed file ended inside a frame")
                return 0
            self.frame = self.frame or zstandard.ZstdDecompressor().decompressobj()
            self.packed, self.unpacked = b"", memoryview(self.frame.decompress(packed))
            if self.frame.eof:
                self.packed, self.frame = self.frame.unused_data, None
        count = min(len(buffer), len(self.unpacked))
        buffer[:count], self.unpacked = self.unpacked[:count], self.unpacked[count:]
        return count

    def close(self) -> None:
        """Close the file too."""
        self.file.close()
        super().close()


def zstandard_file(path: Path, mode: str) -> IO[bytes]:
    """Open a zstandard file for its unpacked bytes."""
    return io.BufferedReader(Frames(path.open("rb")), BUFFER)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, gzip or zstandard file for its unpacked bytes; raise `UserError` when it turns out damaged."""
    openers: dict[str, Any] = {".gz": gzip.open, ".zst": zstandard_file}
    try:
        with openers.get(path.suffix, open)(path, "rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): make or fetch it anew") from None


def numbered(path: Path) -> Iterator[tuple[int, str, UnicodeDecodeError | None]]:
    """Yield (number from 1, line without its end, what is not UTF-8 in it) of a text file; a byte-order mark is none.

    Raises `UserError` naming a file that is missing or damaged.
    """
    if not path.is_file():
        missing = f"{path.absolute()} does not exist"  # scripts change to their own folder: say where it was looked for
        raise UserError(f"{path} is a folder, a file was expected" if path.exists() else missing)
    with unpacked(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, start=1):
            yield number, line.rstrip("\r\n"), utf8.flaw(line)
