"""Which words to add: those that save most tokens, given the others.

Counting occurrences × (length − 1) word by word pays twice for what overlaps: 中国人民银行 saves five tokens
beside characters, but only two beside 中国, 人民 and 银行. So all candidates start out as chosen, and round by round
those go whose loss, with all others still there, costs least. The order in which they go, reversed, is the ranking:
every head of the list was chosen by the same rule.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from finbert2.tokenizer.matching import Occurrences, take

# The share of the words that a round drops before it counts anew: while choosing, and while ranking what is chosen.
DROP, DROP_RANKING = 0.15, 0.25


@dataclass(frozen=True)
class Choice:
    """A chosen word."""

    word: str
    occurrences: int  # how often it is taken when all chosen words are there
    tokens_saved: float  # by adding it to the words ranked above it; occurrences weighted by source


def choose(
    occurrences: Occurrences, limit: int, weights: np.ndarray, worth: np.ndarray | None = None,
    published: Collection[str] = (),
) -> list[Choice]:  # fmt: skip
    """Return at most `limit` words, best first; `published` ones are there from the start and are not returned.

    `weights` (sources,) says what a token saved in each source counts (see `source_weights`), `worth` (words,) what
    one saved by each word does.
    """
    words = occurrences.words
    fixed = np.array([word in published for word in words], bool)
    alive = np.ones(len(words), bool)
    removed: list[tuple[int, float]] = []  # (word, what its loss cost), worst first
    final = np.zeros(len(words), np.int64)
    counted = False
    while (left := int((alive & ~fixed).sum())) > 0:
        if left <= limit and not counted:
            final, counted = taken_counts(occurrences, alive, np.ones_like(weights)).astype(np.int64), True
        free = np.flatnonzero(alive & ~fixed)
        losses = cost_of_losing(occurrences, alive, free, taken_counts(occurrences, alive, weights))
        going = min(left - limit, max(1, int(left * DROP))) if left > limit else max(1, int(left * DROP_RANKING))
        prices = losses if worth is None else losses * worth[free]
        order = np.argsort(prices, kind="stable")[:going]
        removed += [(int(free[place]), float(losses[place])) for place in order]
        alive[free[order]] = False
    return [Choice(words[word], int(final[word]), saved) for word, saved in removed[::-1][:limit]]


def taken_counts(occurrences: Occurrences, alive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how often each word is taken (words,), each time weighted by its document's source."""
    places, words = take(occurrences, alive)
    text = occurrences.text
    return np.bincount(words, weights[text.sources[text.documents_of(places)]], len(alive))


def cost_of_losing(occurrences: Occurrences, alive: np.ndarray, free: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return how many tokens more there would be (free words,) without each word, the other ones in its place."""
    words = occurrences.words
    known = {words[number] for number in np.flatnonzero(alive)}
    return counts[free] * np.array([tokens_without(words[number], known) - 1 for number in free])


def tokens_without(word: str, known: Collection[str]) -> int:
    """Return how many tokens a word becomes by leftmost-longest match when it is not known itself."""
    place = tokens = 0
    while place < len(word):
        ends = range(len(word) - (place == 0), place + 1, -1)
        place = next((end for end in ends if word[place:end] in known), place + 1)
        tokens += 1
    return tokens


def source_weights(characters: np.ndarray, smoothing: float) -> np.ndarray:
    """Return what a token saved counts in each source (sources,), 1 on average over the characters.

    A source counts by its share of the characters to the power of `smoothing`, as languages are sampled for
    multilingual models (Conneau & Lample 2019, eq. 1): 1 leaves the corpus as it is, 0 makes all sources count alike.
    """
    share = np.maximum(characters, 1e-9) / characters.sum()  # a source may have nothing in the sample
    wanted = np.where(characters > 0, share**smoothing, 0)
    return wanted / wanted.sum() / share
