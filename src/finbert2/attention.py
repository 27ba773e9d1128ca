"""Attention inside the segments of a packed row, as one backend of transformers' `AttentionInterface`."""

import contextlib
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

NAME = "packed"


class Segments:
    """The segments of a batch laid end to end: the windows of all its packed rows, padding included.

    `lengths` (segments,) add up to the tokens. Where they end on the device is worked out once a batch, not once a
    layer; an object and not a list, so that `torch.compile` does not compile anew for every batch.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = lengths
        self.longest = int(lengths.max())
        self.on_device: dict[torch.device, torch.Tensor] = {}

    @classmethod
    def of_ends(cls, ends: torch.Tensor) -> "Segments":
        """Return the segments between `ends` (segments + 1,), the first of which is 0."""
        made = cls(ends.diff().cpu().numpy())
        made.on_device[ends.device] = ends
        return made

    @property
    def firsts(self) -> np.ndarray:
        """Place of each segment's first token (segments,)."""
        return np.cumsum(self.lengths) - self.lengths

    def positions(self) -> np.ndarray:
        """Return each token's place in its segment (tokens,)."""
        return np.arange(int(self.lengths.sum())) - np.repeat(self.firsts, self.lengths)

    def numbers(self) -> np.ndarray:
        """Return the number of each token's segment (tokens,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def restricted_to(self, places: np.ndarray) -> "Segments":
        """Return how many of the sorted `places` each segment holds, as segments of their own."""
        return Segments(np.bincount(self.numbers()[places], minlength=len(self.lengths)))

    def ends(self, device: torch.device) -> torch.Tensor:
        """Return [0, end of the first segment, …] (segments + 1,), int32, as the variable-length kernels want it."""
        if device not in self.on_device:
            ends = torch.from_numpy(np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32))
            self.on_device[device] = to_device(ends, device)
        return self.on_device[device]


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device without waiting for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@torch.compiler.disable
def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    *,
    segments: Segments,
    query_segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output (1, tokens, heads, width) of segments laid end to end, none seeing another.

    `query`, `key`, `value` are (1, heads, tokens, width). There may be fewer queries than keys: `query_segments` then
    says how many each segment has. There is no mask: what does not belong together is never multiplied. On CUDA this is
    PyTorch's variable-length flash kernel where it takes them, elsewhere one call a segment. That kernel has no
    dropout, so there is none anywhere (it would also keep a CPU off its fast path).
    """
    asking = query_segments or segments
    if query.is_cuda and flash_takes(query.shape[-1], query.dtype, torch.cuda.get_device_capability(query.device)):
        return varlen(query, key, value, asking, segments, scaling), None
    lengths = segments.lengths.tolist()
    parts = (query.split(asking.lengths.tolist(), dim=2), key.split(lengths, dim=2), value.split(lengths, dim=2))
    outputs = [attend(q, k, v, None, scaling) for q, k, v in zip(*parts, strict=True)]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def flash_takes(width: int, dtype: torch.dtype, capability: tuple[int, int]) -> bool:
    """Tell whether the flash kernel takes heads of `width` in this type on a GPU of this compute capability.

    It does from Ampere (8.0) on, so not on a T4 or V100, and neither TinyBERT's heads of 26 nor any above 256.
    """
    return dtype in (torch.bfloat16, torch.float16) and capability >= (8, 0) and width % 8 == 0 and width <= 256


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Return scaled dot-product attention (…, queries, width), on a CPU in fp32 where a gradient is wanted.

    `mask` is fp32, added to the scores. PyTorch's bf16 backward on a CPU compiles a kernel for every new pair of
    lengths, and packed rows bring new pairs for ever: measured by hand, a layer took 55 ms for 2,500 tokens (19 once
    compiled), and takes 15 in fp32 (4 heads of 64, two cores with AMX).
    """
    dtype, wide = query.dtype, query.requires_grad and not query.is_cuda
    if wide:
        query, key, value = query.float(), key.float(), value.float()
    elif mask is not None:
        mask = mask.to(dtype)
    with torch.autocast(query.device.type, enabled=False) if wide else contextlib.nullcontext():
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return attended.to(dtype)


def varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, asking: Segments, segments: Segments, scaling: float
) -> torch.Tensor:
    """Return the same by `torch.nn.attention.varlen` (bf16 or fp16, no dropout)."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, width)
    out = varlen_attn(
        q, k, v, asking.ends(query.device), segments.ends(query.device), asking.longest, segments.longest,
        scale=scaling,
    )  # fmt: skip
    assert isinstance(out, torch.Tensor)
    return out.unsqueeze(0)


def apply_layer(
    layer: Any,
    hidden: torch.Tensor,
    segments: Segments,
    kept: torch.Tensor | None = None,
    kept_segments: Segments | None = None,
) -> torch.Tensor:
    """Return the output (1, tokens, width) of a BERT or RoBERTa layer for `hidden` (1, tokens, width).

    With `kept` (kept,) it is that of some tokens, `kept_segments` many of each segment: queries come from these alone,
    keys and values from all. That needs no attention set on the model, which so remains as it was for others.
    """
    if layer.gradient_checkpointing and layer.training and kept is None:  # as transformers does in the layer's own call
        return checkpoint(layer_output, layer, hidden, segments, use_reentrant=False)
    return layer_output(layer, hidden, segments, kept, kept_segments)


def layer_output(
    layer: Any,
    hidden: torch.Tensor,
    segments: Segments,
    kept: torch.Tensor | None = None,
    kept_segments: Segments | None = None,
) -> torch.Tensor:
    """Return the same, all that is needed for the gradient held in memory."""
    attention = layer.attention
    inner = attention.self
    wanted = hidden if kept is None else hidden[:, kept]
    # Once for the three, and once back: autocast would do it for each, a twentieth of BERT-base's step on a CPU.
    device = hidden.device.type
    narrow = hidden.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else hidden
    asking = narrow if kept is None else narrow[:, kept]
    heads = (1, -1, inner.num_attention_heads, inner.attention_head_size)
    query, key, value = (
        part(states).view(heads).transpose(1, 2)
        for part, states in ((inner.query, asking), (inner.key, narrow), (inner.value, narrow))
    )
    attended, _ = packed_attention(
        inner, query, key, value, None, inner.scaling, segments=segments, query_segments=kept_segments
    )
    states = attention.output(attended.reshape(wanted.shape), wanted)
    return layer.output(layer.intermediate(states), states)


def register() -> str:
    """Make the backend known to transformers and return its name for `attn_implementation`."""
    AttentionInterface.register(NAME, packed_attention)
    return NAME
