"""Near duplicates among labelled texts: MinHash finds candidates, the Jaccard similarity itself decides."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from finbert2 import ngrams

GRAMS = 4  # characters
BANDS, ROWS = 16, 4  # a pair of similarity 0.8 shares a band with probability 1 - (1 - 0.8^4)^16 = 0.9998
SIMILAR = 0.8
BUCKET = 50  # texts of a bucket that a further one is compared with
LONGEST = 20_000  # characters of a text that are looked at


def shingles(text: str) -> np.ndarray:
    """Return the distinct hashed character 4-grams of a text in uint64, blanks left out; a shorter text is one gram."""
    codes = ngrams.codes("".join(text[:LONGEST].split()) or "\0")
    hashes = ngrams.polynomials(codes, min(GRAMS, len(codes)))
    return np.unique((hashes ^ hashes >> np.uint64(29)) * ngrams.GOLDEN)


def bands(grams: np.ndarray) -> list[bytes]:
    """Return the keys under which a text meets its near duplicates: `BANDS` stretches of its MinHash signature."""
    seeds = np.random.default_rng(0).integers(1, 2**63, size=(BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)
    mixed = grams * seeds  # (hashes, grams)
    mixed ^= mixed >> np.uint64(32)
    lowest = (mixed * ngrams.GOLDEN).min(axis=1).reshape(BANDS, ROWS)
    return [bytes([number]) + row.tobytes() for number, row in enumerate(lowest)]


def pairs(texts: Sequence[str], others: Sequence[str] | None = None) -> Iterator[tuple[int, int, float]]:
    """Yield (place, earlier place, Jaccard similarity) of near duplicates among `texts`.

    With `others` the second place is in `others`, and each text is told with its most similar one only.
    """
    buckets: dict[bytes, list[int]] = defaultdict(list)
    known: list[np.ndarray] = []
    for place, text in enumerate(others or ()):
        known.append(shingles(text))
        file_under(buckets, bands(known[-1]), place)
    for place, text in enumerate(texts):
        grams = shingles(text)
        keys = bands(grams)
        candidates = {other for key in keys for other in buckets.get(key, ())}
        found = [(ngrams.jaccard(grams, known[other], SIMILAR), other) for other in sorted(candidates)]
        similar = [(place, other, share) for share, other in found if share >= SIMILAR]
        yield from similar if others is None else sorted(similar, key=lambda pair: -pair[2])[:1]
        if others is None:
            known.append(grams)
            file_under(buckets, keys, place)


def file_under(buckets: dict[bytes, list[int]], keys: Sequence[bytes], place: int) -> None:
    """Add a text to its buckets; a full bucket holds enough of its like already."""
    for key in keys:
        if len(buckets[key]) < BUCKET:
            buckets[key].append(place)


def groups(texts: Sequence[str]) -> list[int]:
    """Return for each text the place of the first text of its group; near duplicates of near duplicates are one."""
    first = list(range(len(texts)))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for place, other, _ in pairs(texts):
        one, two = sorted((root(place), root(other)))
        first[two] = one
    return [root(place) for place in range(len(texts))]
