"""The arms of pretrain_step.py: what their batches look like, which model takes them, and how a step is taken."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import BertConfig

from finbert2 import attention, runtime
from finbert2.attention import Segments
from finbert2.pretrain.collator import Collator
from finbert2.pretrain.data import Windows
from finbert2.pretrain.masking import IGNORED, Masker
from finbert2.pretrain.model import BertForMaskedLM
from finbert2.pretrain.packing import PackedRows, Place
from finbert2.pretrain.retromae import RetroMAE

SHAPES = {
    "tiny": (2, 64, 2, 16),
    "small": (4, 256, 4, 16),
    "base": (12, 768, 12, 32),
}  # layers, width, heads, documents
RATIO = 0.15


@dataclass(frozen=True)
class Arm:
    """A way to train: what batches look like, which model takes them, in which precision."""

    batches: str  # random, grouped or packed
    multiple: int = 1  # padded to a multiple of
    stock: bool = False
    bf16: bool = True
    all_logits: bool = False
    whole_last_layer: bool = False
    plain_head: bool = False
    fused: bool = True
    decoder: float = 0.0
    compiled: bool = False


ARMS = {
    "original": Arm("random", stock=True, bf16=False, fused=False),
    "original_bf16": Arm("random", stock=True, fused=False),
    "stock_fp32": Arm("grouped", stock=True, bf16=False),
    "stock": Arm("grouped", stock=True),
    "stock_64": Arm("grouped", multiple=64, stock=True),
    "ours": Arm("packed"),
    "ours_fp32": Arm("packed", bf16=False),
    "ours_random_padded": Arm("random"),
    "ours_grouped_padded": Arm("grouped"),
    "ours_all_logits": Arm("packed", all_logits=True),
    "ours_whole_last_layer": Arm("packed", whole_last_layer=True),
    "ours_plain_head": Arm("packed", plain_head=True),
    "ours_unfused_adamw": Arm("packed", fused=False),
    "ours_compiled": Arm("packed", compiled=True),
    "retromae": Arm("packed", decoder=1.0),
    "retromae_half": Arm("packed", decoder=0.5),
}


def padded(windows: Windows, chosen: np.ndarray, pad_id: int, multiple: int = 1) -> dict[str, Any]:
    """Return windows side by side, padded to the longest, in the form that `PackedRows` gives a batch."""
    lengths = windows.lengths[chosen]
    shape = (len(chosen), -(-int(lengths.max()) // multiple) * multiple)
    ids, starts = np.full(shape, pad_id, dtype=np.int64), np.ones(shape, dtype=bool)
    for row, (window, length) in enumerate(zip(chosen, lengths, strict=True)):
        end = int(windows.ends[window])
        ids[row, :length], starts[row, :length] = windows.ids[end - length : end], windows.starts[end - length : end]
    segments = [part for length in lengths for part in (length, shape[1] - length) if part]
    real = [kind for length in lengths for part, kind in ((length, True), (shape[1] - length, False)) if part]
    return {
        "ids": ids, "starts": starts, "rows": chosen, "epoch": 0, "ratio": RATIO, "lengths": np.array(segments),
        "sources": np.zeros(len(segments)), "real": np.array(real),
    }  # fmt: skip


def batches(arm: Arm, windows: Windows, tokenizer: Any, documents: int, steps: int) -> Iterator[dict[str, Any]]:
    """Yield batches of about the same number of real tokens, whatever their layout."""
    random = np.random.default_rng(0)
    masker = Masker(tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer), 0)
    collator = Collator(masker, arm.decoder, arm.whole_last_layer or arm.all_logits)
    count = len(windows.lengths)
    rows = PackedRows(windows, 512, tokenizer.pad_token_id, 0)
    if arm.batches == "grouped":  # as transformers' LengthGroupedSampler: sorted within 50 batches
        pool = random.permutation(count)[: min(50, count // documents) * documents]
        groups = pool[np.argsort(-windows.lengths[pool])].reshape(-1, documents)
    packed = max(1, round(documents * float(windows.lengths.mean()) / 512))
    for step in range(steps):
        if arm.batches == "packed":
            item = rows.__getitems__([Place(0, int(r), RATIO) for r in random.integers(0, len(rows), packed)])
        else:
            if arm.batches == "grouped":  # evenly from the longest to the shortest: a token's cost depends on it
                chosen = groups[(2 * step + 1) * len(groups) // (2 * steps)]
            else:
                chosen = random.permutation(count)[:documents]
            item = padded(windows, chosen, tokenizer.pad_token_id, arm.multiple)
        yield dense(collator(item), item) if arm.stock else collator(item)


def dense(batch: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return the batch as the stock class wants it: labels and an attention mask (rows, length)."""
    shape = item["ids"].shape
    labels = torch.full((shape[0] * shape[1],), IGNORED)
    labels[batch["kept_places"][batch["masked_places"]]] = batch["labels"]
    mask = np.concatenate([np.full(n, r) for n, r in zip(item["lengths"], item["real"], strict=True)]).reshape(shape)
    return {
        "input_ids": batch["input_ids"].view(shape), "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "labels": labels.view(shape), "origin": batch["origin"],
    }  # fmt: skip


class AllLogits(BertForMaskedLM):
    """Ours without the masked-only head: the logits of all tokens are computed, as the stock class does."""

    def forward(
        self, input_ids: Any, position_ids: Any, segments: Segments, masked_places: Any, labels: Any, **_: Any
    ) -> Any:
        """Return the loss."""
        hidden = self.encode(input_ids, position_ids, segments, None, None)
        every = torch.full((len(hidden),), IGNORED, device=hidden.device)
        every[masked_places] = labels
        return {"loss": torch.nn.functional.cross_entropy(self.cls(hidden).float(), every)}


class PlainHead(BertForMaskedLM):
    """Ours without the chunked cross-entropy."""

    def forward(
        self, input_ids: Any, position_ids: Any, segments: Segments, masked_places: Any, labels: Any, kept_places: Any,
        kept_segments: Any, **_: Any,
    ) -> Any:  # fmt: skip
        """Return the loss."""
        hidden = self.encode(input_ids, position_ids, segments, kept_places, kept_segments)
        return {"loss": torch.nn.functional.cross_entropy(self.cls(hidden[masked_places]).float(), labels)}


def build(arm: Arm, shape: tuple[int, int, int, int], tokenizer: Any) -> Any:
    """Return the arm's model from seed 0, without dropout in every arm."""
    layers, width, heads, _ = shape
    config = BertConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    if arm.stock:
        return transformers.BertForMaskedLM._from_config(config, attn_implementation="sdpa").to(runtime.device())
    kind = (
        RetroMAE if arm.decoder else AllLogits if arm.all_logits else PlainHead if arm.plain_head else BertForMaskedLM
    )
    model = kind._from_config(config, attn_implementation=attention.register())
    return model.to(runtime.device())


def moved(value: Any) -> Any:
    """Return a batch on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(runtime.device())
    if isinstance(value, dict):
        return {name: moved(part) for name, part in value.items()}
    return [moved(part) for part in value] if isinstance(value, list) else value


def stepper(arm: Arm, model: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that takes one training step on a batch."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, fused=arm.fused, foreach=False if not arm.fused else None
    )
    called = torch.compile(model) if arm.compiled else model

    def step(batch: dict[str, Any]) -> None:
        inputs = {name: value for name, value in batch.items() if name != "origin"}
        with torch.autocast(runtime.device(), torch.bfloat16) if arm.bf16 else contextlib.nullcontext():
            called(**inputs)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step
