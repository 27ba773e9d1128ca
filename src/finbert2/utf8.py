"""What is not text: bytes that are not UTF-8, and halves of characters."""

import codecs
import functools
import json
import re
import shlex
from pathlib import Path
from typing import Any

HALF = re.compile(r"\\u[dD][89a-fA-F]")  # JSON's spelling of half a character, such as of an emoji that was cut


@functools.lru_cache(maxsize=64)  # with `--errors skip` every such line asks
def conversion(path: Path) -> str:
    """Return the command that makes UTF-8 of a file in China's usual other encoding, or in Excel's "Unicode text"."""
    with path.open("rb") as file:
        encoding = "UTF-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "GB18030"
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(path.name)} > {shlex.quote(f'{path.stem}.utf8{path.suffix}')}"


def flaw(line: str) -> UnicodeDecodeError | None:
    """Return what is wrong with a line decoded under "surrogateescape", None if it was UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        try:
            line.encode(errors="surrogateescape").decode()
        except UnicodeDecodeError as error:
            return error
    return None


def is_whole(value: Any) -> bool:
    """Tell whether all texts of a JSON value can be written, which half a character cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
