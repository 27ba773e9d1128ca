"""Which of the proposed pieces are words: documents, both ends free or agreed on, function words told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finbert2.tokenizer.matching import Occurrences, Text, find, select
from finbert2.tokenizer.segment import edges_of, is_word

# A piece that begins or ends with one of these as a word of its own is a torn clause (“的公司”, “公告称在”); inside
# a word (“自主”, “股权转让”) they are characters like others.
FUNCTION_CHARACTERS = frozenset("的了在是与和及或将被对为从于其之等也又并但而且该此各每某以把向让使由自")
MIN_COUNT = 5
MIN_DOCUMENTS = 3
MIN_AGREEMENT = 0.5  # share of occurrences at whose both ends jieba cuts
MIN_ENTROPY = 2.0  # nats, of the neighbours on the less varied side


@dataclass(frozen=True)
class Filtered:
    """The proposed words that are left, and how many are not."""

    occurrences: Occurrences
    dangling: np.ndarray  # (words,) bool: has a function word at an end
    dropped: dict[str, int]  # by reason

    def without_dangling(self, fixed: frozenset[str]) -> "Filtered":
        """Return the words without those that have a function word at an end and are not `fixed`."""
        kept = ~self.dangling | np.array([word in fixed for word in self.occurrences.words], bool)
        dropped = self.dropped | {"function_word": int((~kept).sum())}
        return Filtered(select(self.occurrences, kept), self.dangling[kept], dropped)


def filter_words(
    text: Text, texts: Sequence[str], proposed: Sequence[str], jieba: Any, fixed: frozenset[str] = frozenset()
) -> Filtered:
    """Return the proposed words that are words, and the `fixed` ones whatever they are.

    A word stands five times and in three documents, and is in jieba's dictionary, or is cut out by jieba in at least
    half of its occurrences, or has so many different neighbours on both sides (branching entropy) that the text itself
    says it is one.
    """
    words = list(dict.fromkeys([*sorted(fixed), *proposed]))
    occurrences = find(text, words)
    rare = (occurrences.counts() < MIN_COUNT) | (occurrences.document_counts() < MIN_DOCUMENTS)
    known = np.array([is_word(jieba, word) for word in words], bool)
    agreed = known | (agreement(occurrences, *edges_of(jieba, texts, text)) >= MIN_AGREEMENT)
    free = np.minimum(branching_entropy(occurrences, before=True), branching_entropy(occurrences, before=False))
    torn = ~rare & ~agreed & (free < MIN_ENTROPY)
    dangling = ~known & np.array([has_dangling_ends(jieba, word) for word in words], bool)
    candidate = np.arange(len(words)) >= len(fixed)
    kept = ~candidate | ~(rare | torn)
    dropped = {"rare": int((rare & candidate).sum()), "torn": int((torn & candidate).sum())}
    return Filtered(select(occurrences, kept), dangling[kept], dropped)


def has_dangling_ends(jieba: Any, word: str) -> bool:
    """Tell whether jieba's first or last word of a piece is a function character."""
    parts = jieba.cut(word)
    return parts[0] in FUNCTION_CHARACTERS or parts[-1] in FUNCTION_CHARACTERS


def agreement(occurrences: Occurrences, edges: np.ndarray, end: int) -> np.ndarray:
    """Return the share of each word's occurrences (words,) with a word edge at both ends, in the text up to `end`.

    A word that does not occur there counts as agreed on.
    """
    seen = occurrences.places < end
    places, found = occurrences.places[seen], occurrences.found[seen]
    both = edges[places] & edges[places + occurrences.lengths[found]]
    counts = np.bincount(found, minlength=len(occurrences.words))
    agreed = np.bincount(found, both, len(occurrences.words))
    return np.where(counts > 0, agreed / np.maximum(counts, 1), 1.0)


def branching_entropy(occurrences: Occurrences, before: bool) -> np.ndarray:
    """Return the entropy in nats of the characters before or after each word (words,); 0 for one that never occurs.

    Jin & Tanaka-Ishii 2006: inside a word the next character is nearly certain, at its end it is not.
    """
    codes, found = occurrences.text.codes, occurrences.found
    places = occurrences.places - 1 if before else occurrences.places + occurrences.lengths[found]
    outside = (places < 0) | (places >= len(codes))
    neighbours = np.where(outside, ord("\n"), codes[np.where(outside, 0, places)]).astype(np.int64)
    pairs, counts = np.unique((found.astype(np.int64) << 16) + neighbours, return_counts=True)
    words = pairs >> 16
    share = counts / np.bincount(words, counts, len(occurrences.words))[words]
    return np.bincount(words, -share * np.log(share), len(occurrences.words))
