"""The page of every command's flags: `make docs` writes docs/flags.md from the dataclasses that the commands read."""

from pathlib import Path

from tests.surface import types_of

from finbert2 import cli, files, usage

PAGE = Path(__file__).with_name("flags.md")
HEAD = """\
# Every flag

Written by `make docs` from the dataclasses that the commands read; `finbert2 <stage> <verb> -h` prints the same.
Training commands also take HuggingFace's [TrainingArguments][1]; below are those of another default.

[1]: https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments
"""


def page() -> str:
    """Return the page: a section for each command, in the order in which the stages run."""
    parts = [HEAD]
    for stage, verb, line in cli.VERBS:
        parts.append(f"## {stage} {verb}\n\n{line}\n\n{usage.table(types_of(stage, verb))}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    files.write_text(PAGE, page())
