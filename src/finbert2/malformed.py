"""What is wrong with a file or a record, in the words of a message, and what then happens: stop, or go on."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finbert2 import utf8
from finbert2.errors import UserError

Skip = Callable[[str, str], None]  # (reason, place and what is wrong): raises, or counts and has the record passed over


def stop(reason: str, message: str) -> None:
    """Refuse a bad record."""
    raise UserError(message)


def ignore(reason: str, message: str) -> None:
    """Pass over a bad record."""


def not_utf8(place: str, path: Path, error: UnicodeDecodeError) -> str:
    """Return the message for a line that does not decode."""
    byte = f"0x{error.object[error.start]:02x}"
    return f"{place} is not UTF-8 ({error.reason}, byte {byte}): convert the file, for example: {utf8.conversion(path)}"


def not_json(place: str, error: json.JSONDecodeError) -> str:
    """Return the message for a line that is not JSON."""
    return (
        f"{place} is not JSON ({error.msg} at column {error.colno}): "
        "each line has to be one whole object; mend or remove the line"
    )


def no_object(place: str, value: Any) -> str:
    """Return the message for a line of JSON that holds something else."""
    return f"{place} holds a {type(value).__name__}: each line has to be one object"


def more_fields(place: str, header: Sequence[str]) -> str:
    """Return the message for a CSV row that is longer than the header."""
    names = ", ".join(header)
    return f"{place} has more fields than the header ({names}): put a text that holds the delimiter in double quotes"


def not_csv(place: str, error: Exception) -> str:
    """Return the message for quotes that do not match."""
    return f"{place} is not CSV ({error}): mend the quotes of the line"
