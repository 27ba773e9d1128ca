"""The flags of a command, read off its dataclasses: what `-h` prints and `docs/flags.md` holds."""

import dataclasses
import shutil
import textwrap
import typing
from collections.abc import Iterable, Sequence
from typing import Any

import transformers

INDENT = 28  # where the help lines of `-h` begin
THEIRS = "HuggingFace's TrainingArguments, as they are:"


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag: its name, what it does, the values it may have (none: any) and its default as it is typed."""

    name: str
    help: str
    values: tuple[str, ...]
    default: str
    required: bool


def flags(types: Iterable[Any]) -> tuple[list[Flag], list[Flag]]:
    """Return the flags of a command's dataclasses: the suite's own, and those that HuggingFace's Trainer brings."""
    brought = {id(field) for field in dataclasses.fields(transformers.TrainingArguments)}
    own: list[Flag] = []
    theirs: list[Flag] = []
    for kind in types:
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            # A subclass shares the fields that it does not declare anew with its base.
            (theirs if id(field) in brought else own).append(flag(field, hints[field.name]))
    return own, theirs


def flag(field: "dataclasses.Field[Any]", hint: Any) -> Flag:
    """Return the flag of a field whose type is `hint`."""
    default = field.default
    if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Flag(
        f"--{field.name}", field.metadata.get("help", "").replace("%%", "%"), choices(hint),
        typed(default), default is dataclasses.MISSING,
    )  # fmt: skip


def choices(hint: Any) -> tuple[str, ...]:
    """Return the values that a type allows, none where they cannot be counted."""
    if typing.get_origin(hint) is typing.Literal:
        return tuple(map(str, typing.get_args(hint)))
    return ()


def typed(default: Any) -> str:
    """Return a default as one types it; empty where there is none, which its help line tells more of."""
    if default is dataclasses.MISSING or default is None or default == "":
        return ""
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(getattr(default, "value", default))


def text(usage: str, description: str, types: Iterable[Any]) -> str:
    """Return the help page of a command: its own flags, then HuggingFace's with the first sentence on each."""
    width = min(120, max(60, shutil.get_terminal_size().columns))
    own, theirs = flags(types)
    lines = [f"usage: {usage}", "", *textwrap.wrap(description, width), "", *listed(own, width)]
    if theirs:
        short = [dataclasses.replace(one, help=one.help.split(". ")[0].rstrip(".")) for one in theirs]
        lines += ["", THEIRS, "", *listed(short, width)]
    return "\n".join(lines) + "\n"


def listed(flags: Sequence[Flag], width: int) -> list[str]:
    """Return the lines of `flags`, each name with its help beside it, or below where it is long."""
    lines: list[str] = []
    for one in flags:
        told = one.help + (f" {{{','.join(one.values)}}}" if one.values else "")
        told += " (required)" if one.required else f" [{one.default}]" if one.default else ""
        beside = textwrap.wrap(told, width - INDENT) or [""]
        head = f"  {one.name}"
        if len(head) + 2 > INDENT:
            lines.append(head)
        else:
            beside[0] = f"{head:<{INDENT}}{beside[0]}"
        lines += [line if line.startswith(head) else " " * INDENT + line for line in beside]
    return [line.rstrip() for line in lines]


def table(types: Iterable[Any]) -> str:
    """Return a Markdown table of the suite's own flags of a command."""
    rows = ["| flag | default | what it does |", "| --- | --- | --- |"]
    for one in flags(types)[0]:
        default = "*required*" if one.required else f"`{one.default}`" if one.default else ""
        values = f" ({', '.join(f'`{value}`' for value in one.values)})" if one.values else ""
        rows.append(f"| `{one.name}` | {default} | {one.help.replace('|', chr(92) + '|')}{values} |")
    return "\n".join(rows)
