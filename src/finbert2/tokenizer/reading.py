"""The corpus as the tokenizer stage reads it: what it holds, and a sample of it in memory."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from finbert2 import files, malformed
from finbert2.errors import UserError

MOST_SOURCES = 20  # the others, smaller ones, are taken together
OTHER = "other"
SKIPPED_NAMED = 20


@dataclass
class Skipped:
    """Records that were passed over: how many, and place and fault of the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        """Count a record."""
        self.count += 1
        if len(self.first) < SKIPPED_NAMED:
            self.first.append(message)


@dataclass(frozen=True)
class Corpus:
    """Paths and how their records are read; every pass reads the files anew."""

    paths: list[str]
    text_field: str = "text"
    source_field: str = "source"
    skip_errors: bool = False

    def documents(self, skipped: Skipped | None = None) -> Iterator[tuple[str, str]]:
        """Yield (source, text). A document's source is its field of that name, else the path it was found by.

        Raises `UserError` for a record that cannot be read, or counts it in `skipped`.
        """
        bad = skipped or Skipped()
        skip = (lambda reason, message: bad.add(message)) if self.skip_errors else malformed.stop
        for path in self.paths:
            for row in files.read_documents([path], self.text_field, skip):
                text = row.values[self.text_field]
                if "\0" in text:
                    message = f"{row.place} holds a NUL character in {text[:20]!r}: is it a binary file? Give text"
                    if not self.skip_errors:
                        raise UserError(message)
                    bad.add(message)
                    continue
                yield str(row.values.get(self.source_field) or path), text

    def texts(self) -> Iterator[str]:
        """Yield the texts alone."""
        return (text for _, text in self.documents())


@dataclass
class Survey:
    """What a first pass over a corpus finds."""

    documents: int = 0
    lines: int = 0
    characters: int = 0
    sources: Counter[str] = field(default_factory=Counter)  # name → characters
    skipped: Skipped = field(default_factory=Skipped)

    def names(self) -> list[str]:
        """Return the names under which sources are counted, the largest first."""
        largest = [name for name, _ in sorted(self.sources.items(), key=lambda item: (-item[1], item[0]))]
        if len(largest) <= MOST_SOURCES:
            return largest
        return [*[name for name in largest if name != OTHER][: MOST_SOURCES - 1], OTHER]

    def characters_of(self, name: str) -> int:
        """Return the characters counted under one of the `names`."""
        own = set(self.names())
        rest = sum(count for source, count in self.sources.items() if source not in own)
        return self.sources[name] + (rest if name == OTHER else 0)


def survey(corpus: Corpus) -> Survey:
    """Return what the corpus holds; raise `UserError` if there is nothing in it or something that cannot be read."""
    found = Survey()
    for source, text in corpus.documents(found.skipped):
        found.documents += 1
        found.lines += text.count("\n") + 1
        found.characters += len(text)
        found.sources[source] += len(text)
    if not found.documents:
        more = f" ({found.skipped.count} records could not be read)" if found.skipped.count else ""
        raise UserError(f"{', '.join(corpus.paths)}: no text was found to learn words from{more}")
    return found


@dataclass(frozen=True)
class Sample:
    """Documents held in memory."""

    texts: list[str]
    sources: list[int]  # of each text: the number of its name
    names: list[str]
    share: float  # of the corpus's documents


def draw(corpus: Corpus, found: Survey, max_characters: int, seed: int) -> Sample:
    """Return a sample of about `max_characters` of the corpus: all of it if it is smaller, at least one document."""
    share = min(1.0, max_characters / found.characters)
    chance = random.Random(seed)
    limit = max(share, min(chance.random() for _ in range(found.documents)))
    chance.seed(seed)
    numbers: dict[str, Any] = {name: number for number, name in enumerate(found.names())}
    texts, sources = [], []
    for source, text in corpus.documents():
        if chance.random() <= limit:
            texts.append(text)
            sources.append(numbers.get(source, len(numbers) - 1))
    return Sample(texts, sources, list(numbers), share)
