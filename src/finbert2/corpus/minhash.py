"""What near copies have in common: a normal form, MinHash over its character n-grams, and keys that near copies share.

Chinese has no blanks to split words at, so the n-grams are of characters: 4 in a document, 2 in a short text, where a
single changed character would touch most of the fours. Broder (1997) for MinHash; the keys are the bands of
locality-sensitive hashing, see Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.
"""

import re
import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
import xxhash

from finbert2.ngrams import codes, polynomials

# Up to SHORT characters a text is compared by its edits; from LONG on it is found by 4-grams. In between by both: an
# edit that carries a text over the border then does not hide it.
SHORT, LONG = 48, 40
SHORT_GRAM, LONG_GRAM = 2, 4
HASHES = 100
# Rows of a band: 25 bands of 4 find a Jaccard similarity of 0.6 with probability 0.97 (two edited characters in a
# title of 20), 20 bands of 5 find 0.7 with probability 0.975. What they find too much, `similar` takes back.
SHORT_ROWS, LONG_ROWS = 4, 5

# Kangxi radicals, ⼤ for 大 as PDFs give it, are symbols to \W; NFKC makes characters of them.
IGNORED = re.compile(r"[^\w\u2f00-\u2fd5]+|_+")
SEASON = re.compile(r"[一二三四](?=季)")
DIGIT_OF = {"一": "1", "二": "2", "三": "3", "四": "4"}
# Digits that name a time: those stay, since a report on another quarter is another report. All others are amounts.
AMOUNT = re.compile(r"(?!(?:19|20)\d\d(?!\d))(?<!\d)\d+(?:[.．]\d+)?(?![\d.．]*(?:年|月|日|季|q\d|h\d))(?<![qh]\d)")
PERIOD = re.compile(r"\d+|[上下]半年|半年报|中报|年报")
AMOUNT_MARK = "〇"  # a character that no text has by itself, and no digit

_random = np.random.RandomState(1)  # every process, on every machine, has to hash alike
FACTORS = (_random.randint(0, 2**31, size=(HASHES, 1)) * 2 + 1).astype(np.uint32)
ADDENDS = _random.randint(0, 2**32, size=(HASHES, 1), dtype=np.uint64).astype(np.uint32)
ROW_FACTORS = (_random.randint(0, 2**62, size=HASHES) * 2 + 1).astype(np.uint64)


@dataclass(frozen=True)
class Sketch:
    """What is kept of a document to find and judge its near copies.

    `exact` is a hash of the text as it is; `keys` (bands + 1,) uint64, that hash first, are shared with near copies;
    `hashes` (HASHES,) uint8 agree as often as the 4-grams overlap; `letters` (SHORT,) uint16 and `length` are
    a short text's normal form, `period` a hash of the times it names.
    """

    exact: int
    keys: np.ndarray
    hashes: np.ndarray
    letters: np.ndarray
    length: int
    period: int


def normal_form(text: str) -> str:
    """Return the text as near copies are compared: narrow, lower case, without punctuation, each amount as one mark.

    Copies of a report differ in width, blanks and often in a corrected figure; years, months and quarters stay.
    """
    text = text.lower()
    if "季" in text:
        text = SEASON.sub(lambda found: DIGIT_OF[found[0]], text)
    # Punctuation goes first: without it most texts are in normal form already, and that is seen at once.
    return unicodedata.normalize("NFKC", IGNORED.sub("", AMOUNT.sub(AMOUNT_MARK, text)))


def period_of(normal: str) -> int:
    """Return a hash of the times that a normal form names, in their order; amounts do not count."""
    return zlib.crc32("|".join(PERIOD.findall(normal)).encode())


def gram_hashes(codes: np.ndarray, n: int) -> np.ndarray:
    """Return one hash (characters - n + 1,) uint64 for each run of n characters, all bits mixed (splitmix64's end)."""
    hashes = polynomials(codes, n)
    hashes = (hashes ^ hashes >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ hashes >> np.uint64(32)


def minhashes(grams: np.ndarray) -> np.ndarray:
    """Return the smallest value (HASHES,) uint32 that each of the hash functions takes on the grams."""
    low = grams.astype(np.uint32)
    smallest = np.full(HASHES, 2**32 - 1, dtype=np.uint32)
    for start in range(0, len(low), 512):  # so many at a time stay in the cache
        np.minimum(smallest, (low[start : start + 512] * FACTORS + ADDENDS).min(axis=1), out=smallest)
    return smallest


def band_keys(hashes: np.ndarray, rows: int) -> np.ndarray:
    """Return one key (HASHES / rows,) uint64 for each band of `rows` hashes; bands and row counts never share keys."""
    mixed = hashes.astype(np.uint64) * ROW_FACTORS
    keys = np.add.reduceat(mixed ^ mixed >> np.uint64(31), np.arange(0, HASHES, rows)) + np.uint64(rows)
    keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    return keys ^ keys >> np.uint64(27)


def sketch(text: str) -> Sketch:
    """Return the sketch of a cleaned document."""
    normal = normal_form(text) or text  # nothing but punctuation is compared as it is
    characters = codes(normal)
    length = len(characters)
    exact = int(xxhash.xxh3_64_intdigest(text.encode()))
    hashes, letters, period = np.zeros(HASHES, dtype=np.uint8), np.zeros(SHORT, dtype=np.uint16), 0
    keys = [np.array([exact], dtype=np.uint64)]
    if length <= SHORT:
        letters[:length] = characters ^ characters >> np.uint64(16)
        period = period_of(normal)
        keys.append(band_keys(minhashes(gram_hashes(characters, min(SHORT_GRAM, length))), SHORT_ROWS))
    if length >= LONG:
        smallest = minhashes(gram_hashes(characters, LONG_GRAM))
        hashes = smallest.astype(np.uint8)
        keys.append(band_keys(smallest, LONG_ROWS))
    return Sketch(exact, np.concatenate(keys), hashes, letters, length, period)
