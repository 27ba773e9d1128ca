"""Labelled texts and tagged sentences from files, their label map, and their token ids."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files
from finbert2.errors import UserError

log = logging.getLogger(__name__)
TAG = re.compile(r"O|[BI]-\S+")
SEPARATOR = "|"
NAMES_FILE = "labels.csv"  # beside the training file: what its labels are called
MAX_WINDOWS = 16  # of a text under `windows`: 8,000 tokens; a longer text has them spread over its length


@dataclass(frozen=True)
class Example:
    """A text with its label; of a multi-label task with its labels, `a|b`, or none of them, an empty text.

    `line` is where its record stands in the file.
    """

    text: str
    label: str
    line: int = field(default=0, compare=False)

    @property
    def labels(self) -> list[str]:
        """The labels of a multi-label row."""
        return [label for label in self.label.split(SEPARATOR) if label]


@dataclass(frozen=True)
class Sentence:
    """Characters with a BIO tag each; `line` is where its first one stands in the file."""

    characters: tuple[str, ...]
    tags: tuple[str, ...]
    line: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """The sentence as a text."""
        return "".join(self.characters)


def read_examples(
    path: str | Path, names: dict[str, str] | None = None, multi: bool | None = None, empty_texts: str = "error"
) -> list[Example]:
    """Return the rows `text,label` of a file; `names` translates labels to names.

    `multi` says whether a label may be several, `a|b`, or none; by default it is if a row has a `|`. Rows without a
    text are dropped and counted in the log if `empty_texts` is "drop".
    Raises `UserError` naming file and line for a missing column, an empty text or label, and a file without rows.
    """
    read = [(row, written_label(row)) for row in files.read_rows(path)]
    kept = [(row, label) for row, label in read if empty_texts != "drop" or not is_empty(row, "text")]
    if len(kept) < len(read):
        log.warning("%s: %d of %d rows have no text and were dropped", path, len(read) - len(kept), len(read))
    multi = any(SEPARATOR in label for _, label in kept) if multi is None else multi
    examples = []
    for row, label in kept:
        if not label.strip() and not multi:
            raise UserError(f"{row.place} has an empty label: fill it in or drop the row")
        if SEPARATOR in label and not multi:
            raise UserError(f"{row.place} has several labels ({label}), the training data has one a row: choose one")
        parts = [canonical(part) for part in (label.split(SEPARATOR) if multi else [label])]
        known = sorted({(names or {}).get(part, part) for part in parts if part})
        examples.append(Example(row.text("text"), SEPARATOR.join(known), row.line))
    if not examples:
        raise UserError(f"{path} has no rows: a header `text,label` and at least one row were expected")
    return examples


def written_label(row: files.Row) -> str:
    """Return a row's label as it stands there; raise `UserError` for one that is neither a text nor a number."""
    label = row.require("label")
    if not isinstance(label, str | int | float):
        raise UserError(f"{row.place} has {label!r:.80} for 'label': a text or a number was expected, several as a|b")
    return str(label)


def is_empty(row: files.Row, column: str) -> bool:
    """Tell whether a row has a column with nothing but blanks in it; a column that is missing is another matter."""
    return column in row.values and not str(row.values[column] or "").strip()


def is_multi_label(examples: Iterable[Example]) -> bool:
    """Tell whether some row has several labels."""
    return any(SEPARATOR in example.label for example in examples)


def canonical(label: str) -> str:
    """Return a label without blanks around it, and a whole number as spreadsheets spoil it (`1.0`) as `1`."""
    label = label.strip()
    return label[:-2] if re.fullmatch(r"-?\d+\.0", label) else label


def label_names(train_path: str | Path) -> dict[str, str] | None:
    """Return the names that a `labels.csv` (`label,name`) beside the training file gives its labels, None without."""
    path = Path(train_path).with_name(NAMES_FILE)
    if not path.exists():
        return None
    names = {}
    for row in files.read_rows(path):
        names[canonical(written_label(row))] = name = str(row.require("name"))
        if SEPARATOR in name:
            raise UserError(
                f"{row.place} has the name {name!r}: a {SEPARATOR} stands between labels, take another sign"
            )
    return names


