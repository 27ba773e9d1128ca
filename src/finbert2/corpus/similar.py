"""Judging candidate pairs: what shares a key of `minhash` is a near copy only if its sketch agrees."""

import numpy as np

from finbert2.corpus.minhash import HASHES, SHORT, Sketch

# What is kept of each document, 212 bytes whatever its length.
RECORD = np.dtype(
    [("exact", "<u8"), ("hashes", "u1", HASHES), ("letters", "<u2", SHORT), ("length", "<u4"), ("period", "<u4")]
)
MIN_JACCARD = 0.62
# A copy with a paragraph added has nearly all of the shorter text, though the union is larger.
MIN_CONTAINED, MIN_JACCARD_CONTAINED = 0.90, 0.50
MIN_EDITED = 6  # a text shorter than this is its own, whatever it resembles
CHARACTERS_AN_EDIT = 8
ANOTHER_WORD = 2  # so many characters replaced in one place are another name, not slips
MAX_ADDED = 0.30
BAND = SHORT // CHARACTERS_AN_EDIT + 1
FAR = 100


def fill(records: np.ndarray, place: int, sketch: Sketch) -> None:
    """Write a sketch into a place of an array of `RECORD`."""
    for name in ("exact", "hashes", "letters", "length", "period"):
        records[name][place] = getattr(sketch, name)


def are_near(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell for pairs of records (pairs,) whether the two documents are nearly the same, bool (pairs,)."""
    near = np.zeros(len(one), dtype=bool)
    short = (one["length"] <= SHORT) & (other["length"] <= SHORT)
    near[short] = are_near_short(one[short], other[short])
    near[~short] = are_near_long(one[~short], other[~short])
    return near


def are_near_long(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell whether 4-grams overlap enough, by the share of hashes that agree, bool (pairs,).

    Of the 8 bits kept of a hash, 1 in 256 agrees by chance (b-bit MinHash, Li and König 2010).
    """
    agree = np.mean(one["hashes"] == other["hashes"], axis=1)
    jaccard = (agree - 1 / 256) / (1 - 1 / 256)
    lengths = np.stack([one["length"], other["length"]]).astype(np.float64)
    contained = jaccard / (1 + jaccard) * lengths.sum(axis=0) / np.maximum(lengths.min(axis=0), 1)
    return (jaccard >= MIN_JACCARD) | (contained >= MIN_CONTAINED) & (jaccard >= MIN_JACCARD_CONTAINED)


def are_near_short(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell whether two short texts are one with slips or with a few characters put before or behind it, bool (pairs,).

    Both have to name the same times; amounts do not count, `normal_form` has made them alike. A run of characters
    replaced as a whole is another company or another subject.
    """
    lengths = np.stack([one["length"], other["length"]]).astype(np.int64)
    shorter, longer = lengths.min(axis=0), lengths.max(axis=0)
    head = common_head(one["letters"], other["letters"], shorter)
    tail = common_tail(one["letters"], other["letters"], lengths)
    edits = distances(one["letters"], other["letters"], lengths[0], lengths[1])
    middle = longer - np.minimum(head + tail, shorter)
    slips = (edits <= np.maximum(1, longer // CHARACTERS_AN_EDIT)) & (shorter >= MIN_EDITED)
    slips &= ~((edits >= ANOTHER_WORD) & (edits == middle) & ~are_shifted(one["letters"], other["letters"], head))
    added = (head + tail >= shorter) & (longer - shorter <= MAX_ADDED * shorter) & (shorter >= MIN_EDITED)
    return (edits == 0) | ((slips | added) & (one["period"] == other["period"]))


def are_shifted(one: np.ndarray, other: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Tell whether the character at a place (pairs,) of one text is the next one of the other, bool (pairs,)."""
    rows, here, there = np.arange(len(one)), np.minimum(place, SHORT - 1), np.minimum(place + 1, SHORT - 1)
    return (one[rows, here] == other[rows, there]) | (one[rows, there] == other[rows, here])


def common_head(one: np.ndarray, other: np.ndarray, shorter: np.ndarray) -> np.ndarray:
    """Return how many characters (pairs,) two texts (pairs, SHORT) begin with alike."""
    differ = np.concatenate([one != other, np.ones((len(one), 1), dtype=bool)], axis=1)
    return np.minimum(differ.argmax(axis=1), shorter)


def common_tail(one: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how many characters (pairs,) two texts (pairs, SHORT) of `lengths` (2, pairs) end with alike."""
    places = np.arange(1, SHORT + 1)
    turned = [
        np.take_along_axis(letters, np.maximum(length[:, None] - places, 0), axis=1)
        for letters, length in zip((one, other), lengths, strict=True)
    ]
    return common_head(turned[0], turned[1], lengths.min(axis=0))


def distances(one: np.ndarray, other: np.ndarray, length_one: np.ndarray, length_other: np.ndarray) -> np.ndarray:
    """Return the edit distance (pairs,) of texts (pairs, SHORT), all pairs at once; `FAR` above `BAND`.

    Levenshtein's recurrence, kept to the diagonals that a distance of `BAND` can reach.
    """
    pairs = len(one)
    result = np.full(pairs, FAR, dtype=np.int64)
    width = 2 * BAND + 1  # column j of row i lies at j - i + BAND
    above = np.full((width + 1, pairs), FAR, dtype=np.int16)
    above[BAND:width] = np.arange(BAND + 1, dtype=np.int16)[:, None]
    end = length_other - length_one + BAND
    reachable = (end >= 0) & (end < width)
    finish(result, above, reachable & (length_one == 0), end)
    for i in range(1, SHORT + 1):
        row = np.full((width + 1, pairs), FAR, dtype=np.int16)
        for place in range(max(0, BAND - i), min(width, SHORT - i + BAND + 1)):
            j = i + place - BAND
            if j == 0:
                row[place] = i
                continue
            replaced = above[place] + (one[:, i - 1] != other[:, j - 1])
            left = row[place - 1] + 1 if place else FAR
            row[place] = np.minimum(np.minimum(replaced, above[place + 1] + 1), left)
        finish(result, row, reachable & (length_one == i), end)
        above = row
    return np.where(result > BAND, FAR, result)


def finish(result: np.ndarray, row: np.ndarray, ready: np.ndarray, end: np.ndarray) -> None:
    """Take over the distances of the pairs whose first text ends with this row."""
    which = np.flatnonzero(ready)
    result[which] = row[end[which], which]
