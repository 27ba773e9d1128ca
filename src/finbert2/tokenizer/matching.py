"""Where words occur in a corpus and which of them a leftmost-longest matcher takes: on arrays, not on strings.

A corpus is one array of code points, documents set apart by line feeds. All occurrences of all words are found once, by
walking a trie from every place at the same time; whatever is asked afterwards (which words are taken if only these are
there, who their neighbours are) is arithmetic on those places.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from finbert2 import ngrams

FIRST, LAST = 0x4E00, 0x9FFF  # the CJK ideographs that words are made of
BLOCK = 2**22  # places walked at a time
LONGEST_RUN = 1024  # a longer run of Chinese is cut: it costs a step for each of its tokens


@dataclass(frozen=True)
class Text:
    """A corpus as arrays; `sources` says which kind of text each document is."""

    codes: np.ndarray  # (characters,) uint16: code points, those beyond the basic plane 0xFFFF
    starts: np.ndarray  # (documents,) int64: where each document begins
    sources: np.ndarray  # (documents,) int64

    def documents_of(self, places: np.ndarray) -> np.ndarray:
        """Return the number of the document that each place lies in."""
        return np.searchsorted(self.starts, places, side="right") - 1


def encode(texts: Sequence[str], sources: Sequence[int] | None = None) -> Text:
    """Return texts as arrays."""
    parts = [codes_of(text + "\n") for text in texts]
    codes = np.concatenate(parts) if parts else np.zeros(0, np.uint16)
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    starts = np.concatenate([np.zeros(min(1, len(parts)), np.int64), ends[:-1]])
    return Text(codes, starts, np.zeros(len(parts), np.int64) if sources is None else np.asarray(sources, np.int64))


def codes_of(text: str) -> np.ndarray:
    """Return a text's code points (characters,) as uint16; one beyond the basic plane is 0xFFFF."""
    return np.minimum(ngrams.codes(text), 0xFFFF).astype(np.uint16)


def is_chinese(codes: np.ndarray) -> np.ndarray:
    """Tell for each code point whether it is one that words are made of."""
    return (codes >= FIRST) & (codes <= LAST)


def runs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of Chinese begin and end, long ones cut."""
    edges = np.diff(is_chinese(codes).astype(np.int8), prepend=0, append=0)
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    pieces = -(-(ends - begins) // LONGEST_RUN)
    if (pieces > 1).any():
        nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        begins, ends = np.repeat(begins, pieces) + nth * LONGEST_RUN, np.repeat(ends, pieces)
        ends = np.minimum(ends, begins + LONGEST_RUN)
    return begins, ends


class Trie:
    """Words as numbered nodes: an edge is (node × 65536 + code) in a sorted array for each depth."""

    def __init__(self, words: Sequence[str]) -> None:
        self.edges: list[np.ndarray] = []  # for each depth, (nodes,) int64, sorted: a node's number is its edge's place
        self.words: list[np.ndarray] = []  # for each depth, (nodes,) int32: the word that ends there, or -1
        numbers = {word: number for number, word in enumerate(words)}
        parents = {"": 0}
        for depth in range(1, max(map(len, words), default=0) + 1):
            prefixes = {word[:depth] for word in words if len(word) >= depth}
            keys = {(parents[prefix[:-1]] << 16) + min(ord(prefix[-1]), 0xFFFF): prefix for prefix in prefixes}
            order = sorted(keys)
            parents = {keys[key]: node for node, key in enumerate(order)}
            self.edges.append(np.array(order, np.int64))
            self.words.append(np.array([numbers.get(keys[key], -1) for key in order], np.int32))

    def walk(self, codes: np.ndarray, begin: int, end: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """Yield for each depth (places, words): the words of that length that begin at a place in begin … end."""
        places = np.arange(begin, end)
        nodes = np.zeros(len(places), np.int64)
        for depth, (edges, words) in enumerate(zip(self.edges, self.words, strict=True)):
            inside = places + depth < len(codes)
            places, nodes = places[inside], nodes[inside]
            keys = (nodes << 16) + codes[places + depth]
            nodes = np.minimum(np.searchsorted(edges, keys), len(edges) - 1)
            found = edges[nodes] == keys
            places, nodes = places[found], nodes[found]
            ending = words[nodes] >= 0
            yield places[ending], words[nodes[ending]]


@dataclass(frozen=True)
class Occurrences:
    """Every place where one of `words` stands, overlaps included; shorter words first."""

    text: Text
    words: list[str]
    lengths: np.ndarray  # (words,) int64
    places: np.ndarray  # (occurrences,) int64
    found: np.ndarray  # (occurrences,) int32: the word's number

    def counts(self) -> np.ndarray:
        """Return how often each word stands in the text, overlaps included."""
        return np.bincount(self.found, minlength=len(self.words))

    def document_counts(self) -> np.ndarray:
        """Return in how many documents each word stands."""
        pairs = np.unique(self.found.astype(np.int64) * len(self.text.starts) + self.text.documents_of(self.places))
        return np.bincount(pairs // max(1, len(self.text.starts)), minlength=len(self.words))


def find(text: Text, words: Sequence[str]) -> Occurrences:
    """Return every occurrence of words in a text."""
    trie = Trie(words)
    levels: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in trie.edges]
    for begin in range(0, len(text.codes), BLOCK):
        for depth, pair in enumerate(trie.walk(text.codes, begin, min(begin + BLOCK, len(text.codes)))):
            levels[depth].append(pair)
    pairs = [pair for level in levels for pair in level]
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int32))
    places, found = (np.concatenate([e, *(pair[side] for pair in pairs)]) for side, e in enumerate(empty))
    return Occurrences(text, list(words), np.array(list(map(len, words)), np.int64), places, found)


def select(occurrences: Occurrences, kept: np.ndarray) -> Occurrences:
    """Return the occurrences of the words that are `kept` (words,) alone."""
    numbers = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)[occurrences.found]
    words = [occurrences.words[number] for number in np.flatnonzero(kept)]
    stand = numbers >= 0
    return Occurrences(occurrences.text, words, occurrences.lengths[kept], occurrences.places[stand], numbers[stand])


def take(occurrences: Occurrences, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (places, words) that a leftmost-longest matcher takes when it knows the words that are `alive`.

    This is how the `tokenizers` library matches added tokens. All runs of Chinese are walked at the same time, each
    step taking one token of every run that is not at its end.
    """
    text = occurrences.text
    best = np.full(len(text.codes), -1, np.int32)
    known = alive[occurrences.found]
    best[occurrences.places[known]] = occurrences.found[known]  # longer words come later and overwrite shorter ones
    steps = np.ones(len(text.codes), np.uint8)
    matched = best >= 0
    steps[matched] = occurrences.lengths[best[matched]]
    cursors, ends = runs(text.codes)
    taken = [np.zeros(0, np.int64)]
    while len(cursors):
        step = steps[cursors]
        taken.append(cursors[step > 1])
        cursors = cursors + step
        going = cursors < ends
        cursors, ends = cursors[going], ends[going]
    places = np.concatenate(taken)
    return places, best[places]
