"""Finding documents that contain evaluation texts, so that a model is not tested on what it was trained on."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files
from finbert2.corpus import blocks, reading
from finbert2.corpus.minhash import IGNORED, codes_of, gram_hashes
from finbert2.errors import UserError

# An evaluation text is found by its runs of WIDTH characters; one shorter than that has to occur whole. Below
# MIN_CHARACTERS ("净利润同比增长") it says nothing about where it was taken from.
WIDTH, MIN_CHARACTERS = 13, 10
MIN_SHARE = 0.5  # of an evaluation text's runs: an excerpt or an edited copy counts, a stock phrase does not
FILTER_BITS = 22


def plain(text: str) -> str:
    """Return a text as occurrences are looked for: narrow, lower case, without blanks and punctuation."""
    return unicodedata.normalize("NFKC", IGNORED.sub("", text.lower()))


def texts_in(value: Any) -> Iterator[str]:
    """Yield every string inside a record's value: a row has its texts as fields or as lists of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


@dataclass(frozen=True)
class Grams:
    """The runs of one width of many texts.

    `hashes` (runs,) uint64 ascending, `owners` (runs,) the text of each, `sizes` (texts,) the distinct runs of each;
    `maybe` (2 ** FILTER_BITS,) bool tells at once of most runs that no text has them.
    """

    width: int
    hashes: np.ndarray
    owners: np.ndarray
    sizes: np.ndarray
    maybe: np.ndarray

    @classmethod
    def of(cls, width: int, texts: Sequence[np.ndarray]) -> "Grams":
        """Return the runs of texts given as codes."""
        runs = [np.unique(gram_hashes(codes, width)) for codes in texts]
        hashes, sizes = np.concatenate(runs), np.array([len(run) for run in runs])
        order = np.argsort(hashes, kind="stable")
        maybe = np.zeros(2**FILTER_BITS, dtype=bool)
        maybe[hashes >> np.uint64(64 - FILTER_BITS)] = True
        return cls(width, hashes[order], np.repeat(np.arange(len(runs)), sizes)[order], sizes, maybe)

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
    def read(cls, paths: Sequence[str]) -> "Index":
        """Return the index of all texts in files of any format that the corpus is read from.

        Raises `UserError` if none of them is long enough.
        """
        found: dict[int, list[np.ndarray]] = {}
        for path in blocks.sources(paths):
            for block, _ in blocks.cut(path, blocks.LARGEST_TASK, 0):
                for record in reading.read_block(block, reading.stop):
                    for text in texts_in(record.values):
                        codes = codes_of(plain(text))
                        if len(codes) >= MIN_CHARACTERS:
                            found.setdefault(min(WIDTH, len(codes)), []).append(codes)
        if not found:
            raise UserError(
                f"--decontaminate {' '.join(paths)}: no text of {MIN_CHARACTERS} characters or more was found"
            )
        return cls(sum(map(len, found.values())), tuple(Grams.of(width, texts) for width, texts in found.items()))

    def contaminates(self, text: str) -> bool:
        """Tell whether a document contains an evaluation text, or half of the runs of one."""
        codes = codes_of(plain(text))
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
                maybe = np.zeros(2**FILTER_BITS, dtype=bool)
                maybe[hashes >> np.uint64(64 - FILTER_BITS)] = True
                parts.append(Grams(width, hashes, owners, sizes, maybe))
            return cls(int(saved["texts"]), tuple(parts))