def label_list(examples: Iterable[Example], names: dict[str, str] | None = None) -> list[str]:
    """Return the labels in the order of their ids: as `labels.csv` has them, then numbers by size, names by alphabet.

    Raises `UserError` if there is only one.
    """
    counts = Counter(label for example in examples for label in example.labels)
    found = set(counts)
    if len(found) < 2:
        raise UserError(f"the training data has one label only ({', '.join(found)}): a classifier needs two or more")
    if rare := sorted(label for label, count in counts.items() if count == 1):
        log.warning("labeler: one training row only has the label %s", ", ".join(rare[:10]))
    named = [name for name in dict.fromkeys((names or {}).values()) if name in found]
    rest = found.difference(named)
    return named + sorted(rest, key=lambda name: (0, int(name), "") if re.fullmatch(r"-?\d+", name) else (1, 0, name))


def check_labels(examples: Iterable[Example], labels: Sequence[str], path: str | Path) -> None:
    """Refuse a development or test file with labels that training never saw."""
    unseen = Counter(label for example in examples for label in example.labels if label not in labels)
    if unseen:
        rows = ", ".join(f"'{label}' ({count} rows)" for label, count in unseen.most_common(5))
        raise UserError(
            f"{path} has labels that the training data has not: {rows}; training knows {', '.join(labels[:30])}: "
            "correct the labels, add rows with them to the training file, or put its labels.csv beside the file"
        )


def read_sentences(path: str | Path) -> list[Sentence]:
    """Return the sentences of a CoNLL file: a character, a blank or tab, its BIO tag; a blank line between sentences.

    An I- tag that continues nothing begins an entity (as seqeval reads it), and their number is logged. Raises
    `UserError` naming file and line.
    """
    sentences: list[Sentence] = []
    characters: list[str] = []
    tags: list[str] = []
    start = 1
    for number, line in [*files.read_lines(path), (0, "")]:
        if not line.strip():
            if characters:
                sentences.append(Sentence(tuple(characters), tuple(tags), start))
            characters, tags, start = [], [], number + 1
            continue
        fields = line.split("\t") if "\t" in line else line.rsplit(" ", 1)
        if len(fields) != 2 or len(fields[0]) != 1 or not TAG.fullmatch(fields[1].strip()):
            raise UserError(
                f"{path} line {number} is {line!r}: one character, a blank or tab and a tag (O, B-TYPE or I-TYPE) "
                "were expected"
            )
        characters.append(fields[0])
        tags.append(fields[1].strip())
    if not sentences:
        raise UserError(f"{path} has no sentences: lines of a character and a tag were expected")
    if orphans := sum(map(count_orphans, sentences)):
        log.warning("%s: %d I- tags continue nothing and are read as B-", path, orphans)
    return sentences


def count_orphans(sentence: Sentence) -> int:
    """Return the number of I- tags that no B- or I- tag of their type precedes."""
    before = ["O", *sentence.tags[:-1]]
    pairs = zip(before, sentence.tags, strict=True)
    return sum(tag.startswith("I-") and earlier[2:] != tag[2:] for earlier, tag in pairs)


def tag_list(sentences: Iterable[Sentence]) -> list[str]:
    """Return O and the B- and I- tag of every entity type, in the order of their ids.

    Raises `UserError` if there is no entity at all.
    """
    types = sorted({tag[2:] for sentence in sentences for tag in sentence.tags if tag != "O"})
    if not types:
        raise UserError("the training data has no entity: every tag is O")
    return ["O", *(f"{prefix}-{kind}" for kind in types for prefix in ("B", "I"))]


