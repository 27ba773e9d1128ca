"""Which tokens are hidden: whole words, the same number a row, from a counter instead of a random state."""

from dataclasses import dataclass

import numpy as np

IGNORED = -100
WORDS, REPLACEMENT, SPANS, VISIBLE, TARGETS = range(5)  # the purposes that random numbers are drawn for
NEVER = np.uint64(2**48 - 1)  # the draw of what must not be chosen


def counter_random(seed: int, epoch: int, rows: np.ndarray, places: np.ndarray, purpose: int) -> np.ndarray:
    """Return uint64 random numbers, broadcast over `rows` and `places`, that depend on nothing but the arguments.

    SplitMix64's finaliser (Steele et al. 2014) of a counter: any worker, rank or resumed run draws the same masks.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    key = mix(np.array([seed, epoch, purpose], dtype=np.uint64).cumsum(dtype=np.uint64) * step)
    start = mix(rows.astype(np.uint64, copy=False) * step ^ key[0]) ^ key[1]
    return mix(start + places.astype(np.uint64, copy=False) * step ^ key[2])


def mix(x: np.ndarray) -> np.ndarray:
    """Return the 64-bit mixing function of SplitMix64, elementwise."""
    x = x ^ (x >> np.uint64(30))  # a new array, which the rest works in
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def unit(draws: np.ndarray) -> np.ndarray:
    """Return uint64 draws as numbers in [0, 1)."""
    return (draws >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class Masker:
    """Whole-word masking; of the masked tokens 80 % become [MASK], 10 % any token, 10 % stay (BERT §3.1).

    `mask_share` and `random_share` are the 80 % and the first 10 %. With `span_words` above 1 runs of words are hidden
    together, geometrically distributed with that mean (SpanBERT §3.1).
    """

    mask_id: int
    special_ids: tuple[int, ...]
    vocabulary: int
    seed: int
    mask_share: float = 0.8
    random_share: float = 0.1
    span_words: float = 1.0

    def __call__(
        self, ids: np.ndarray, starts: np.ndarray, epoch: int, rows: np.ndarray, ratio: float
    ) -> dict[str, np.ndarray]:
        """Mask a batch: ids and word starts (rows, length), row numbers (rows,).

        Returns `input_ids` (rows, length), `places` and `labels` (rows, predictions): the masked places and their
        tokens. There are round(ratio × length) slots a row, so shapes never change; those beyond the ratio of the
        row's ordinary tokens, and the few that no whole word fits into, have the label -100.
        """
        special = self.is_special(ids)
        places, chosen = self.choose(special, starts, epoch, rows, ratio)
        flat = places + (np.arange(len(ids)) * ids.shape[1])[:, None]
        originals = ids.ravel()[flat]
        input_ids = ids.copy()
        input_ids.ravel()[flat] = np.where(chosen, self.replace(originals, places, epoch, rows), originals)
        return {"input_ids": input_ids, "places": places, "labels": np.where(chosen, originals, IGNORED)}

    def is_special(self, ids: np.ndarray) -> np.ndarray:
        """Tell which ids are specials; a look-up is faster than comparing."""
        table = np.zeros(self.vocabulary, dtype=bool)
        table[list(self.special_ids)] = True
        return table[ids]

    def join(self, starts: np.ndarray, special: np.ndarray, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Return where spans begin (rows, length): words joined to their left neighbours, never across a special."""
        draws = counter_random(self.seed, epoch, rows[:, None], np.arange(starts.shape[1]), SPANS)
        after_special = np.roll(special, 1, axis=1)
        return starts & (special | after_special | (unit(draws) < 1 / self.span_words))

    def choose(
        self, special: np.ndarray, starts: np.ndarray, epoch: int, rows: np.ndarray, ratio: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return masked places (rows, predictions) and which of these slots are used.

        Spans of words are put in a random order and taken until they are the ratio of the row's ordinary tokens; a
        word that fits only in part is not taken. At least one token is asked for (as in BERT), so that a short text
        may be met.
        """
        words = np.cumsum(starts, axis=1, dtype=np.uint64)  # (rows, length), the word's number in its row
        spans = np.cumsum(self.join(starts, special, epoch, rows), axis=1) if self.span_words > 1 else words
        keys = counter_random(self.seed, epoch, rows[:, None], spans, WORDS)
        keys &= ~np.uint64(0xFFFF)
        keys[special] = NEVER << np.uint64(16)
        keys |= np.arange(starts.shape[1], dtype=np.uint64)  # spans in random order, then places
        slots = min(max(1, round(ratio * starts.shape[1])), starts.shape[1] - 1)  # a row has a special
        wanted = np.rint(ratio * (~special).sum(axis=1, keepdims=True)).astype(np.int64).clip(1, slots)  # (rows, 1)
        keys = np.sort(np.partition(keys, slots, axis=1)[:, : slots + 1], axis=1)
        places = (keys & np.uint64(0xFFFF)).astype(np.int64)
        taken = np.take_along_axis(words, places, 1)
        # The first key beyond those that are wanted belongs to the word that does not fit whole.
        chosen = (taken != np.take_along_axis(taken, wanted, 1)) & (keys >> np.uint64(16) != NEVER)
        chosen = chosen[:, :slots] & (np.arange(slots) < wanted)
        places = places[:, :slots]
        both = np.sort(places << 1 | chosen, axis=1)  # the model wants them in the order of the row
        return both >> 1, (both & 1).astype(bool)

    def replace(self, originals: np.ndarray, places: np.ndarray, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Return what masked tokens are replaced by (rows, predictions)."""
        draws = counter_random(self.seed, epoch, rows[:, None], places, REPLACEMENT)
        dice = unit(draws)  # the upper bits decide what happens, the lower ones which token comes
        random_ids = (draws % np.uint64(self.vocabulary)).astype(np.int64)
        swapped = np.where(dice < self.mask_share + self.random_share, random_ids, originals)
        return np.where(dice < self.mask_share, self.mask_id, swapped)
