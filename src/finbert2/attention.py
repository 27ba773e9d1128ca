"""Attention inside the segments of a packed row, as one backend of transformers' `AttentionInterface`."""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "packed"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    lengths: list[int] | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output (1, tokens, heads, width) of segments laid end to end, none seeing another.

    `query`, `key`, `value` are (1, heads, tokens, width). The segments are told by their `lengths`, which add up to
    the tokens, or as sentence-transformers tells them, by the ends `cu_seq_lens_q` (segments + 1,) from 0. There is no
    mask: what does not belong together is never multiplied. On CUDA this is PyTorch's variable-length flash kernel,
    elsewhere one call a segment. That kernel has no dropout, so there is none anywhere (it would also keep a CPU off
    its fast path).
    """
    if lengths is None:
        assert cu_seq_lens_q is not None, "packed attention needs the segments of the row"
        lengths = cu_seq_lens_q.diff().tolist()
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return varlen(query, key, value, lengths, scaling), None
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in parts]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int], scaling: float
) -> torch.Tensor:
    """Return the same by `torch.nn.attention.varlen` (bf16 or fp16, no dropout)."""
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    ends = ends.pin_memory().to(query.device, non_blocking=True)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, width)
    longest = max(lengths)
    out = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scaling)
    assert isinstance(out, torch.Tensor)
    return out.unsqueeze(0)


def register() -> str:
    """Make the backend known to transformers and return its name for `attn_implementation`."""
    AttentionInterface.register(NAME, packed_attention)
    return NAME
