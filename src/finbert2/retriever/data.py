"""Training rows in FlagEmbedding's format, and the one template by which a passage becomes a text."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from finbert2 import files
from finbert2.errors import UserError
from finbert2.files import Row

TEMPLATE = "{title}\n{text}"
TEMPLATE_HELP = (
    "what is read of a passage; fields: title, date, company, institution, industry, text; \\n breaks the line"
)
FIELDS = ("title", "date", "company", "institution", "industry", "text")


@dataclass
class TrainingRow:
    """A query with its positives and negatives; `prompt` takes the instruction's place for this row.

    `type` is FlagEmbedding's, handed on unread.
    `source` is the number of the file or folder it was read from. Without `in_batch` it is contrasted with its own
    negatives only.
    """

    query: str
    positives: list[str]
    negatives: list[str]
    prompt: str | None = None
    pos_scores: list[float] | None = None
    neg_scores: list[float] | None = None
    type: str | None = None
    source: int = 0
    in_batch: bool = True

    def as_record(self) -> dict[str, Any]:
        """Return the row as FlagEmbedding writes it, absent parts left out."""
        record: dict[str, Any] = {"query": self.query, "pos": self.positives, "neg": self.negatives}
        extra = {name: getattr(self, name) for name in ("pos_scores", "neg_scores", "prompt", "type")}
        return record | {name: value for name, value in extra.items() if value is not None}


def passage_text(values: Mapping[str, Any], template: str = TEMPLATE) -> str:
    """Return what the encoder and BM25 see of a passage, in mining, evaluation and search alike.

    `template` is filled with the record's fields; a line of it none of whose fields has a value is left out.
    """
    fields = {name: field_text(values.get(name)) for name in FIELDS}
    lines = []
    for line in template.split("\n"):
        named = [name for _, name, _, _ in Formatter().parse(line) if name]
        if not named or any(fields[name] for name in named):
            lines.append(line.format(**fields))
    return "\n".join(lines)


def body(row: Row, template: str, *columns: str) -> str:
    """Return a passage's text; it may be empty where the template shows something else of the passage, such as a title.

    TREC-COVID has such passages. Raises `UserError` for one of which nothing would be seen.
    """
    value = row.require(*columns)
    empty = isinstance(value, str) and not value.strip()
    return "" if empty and passage_text({**row.values, "text": ""}, template).strip() else row.text(*columns)


def field_text(value: Any) -> str:
    """Return a field's value as text; lists are joined by commas, pandas' NaN is nothing."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None or value != value else str(value)


def checked_template(template: str) -> str:
    """Return a template of the command line, backslash n as line breaks; raise `ValueError` if it cannot be filled."""
    template = template.replace("\\n", "\n")
    try:
        named = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError:
        named = [""]
    strangers = [name for name in named if name not in FIELDS]
    if strangers or "text" not in named:
        wrong = f"has {{{strangers[0]}}}" if strangers else "lacks {text}"
        raise ValueError(f"--passage_template {wrong}: it may hold {', '.join(f'{{{name}}}' for name in FIELDS)}")
    return template


def content_id(*parts: str) -> str:
    """Return an id that texts without one get: the same for the same content."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_training_rows(
    paths: Iterable[str | Path], no_in_batch: Iterable[str | Path] = ()
) -> tuple[list[TrainingRow], int]:
    """Return the rows of files and folders, and how many negatives went because they are positives of their query.

    Rows of the paths in `no_in_batch` are marked so. Raises `UserError` for a row that cannot be trained on and for a
    file without rows.
    """
    rows: list[TrainingRow] = []
    alone = set(map(Path, no_in_batch))
    for source, entry in enumerate(map(Path, paths)):
        for path in files.expand([entry], files.JSON_SUFFIXES):
            found = [training_row(row) for row in files.read_rows(path)]
            if not found:
                raise UserError(f"{path} holds no rows: each line has to be one object with 'query', 'pos' and 'neg'")
            rows += [dataclasses.replace(row, source=source, in_batch=entry not in alone) for row in found]
    known = known_positives(rows)
    return rows, sum(drop_positives(row, known[row.query]) for row in rows)


def training_row(row: Row) -> TrainingRow:
    """Return a record of a file as a `TrainingRow`."""
    positives = passages(row, "pos")
    if not positives:
        raise UserError(f"{row.place} has no positives ('pos' is an empty list): give at least one, or remove the row")
    negatives = passages(row, "neg") if row.values.get("neg") is not None else []
    return TrainingRow(
        row.text("query"), positives, negatives, row.values.get("prompt"),
        scores(row, "pos_scores", positives), scores(row, "neg_scores", negatives), row.values.get("type"),
    )  # fmt: skip


def passages(row: Row, column: str) -> list[str]:
    """Return a list of texts none of which is empty."""
    texts = row.texts(column)
    for place, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"{row.place} has an empty text in '{column}' (number {place}): fill it or take it out")
    return texts


def scores(row: Row, column: str, texts: Sequence[str]) -> list[float] | None:
    """Return a teacher's scores, one a text, or None where the row has none."""
    values = row.values.get(column)
    if values is None or (isinstance(values, list) and len(values) == len(texts)):
        return values
    found = len(values) if isinstance(values, list) else repr(values)
    raise UserError(f"{row.place} has {found} '{column}' for {len(texts)} texts: give one score a text, or none")


def known_positives(rows: Iterable[TrainingRow]) -> dict[str, set[str]]:
    """Return all positives of each query, whichever rows they stand in."""
    known: dict[str, set[str]] = {}
    for row in rows:
        known.setdefault(row.query, set()).update(row.positives)
    return known


def drop_positives(row: TrainingRow, known: set[str]) -> int:
    """Take the negatives that are known positives out of a row; return how many."""
    kept = [place for place, text in enumerate(row.negatives) if text not in known]
    dropped = len(row.negatives) - len(kept)
    if dropped and row.neg_scores is not None:
        row.neg_scores = [row.neg_scores[place] for place in kept]
    row.negatives = [row.negatives[place] for place in kept]
    return dropped


def all_passages(rows: Iterable[TrainingRow]) -> list[str]:
    """Return every passage of the rows once, in the order of appearance."""
    return list(dict.fromkeys(text for row in rows for text in (*row.positives, *row.negatives)))


def read_pool(path: str | Path, template: str = TEMPLATE) -> list[str]:
    """Return the passages of a candidate pool, a file with `text` and perhaps other fields, each once."""
    rows = files.read_rows(path)
    texts = [passage_text({**row.values, "text": body(row, template, "text")}, template) for row in rows]
    if not texts:
        raise UserError(f"{path} holds no passages: each line has to be one object with 'text'")
    return list(dict.fromkeys(texts))