def check_tags(sentences: Iterable[Sentence], labels: Sequence[str], path: str | Path) -> None:
    """Refuse a development or test file with entity types that training never saw."""
    unseen = {tag for sentence in sentences for tag in sentence.tags} - set(labels)
    if unseen:
        raise UserError(
            f"{path} has tags that the training data has not: {', '.join(sorted(unseen))}; training knows "
            f"{', '.join(labels)}: correct the tags, or add sentences with them to the training file"
        )


def shorten(ids: Sequence[int], limit: int, policy: str) -> list[int]:
    """Return at most `limit` token ids: the head, or a quarter from the head and the rest from the tail.

    128 + 382 of 510 is what Sun et al. 2019 (arXiv 1905.05583, §5.3.1) found best for long news.
    """
    if len(ids) <= limit:
        return list(ids)
    head = limit if policy == "head" else limit // 4
    return [*ids[:head], *ids[len(ids) - (limit - head) :]]


def need_marks(tokenizer: Any, name: str) -> None:
    """Raise `UserError` for a model whose inputs do not begin with [CLS] and end in [SEP]: it is no encoder."""
    cls, sep, own = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer("")["input_ids"]
    if cls is None or sep is None or (own and own != [cls, sep]):  # XLNet's end in both
        raise UserError(
            f"{name} has a tokenizer without [CLS] and [SEP] ({type(tokenizer).__name__}): name an encoder such as BERT"
        )


def encode_texts(texts: Sequence[str], tokenizer: Any, max_length: int, policy: str) -> list[list[int]]:
    """Return the token ids of each text with [CLS] and [SEP], no longer than `max_length`."""
    if not texts:
        return []  # the tokenizer would raise an IndexError
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[cls, *shorten(ids, max_length - 2, policy), sep] for ids in encoded]


def encode_windows(texts: Sequence[str], tokenizer: Any, max_length: int) -> tuple[list[list[int]], list[int]]:
    """Return windows of token ids with [CLS] and [SEP], and of each window the place of its text.

    The windows of a text are of nearly equal length and lie end to end; a text of more than `MAX_WINDOWS` is looked at
    in that many windows spread evenly over it.
    """
    size, windows, owners = max_length - 2, [], []
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    for place, ids in enumerate(encoded):
        count = max(1, -(-len(ids) // size))
        starts = np.linspace(0, len(ids), count + 1).astype(int)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_WINDOWS)).round().astype(int))
        for number in chosen:
            part = ids[starts[number] : starts[number + 1]]
            windows.append([tokenizer.cls_token_id, *part, tokenizer.sep_token_id])
            owners.append(place)
    return windows, owners


@dataclass(frozen=True)
class Piece:
    """A stretch of characters as token ids; `firsts` are the places of each character's first token, -1 for none."""

    ids: list[int]
    firsts: list[int]


def encode_characters(characters: Sequence[str], tokenizer: Any, max_length: int) -> list[Piece]:
    """Return a sentence's characters as pieces of no more than `max_length` tokens, none left out.

    Characters, not words of the domain vocabulary, are the units: an entity may begin inside such a word.
    """
    size = (max_length - 2) // 2  # a character outside the vocabulary's alphabet may make two tokens
    parts = [list(characters[place : place + size]) for place in range(0, len(characters), size)][::-1]
    pieces = []
    while parts:
        part = parts.pop()
        # Cut here, not by the tokenizer: it would keep the length as its own state, which threads must not share.
        encoded = tokenizer(part, is_split_into_words=True, verbose=False)
        ids, words = encoded["input_ids"], encoded.word_ids()
        if len(ids) > max_length and len(part) > 1:  # of characters that make three tokens or more, such as bytes
            parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            continue
        if len(ids) > max_length:
            ids, words = [*ids[: max_length - 1], ids[-1]], words[: max_length - 1]
        firsts = np.full(len(part), -1)
        for place, word in reversed(list(enumerate(words))):
            if word is not None:
                firsts[word] = place
        pieces.append(Piece(ids, firsts.tolist()))
    return pieces
