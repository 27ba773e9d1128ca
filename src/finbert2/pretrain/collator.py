"""Packed rows → one masked batch, all rows laid end to end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from finbert2.attention import Segments
from finbert2.pretrain.masking import TARGETS, VISIBLE, Masker, counter_random, unit
from finbert2.pretrain.visible import make_blocks


@dataclass(frozen=True)
class Collator:
    """Masks what `PackedRows` gathered; no tokenizer is in sight.

    With `decoder_targets` above 0 it also makes what RetroMAE wants: that share of the ordinary tokens is predicted by
    the decoder (the paper: all, 1.0). With `whole_last_layer` the last layer's states are kept for all tokens.
    """

    masker: Masker
    decoder_targets: float = 0.0
    whole_last_layer: bool = False

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Return the batch that `BertForMaskedLM` and `RetroMAE` of this package take.

        With N = rows × length: `input_ids` and `position_ids` (1, N), `segments`, `kept_places` (kept,) and
        `kept_segments` (the tokens whose last state is wanted), `masked_places` among them and `labels`
        (rows × predictions,); for RetroMAE also the clean `target_ids` (N,) and `decoder_batch`. `origin` says which
        rows they are.
        """
        ids, numbers, epoch = rows["ids"], rows["rows"], rows["epoch"]
        masked = self.masker(ids, rows["starts"], epoch, numbers, rows["ratio"])
        masked_places = (masked["places"] + (np.arange(len(ids)) * ids.shape[1])[:, None]).ravel()
        segments = Segments(rows["lengths"])
        batch: dict[str, Any] = {
            "input_ids": torch.from_numpy(masked["input_ids"]).view(1, -1),
            "position_ids": torch.from_numpy(segments.positions()).view(1, -1),
            "labels": torch.from_numpy(masked["labels"].ravel()),
            "segments": segments,
            "origin": Origin(epoch, numbers, rows["lengths"], rows["sources"], rows["real"]),
        }
        kept = masked_places
        among_kept = np.arange(len(kept))
        if self.decoder_targets:
            kept = np.union1d(masked_places, segments.firsts)
            batch["target_ids"] = torch.from_numpy(ids.ravel())
            batch["decoder_batch"] = self.for_decoder(rows, segments)
        if self.whole_last_layer:
            kept = np.arange(ids.size)
        else:
            batch["kept_places"] = torch.from_numpy(kept)
            batch["kept_segments"] = segments.restricted_to(kept)
        if kept is not masked_places:
            among_kept = np.searchsorted(kept, masked_places)
        batch["masked_places"] = torch.from_numpy(among_kept)
        if self.decoder_targets:
            batch["decoder_batch"]["kept_firsts"] = torch.from_numpy(np.searchsorted(kept, segments.firsts))
        return batch

    def for_decoder(self, rows: dict[str, Any], segments: Segments) -> dict[str, Any]:
        """Return what RetroMAE's decoder wants.

        `decoder_places` (targets,) are the tokens it predicts and `target_segments` (targets,) the segments they are
        in, `firsts` (segments,) are the [CLS] places, `draws` (segments,) seed the
        visible sets, `blocks` are `make_blocks`', `documents` the segments that are not padding; each pair of
        `word_documents` and `word_tokens` (pairs,) is a document's number among these and a token that it has.
        """
        ids, epoch, seed = rows["ids"], rows["epoch"], self.masker.seed
        ordinary = ~self.masker.is_special(ids)
        words = np.unique(segments.numbers()[ordinary.ravel()] << 32 | ids[ordinary].astype(np.int64))
        if self.decoder_targets < 1:
            draws = unit(counter_random(seed, epoch, rows["rows"][:, None], np.arange(ids.shape[1]), TARGETS))
            least = draws[ordinary].min(initial=1.0)  # a batch of one short text has a target too
            ordinary &= draws <= max(self.decoder_targets, least)
        places = np.flatnonzero(ordinary)
        row, place = np.divmod(segments.firsts, ids.shape[1])
        draws = counter_random(seed, epoch, rows["rows"][row], place, VISIBLE) >> np.uint64(1)
        arrays = {
            "decoder_places": places,
            "target_segments": segments.numbers()[places],
            "firsts": segments.firsts,
            "draws": draws.astype(np.int64),
            "documents": np.flatnonzero(rows["real"]),
            "word_documents": (np.cumsum(rows["real"]) - 1)[words >> 32],
            "word_tokens": words & 0xFFFFFFFF,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()} | {
            "blocks": make_blocks(segments, places, np.cumsum(rows["starts"].ravel()))
        }


@dataclass(frozen=True)
class Origin:
    """Where a batch comes from: epoch, row numbers (rows,), its segments' lengths, sources, and which are real."""

    epoch: int
    rows: np.ndarray
    lengths: np.ndarray
    sources: np.ndarray
    real: np.ndarray

    @property
    def tokens(self) -> int:
        """Tokens of documents, specials counted, padding not."""
        return int(self.lengths[self.real].sum())

    @property
    def squares(self) -> int:
        """Pairs of tokens that attend to one another: what attention costs."""
        return int((self.lengths[self.real].astype(np.int64) ** 2).sum())

    def __str__(self) -> str:
        return f"rows {', '.join(map(str, self.rows.tolist()))} of epoch {self.epoch}"
