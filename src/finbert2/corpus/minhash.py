"""datatrove's MinHash signatures over character n-grams, since Chinese has no blanks to split words at."""

import re
import unicodedata

import numpy as np
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig

# 14 buckets of 8 hashes find pairs above a Jaccard similarity of (1/14)^(1/8) = 0.72 (datatrove's own default).
CONFIG = MinhashConfig(n_grams=4, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
IGNORED = re.compile(r"[\W_]+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def shingles(text: str, n: int) -> np.ndarray:
    """Return the distinct hashed character n-grams (grams, 1) of a text in uint64, blanks and punctuation left out.

    A text shorter than n is one shingle by itself: equal short texts still meet, different ones never do.
    """
    plain = IGNORED.sub("", unicodedata.normalize("NFKC", text).lower()) or text
    codes = np.frombuffer(plain.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    width = min(n, len(codes))
    hashes = np.zeros(len(codes) - width + 1, dtype=np.uint64)
    for offset in range(width):  # a polynomial in 2^64, one multiplication a place instead of one hash call a gram
        hashes = hashes * MULTIPLIER + codes[offset : len(codes) - width + 1 + offset]
    hashes ^= hashes >> np.uint64(
        29
    )  # the low bits of a polynomial know only the last characters: mix the high ones in
    return np.unique(hashes * MULTIPLIER >> np.uint64(3)).reshape(-1, 1)


class CharacterMinhash(MinhashDedupSignature):
    """Stage 1 of MinHash with `shingles` in place of n-grams of words."""

    def __init__(self, output_folder: str) -> None:
        # "zho" only keeps datatrove from loading a word tokenizer that would not be used.
        super().__init__(output_folder, config=CONFIG, language="zho")

    def get_shingles(self, text: str) -> np.ndarray:
        """Return the hashed n-grams (grams, 1) of a text."""
        return shingles(text, self.config.n_grams)
