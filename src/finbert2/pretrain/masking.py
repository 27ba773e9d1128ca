"""Which tokens are hidden: whole words, the same number a row, from a counter instead of a random state."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

IGNORED = -100
WORDS, REPLACEMENT, RANDOM_ID = 0, 1, 2  # the purposes that random numbers are drawn for


def counter_random(seed: int, epoch: int, rows: np.ndarray, places: np.ndarray, purpose: int) -> np.ndarray:
    """Return uint64 random numbers, broadcast over `rows` and `places`, that depend on nothing but the arguments.

    SplitMix64's finaliser (Steele et al. 2014) of a counter: any worker, rank or resumed run draws the same masks.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    key = mix(np.array([seed, epoch, purpose], dtype=np.uint64).cumsum(dtype=np.uint64) * step)
    start = mix(rows.astype(np.uint64) * step ^ key[0]) ^ key[1]
    return mix(start + places.astype(np.uint64) * step ^ key[2])


def mix(x: np.ndarray) -> np.ndarray:
    """Return the 64-bit mixing function of SplitMix64, elementwise."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Masker:
    """Whole-word masking at a ratio; of the masked tokens 80 % become [MASK], 10 % any token, 10 % stay (BERT §3.1)."""

    mask_id: int
    special_ids: tuple[int, ...]
    vocabulary: int
    ratio: float
    seed: int

    def __call__(self, ids: np.ndarray, starts: np.ndarray, epoch: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Mask a batch: ids and word starts (rows, length), row numbers (rows,).

        Returns `input_ids` (rows, length), `places` and `labels` (rows, predictions): the masked places and their
        tokens. There are round(ratio × length) slots a row, so shapes never change; the few that no whole word
        fits into have the label -100.
        """
        places, chosen = self.choose(ids, starts, epoch, rows)
        labels = np.where(chosen, np.take_along_axis(ids, places, 1), IGNORED)
        input_ids = ids.copy()
        hidden = self.replace(np.take_along_axis(ids, places, 1), places, epoch, rows)
        np.put_along_axis(input_ids, places, np.where(chosen, hidden, np.take_along_axis(ids, places, 1)), 1)
        return {"input_ids": input_ids, "places": places, "labels": labels}

    def choose(
        self, ids: np.ndarray, starts: np.ndarray, epoch: int, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return masked places (rows, predictions) and which of these slots are used.

        Words are put in a random order and taken until the slots are full; a word that fits only in part is not taken.
        """
        words = np.cumsum(starts, axis=1)  # (rows, length), the word's number in its row
        draw = counter_random(self.seed, epoch, rows[:, None], words, WORDS) >> np.uint64(16)
        draw = np.where(np.isin(ids, self.special_ids), np.uint64(2**48 - 1), draw)
        keys = (draw << np.uint64(16)) | np.arange(ids.shape[1], dtype=np.uint64)  # words in random order, then places
        slots = max(1, round(self.ratio * ids.shape[1]))
        keys = np.sort(np.partition(keys, slots, axis=1)[:, : slots + 1], axis=1)
        drawn = keys >> np.uint64(16)
        # The first key beyond the slots belongs to the word that does not fit whole.
        chosen = (drawn[:, :slots] != drawn[:, slots:]) & (drawn[:, :slots] != np.uint64(2**48 - 1))
        return (keys[:, :slots] & np.uint64(0xFFFF)).astype(np.int64), chosen

    def replace(self, originals: np.ndarray, places: np.ndarray, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Return what masked tokens are replaced by (rows, predictions)."""
        dice = counter_random(self.seed, epoch, rows[:, None], places, REPLACEMENT) % np.uint64(10)
        ordinary = counter_random(self.seed, epoch, rows[:, None], places, RANDOM_ID) % np.uint64(self.vocabulary)
        return np.where(dice < 8, self.mask_id, np.where(dice == 8, ordinary.astype(np.int64), originals))


@dataclass(frozen=True)
class Collator:
    """Packed rows → one masked batch, all rows laid end to end."""

    masker: Masker
    for_retromae: bool = False

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch that `BertForMaskedLM` and `RetroMAE` of this package take.

        With N = rows × length: `input_ids` and `position_ids` (1, N), `masked_places` and `labels`
        (rows × predictions,), `lengths`, the segments' lengths; for RetroMAE also the clean `target_ids` and
        `word_ids` (rows, length) and `draws` (rows,).
        """
        ids = np.stack([item["ids"] for item in items])  # (rows, length)
        starts = np.stack([item["starts"] for item in items])
        rows = np.array([item["row"] for item in items])
        epoch = items[0]["epoch"]
        masked = self.masker(ids, starts, epoch, rows)
        lengths = [length for item in items for length in item["lengths"]]
        offsets = (np.arange(len(items)) * ids.shape[1])[:, None]
        batch: dict[str, Any] = {
            "input_ids": torch.from_numpy(masked["input_ids"]).view(1, -1),
            "position_ids": torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])).view(1, -1),
            "masked_places": torch.from_numpy((masked["places"] + offsets).ravel()),
            "labels": torch.from_numpy(masked["labels"].ravel()),
            "lengths": lengths,
        }
        if self.for_retromae:
            draws = counter_random(self.masker.seed, epoch, rows, np.zeros(1), purpose=RANDOM_ID + 1) >> np.uint64(1)
            batch |= {
                "target_ids": torch.from_numpy(ids),
                "word_ids": torch.from_numpy(np.cumsum(starts, axis=1)),
                "draws": torch.from_numpy(draws.astype(np.int64)),
            }
        return batch
