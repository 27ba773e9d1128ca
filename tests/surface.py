"""What tests of the surface share: the commands, their dataclasses, and the recipes in the shell scripts."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any
from unittest import mock

from finbert2 import args, cli

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path for path in ROOT.glob("*/**/*.sh") if not {".venv", "outputs", ".git"} & set(path.relative_to(ROOT).parts)
)
COMMANDS = [(stage, verb) for stage, verb, _ in cli.VERBS]


class Types(BaseException):
    """Carries the dataclasses that a command hands to the parser out of its `main`."""

    def __init__(self, types: tuple[Any, ...]) -> None:
        self.types = types


def types_of(stage: str, verb: str) -> tuple[Any, ...]:
    """Return the dataclasses that a command's flags come from."""

    def parse(command: str, description: str, argv: list[str] | None, *types: Any) -> None:
        raise Types(types)

    with mock.patch.object(args, "parse", parse):
        try:
            importlib.import_module(f"finbert2.{stage}.{verb}").main([])
        except Types as found:
            return found.types
    raise AssertionError(f"{stage} {verb} does not use args.parse")


def command_of(script: Path) -> tuple[str, str, list[str]]:
    """Return the stage, verb and flags of a script's one command, `"$@"` left out."""
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if re.match(r"(finbert2|launch) ", line)]
    assert len(lines) == 1, f"{script} has {len(lines)} commands"
    words = shlex.split(lines[0])
    assert words[-1] == "$@", f'{script} does not end in "$@"'
    return words[1], words[2], words[3:-1]
