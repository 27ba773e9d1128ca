"""What is not text: bytes that are not UTF-8, and halves of characters."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

UNDECODABLE = re.compile("[\udc80-\udcff]")  # what bytes that are not UTF-8 become under "surrogateescape"
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # JSON's spelling of half a character, such as of an emoji that was cut


def conversion(path: Path) -> str:
    """Return the command that makes UTF-8 of a file in China's usual other encoding."""
    return f"iconv -f GB18030 -t UTF-8 {shlex.quote(path.name)} > {shlex.quote(f'{path.stem}.utf8{path.suffix}')}"


def undecodable_line(path: Path, skip: int) -> int:
    """Return how many whole UTF-8 lines of a plain file follow the first `skip` ones before one that is not."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number >= skip and not is_utf8(line):
                return number - skip
    return 0


def is_utf8(data: bytes) -> bool:
    """Tell whether the bytes decode as UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_whole(value: Any) -> bool:
    """Tell whether all texts of a JSON value can be written, which half a character cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
