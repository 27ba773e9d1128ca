"""Finding documents that contain evaluation texts, so that a model is not tested on what it was trained on."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files, lines, ngrams
from finbert2.corpus import blocks, reading
from finbert2.corpus.minhash import IGNORED, gram_hashes
from finbert2.errors import UserError

# An evaluation text is found by its runs of WIDTH characters; one shorter than that has to occur whole. Below
# MIN_CHARACTERS ("净利润同比增长") it says nothing about where it was taken from.
WIDTH, MIN_CHARACTERS = 13, 10
MIN_SHARE = 0.5  # of an evaluation text's runs: an excerpt or an edited copy counts, a stock phrase does not
FILTER_BITS = 22
# Where the suite's own evaluation files and the usual public ones have their texts. What else a row has (a company, a
# date with its time, an instruction) stands in many documents that have nothing to do with it.
FIELDS = (
    "text", "title", "metadata", "query", "question", "pos", "neg", "passage", "passages", "answer", "answers",
    "context", "contexts", "positive", "negative", "anchor", "content", "sentence", "sentence1", "sentence2",
    "headline", "abstract", "summary",
)  # fmt: skip
# What stands beside texts in a folder of evaluation files, and has none: names of labels, judgements of BEIR.
BESIDE_TEXTS = {"label", "name", "query-id", "corpus-id", "score"}
TAGGED = re.compile(r"(\S?)[ \t]*(?:O|[BIES]-\S+)")


def plain(text: str) -> str:
    """Return a text as occurrences are looked for: narrow, lower case, without blanks and punctuation."""
    return unicodedata.normalize("NFKC", IGNORED.sub("", text.lower()))


def texts_in(value: Any, fields: Iterable[str] = FIELDS) -> Iterator[str]:
    """Yield the texts of a record: the strings, and lists of strings, of the fields that hold texts."""
    for part in value if isinstance(value, list) else []:
        yield from texts_in(part, fields)
    for name, part in value.items() if isinstance(value, dict) else []:
        if name.lower() in fields:
            yield from (one for one in (part if isinstance(part, list) else [part]) if isinstance(one, str))
        if isinstance(part, dict | list):
            yield from texts_in(part, fields)


def sentences(records: Iterable[reading.Record]) -> Iterator[str]:
    """Yield the lines of a plain file, those of CoNLL (a character, its tag) joined to sentences at the blank lines."""
    characters: list[str] = []
    before = -1
    for record in records:
        line = record.values["text"]
        tagged = TAGGED.fullmatch(line)
        if characters and (tagged is None or record.number != before + 1):
            yield "".join(characters)
            characters = []
        if tagged is None:
            yield line
        else:
            characters.append(tagged[1])
        before = record.number
    yield "".join(characters)


def evaluation_texts(path: Path, fields: Iterable[str]) -> Iterator[np.ndarray]:
    """Yield the texts of an evaluation file that are long enough, as codes; raise `UserError` if there are none."""
    names: dict[str, None] = {}
    found = False
    for text in texts_of(path, fields, names):
        codes = ngrams.codes(plain(text))
        if len(codes) >= MIN_CHARACTERS:
            found = True
            yield codes
    if not found and not (names and BESIDE_TEXTS.issuperset(names)):
        raise UserError(
            f"--decontaminate {path}: no text of {MIN_CHARACTERS} characters or more was found; it has "
            f"{', '.join(map(repr, names)) or 'no rows'}, and texts are looked for in: {', '.join(fields)}. "
            "Rename the column of the texts, or leave the file out"
        )


def texts_of(path: Path, fields: Iterable[str], names: dict[str, None]) -> Iterator[str]:
    """Yield the texts of a file, and add the names of its fields to `names`."""
    parts = (block for block, _ in blocks.cut(path, blocks.LARGEST_TASK, 0))
    records = (record for block in parts for record in reading.read_block(block, reading.stop))
    if lines.suffix(path) == ".txt":
        names["text"] = None
        yield from sentences(records)
        return
    for record in records:
        names.update(dict.fromkeys(record.values))
        yield from texts_in(record.values, fields)


@dataclass(frozen=True)
class Grams:
    """The runs of one width of many texts.

    `hashes` (runs,) uint64 ascending, `owners` (runs,) the text of each, `sizes` (texts,) the distinct runs of each.
    """

    width: int
    hashes: np.ndarray
    owners: np.ndarray
    sizes: np.ndarray

    @functools.cached_property
    def maybe(self) -> np.ndarray:
        """Tells at once of most runs that no text has them (2 ** FILTER_BITS,)."""
        found = np.zeros(2**FILTER_BITS, dtype=bool)
        found[self.hashes >> np.uint64(64 - FILTER_BITS)] = True
        return found

    @classmethod
    def of(cls, width: int, texts: Sequence[np.ndarray]) -> "Grams":
        """Return the runs of texts given as codes."""
        runs = [np.unique(gram_hashes(codes, width)) for codes in texts]
        hashes, sizes = np.concatenate(runs), np.array([len(run) for run in runs])
        order = np.argsort(hashes, kind="stable")
        return cls(width, hashes[order], np.repeat(np.arange(len(runs)), sizes)[order], sizes)

    def contained(self, codes: np.ndarray) -> bool:
        """Tell whether a document has `MIN_SHARE` of the runs of one of the texts."""
        runs = gram_hashes(codes, self.width)
        runs = np.unique(runs[self.maybe[runs >> np.uint64(64 - FILTER_BITS)]])
        if not len(runs):
            return False
        first, last = (np.searchsorted(self.hashes, runs, side=side) for side in ("left", "right"))
        if not (last > first).any():
            return False
        owners = np.concatenate([self.owners[a:b] for a, b in zip(first, last, strict=True) if b > a])
        found, counts = np.unique(owners, return_counts=True)
        return bool((counts >= MIN_SHARE * self.sizes[found]).any())


@dataclass(frozen=True)
class Index:
    """All evaluation texts, by the width of the runs they are found by."""

    texts: int
    grams: tuple[Grams, ...]

    @classmethod
    def read(cls, paths: Sequence[str], text_field: str = "text") -> "Index":
        """Return the index of all texts in files of any format that the corpus is read from.

        Texts are looked for in `FIELDS` and in `text_field`. Raises `UserError` for a file that has none.
        """
        fields = tuple(dict.fromkeys([*FIELDS, text_field.lower()]))
        found: dict[int, list[np.ndarray]] = {}
        for path in blocks.sources(paths):
            for codes in evaluation_texts(path, fields):
                found.setdefault(min(WIDTH, len(codes)), []).append(codes)
        if not found:
            raise UserError(
                f"--decontaminate {' '.join(paths)}: no text of {MIN_CHARACTERS} characters or more was found"
            )
        return cls(sum(map(len, found.values())), tuple(Grams.of(width, texts) for width, texts in found.items()))

    def contaminates(self, text: str) -> bool:
        """Tell whether a document contains an evaluation text, or half of the runs of one."""
        codes = ngrams.codes(plain(text))
        return any(grams.contained(codes) for grams in self.grams)

    def save(self, path: Path) -> None:
        """Write the index, whole or not at all."""
        arrays = {f"{g.width}.{name}": getattr(g, name) for g in self.grams for name in ("hashes", "owners", "sizes")}
        files.write_atomically(path, lambda file: np.savez(file.buffer, texts=self.texts, **arrays))  # type: ignore[attr-defined]

    @classmethod
    def load(cls, path: Path) -> "Index":
        """Return a saved index."""
        with np.load(path) as saved:
            widths = sorted({int(name.split(".")[0]) for name in saved.files if name != "texts"})
            parts = []
            for width in widths:
                hashes, owners, sizes = (saved[f"{width}.{name}"] for name in ("hashes", "owners", "sizes"))
                parts.append(Grams(width, hashes, owners, sizes))
            return cls(int(saved["texts"]), tuple(parts))
