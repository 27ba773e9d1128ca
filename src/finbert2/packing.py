"""Texts laid end to end without padding, as the suite's attention and sentence-transformers' pooling read them."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

KINDS = {"bert", "roberta", "xlm-roberta"}  # every layer of these is plain attention over the whole text


def can_pack(model: "SentenceTransformer") -> bool:
    """Tell whether a model's layers and pooling read texts laid end to end."""
    return [type(module).__name__ for module in model][:2] == ["Transformer", "Pooling"] and kind(model) in KINDS


def pack(model: "SentenceTransformer") -> None:
    """Make the encoder read texts without padding.

    sentence-transformers does so by itself where FlashAttention-2 is installed; with the suite's attention its pooling
    and its GradCache read the same layout on any device.
    """
    from finbert2 import attention

    transformer: Any = model[0]
    transformer.auto_model.set_attn_implementation(attention.register())


def kind(model: "SentenceTransformer") -> str:
    """Return the architecture of a model's encoder, by transformers' name."""
    transformer: Any = model[0]
    return transformer.auto_model.config.model_type


def position_start(model: "SentenceTransformer") -> int:
    """Return the position of a text's first token: RoBERTa's families count from behind the padding's number."""
    transformer: Any = model[0]
    config = transformer.auto_model.config
    return config.pad_token_id + 1 if "roberta" in config.model_type else 0


def lay(texts_ids: Sequence[Sequence[int]], start: int = 0) -> dict[str, "torch.Tensor"]:
    """Return `input_ids`, `position_ids` (1, tokens) and the ends `cu_seq_lens_q` (texts + 1,) of tokenised texts."""
    import torch

    positions = [torch.arange(start, start + len(ids)) for ids in texts_ids]
    return {
        "input_ids": torch.tensor([*itertools.chain(*texts_ids)]).unsqueeze(0),
        "position_ids": torch.cat(positions).unsqueeze(0),
        "cu_seq_lens_q": torch.tensor([0, *itertools.accumulate(map(len, texts_ids))], dtype=torch.int32),
    }
