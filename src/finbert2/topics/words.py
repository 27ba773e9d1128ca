"""A title's words: jieba, the user dictionary and the encoder's own domain words, as spans of one text."""

import bisect
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from finbert2 import files, segment

Span = tuple[int, int]

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
LETTER = re.compile(r"[^\W\d_]")
IN_RUN = re.compile(r"(?<=[a-z0-9])(?=[a-z0-9])")
FREQUENCY = re.compile(r"\s+\d+(\s+[a-z]+)?$")


class Folding(dict[int, str]):
    """A `str.translate` table to lower case and half width that never changes a text's length: offsets stay good."""

    def __missing__(self, code: int) -> str:
        folded = unicodedata.normalize("NFKC", chr(code)).lower()
        # A lone surrogate (a broken file's leavings) is no UTF-8 and would stop jieba; a blank takes its place.
        self[code] = " " if 0xD800 <= code <= 0xDFFF else folded if len(folded) == 1 else chr(code)
        return self[code]


FOLDING = Folding()


def fold(text: str) -> str:
    """Return the text in lower case and half width, character by character, as long as it was."""
    return text.translate(FOLDING)


def read_words(path: str | Path | None) -> list[str]:
    """Return the folded entries of a list, one a line (`word`, or jieba's `word frequency tag`), none twice.

    A line that starts with "# " is a comment; a tokenizer's leavings (`##…`, `[UNK]…`) are no words.
    """
    if path is None:
        return []
    lines = (line.strip() for _, line in files.read_lines(path) if not line.startswith(("# ", "##")))
    entries = (fold(FREQUENCY.sub("", line)) for line in lines)
    return list(dict.fromkeys(entry for entry in entries if entry and "[unk]" not in entry))


def digest(words: Iterable[str]) -> str:
    """Return a short text that changes with a word list."""
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:16]


def merge(length: int, base: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Yield spans that cover 0…length without gap: at each place the longest one that starts there.

    `base` covers the text itself; where a longer span has eaten the head of a base span, its tail stands alone.
    Linear: each list is walked once.
    """
    longest: dict[int, int] = {}
    for start, end in others:
        longest[start] = max(end, longest.get(start, 0))
    place = 0
    for _, end in base:
        while place < end:
            stop = max(end, longest.get(place, 0))
            yield place, stop
            place = stop
    if place < length:  # never met with rjieba; an incomplete base must still lose nothing
        yield place, length


def occurrences(text: str, words: dict[str, list[str]]) -> Iterator[Span]:
    """Yield at each place the longest of the words (by first character) there, none that cuts a run of Latin or digits.

    Linear: a place is compared with the words that begin with its character.
    """
    cuts = {place.start() for place in IN_RUN.finditer(text)}
    for start, first in enumerate(text):
        for word in words.get(first, ()):
            end = start + len(word)
            if text.startswith(word, start) and cuts.isdisjoint((start, end)):
                yield start, end
                break


def holds_one(span: Span, others: Sequence[Span]) -> bool:
    """Tell whether one of the others, sorted and apart, lies within the span."""
    first = bisect.bisect_left(others, (span[0], span[0]))
    return first < len(others) and others[first][1] <= span[1]


class Segmenter:
    """Cuts titles into pieces that join to the title again; jieba is built on first use, as it cannot be pickled."""

    def __init__(self, dictionary: Sequence[str] = (), stopwords: Sequence[str] = (), tokenizer: Any = None) -> None:
        self.dictionary, self.stopwords = list(dictionary), frozenset(stopwords)
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab() if tokenizer is not None and tokenizer.is_fast else {}
        # Only whole Chinese words tell more than jieba: `##` pieces, single characters and [UNK] do not.
        self.domain = {number: word for word, number in vocabulary.items() if len(word) > 1 and HAN.fullmatch(word)}
        self.jieba: Any = None
        self.uncut: dict[str, list[str]] = {}  # entries that jieba cuts all the same, by first character, longest first

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"jieba": None}

    def base_spans(self, text: str) -> list[Span]:
        """Return jieba's spans, dictionary included; they cover the text.

        jieba ends a word at blanks, brackets, slashes and the like, so it would never keep "*st华微" or "a b" whole.
        """
        if self.jieba is None:
            self.jieba = segment.segmenter(self.dictionary)
            self.uncut = {}
            for word in sorted(self.dictionary, key=len, reverse=True):
                if len(self.jieba.cut(word)) > 1:
                    self.uncut.setdefault(word[0], []).append(word)
        spans = [(start, end) for _, start, end in self.jieba.tokenize(text)]
        whole = list(occurrences(text, self.uncut)) if self.uncut else []
        if not whole:
            return spans
        ends = sorted({end for _, end in spans} | {start for start, _ in whole})
        return list(merge(len(text), list(pairwise([0, *ends])), whole))

    def domain_spans(self, texts: list[str]) -> list[list[Span]]:
        """Return for each text the spans of the tokenizer's own Chinese words."""
        if not self.domain or not texts:
            return [[] for _ in texts]
        coded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(coded["input_ids"], coded["offset_mapping"], strict=True)
        return [[s for i, s in zip(ids, spans, strict=True) if i in self.domain] for ids, spans in pairs]

    def cut(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
        """Yield for each text its pieces and its parts, cut from the text as it is: each list joined is the text.

        Parts are jieba's and the dictionary's; in the pieces those that a domain word unites are one. A domain word
        that holds a stop word (行业周报) unites nothing: as one piece it would slip through the stop list.
        """
        folded = [fold(text) for text in texts]
        for text, plain, domain in zip(texts, folded, self.domain_spans(folded), strict=True):
            base = self.base_spans(plain)
            stops = [span for span in base if plain[slice(*span)] in self.stopwords]
            united = [span for span in domain if not holds_one(span, stops)]
            spans = merge(len(text), base, united), merge(len(text), base, [])
            pieces, parts = ([text[start:end] for start, end in one] for one in spans)
            yield pieces, parts

    def pieces(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Yield for each text its pieces: joined they are the text."""
        return (pieces for pieces, _ in self.cut(texts))

    def words_and_parts(self, texts: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
        """Return for each text the words that can name a topic, and the finer ones that titles are compared by.

        Titles about 光伏设备 and 光伏组件 share 光伏 though a domain word may hide it. Stop words are left out of both.
        """
        both = [(self.kept(pieces), self.kept(parts)) for pieces, parts in self.cut(texts)]
        return [words for words, _ in both], [parts for _, parts in both]

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """Return for each text the words that can name a topic."""
        return self.words_and_parts(texts)[0]

    def kept(self, pieces: Iterable[str]) -> list[str]:
        """Return the pieces that are words and no stop words, folded."""
        folded = (fold(piece).strip() for piece in pieces)
        return [piece for piece in folded if is_word(piece) and piece not in self.stopwords]

    def digests(self) -> dict[str, str]:
        """Return short texts that change with the dictionary, the stop list and the tokenizer's words."""
        lists = {"dictionary": self.dictionary, "stopwords": self.stopwords, "tokenizer_words": self.domain.values()}
        return {name: digest(entries) for name, entries in lists.items()}


def is_word(piece: str) -> bool:
    """Tell whether a folded piece can name a topic: two characters or more, with a letter among them."""
    return len(piece) > 1 and LETTER.search(piece) is not None
