"""InfoNCE on sentence-transformers' losses, and the collator that feeds them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finbert2.retriever.draw import Group

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


def cosine(queries: "torch.Tensor", passages: "torch.Tensor") -> "torch.Tensor":
    """Return cosines (queries, passages) in fp32: at temperature 0.01 the rounding of bf16 would be worth 0.4."""
    import torch
    from torch.nn.functional import normalize

    with torch.autocast(queries.device.type, enabled=False):
        return normalize(queries.float(), dim=-1) @ normalize(passages.float(), dim=-1).T


def info_nce(model: "SentenceTransformer", temperature: float, mini_batch_tokens: int) -> "torch.nn.Module":
    """Return InfoNCE over the batch's positives and negatives, gathered from all processes with gradient.

    -log exp(cos(q, p⁺) / τ) / Σ_p exp(cos(q, p) / τ). A `mini_batch_tokens` other than 0 is GradCache's: the same
    gradient for a second forward pass, in the memory of that many tokens.
    """
    import torch
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )

    many = torch.distributed.is_available() and torch.distributed.is_initialized()
    options: dict[str, Any] = {"scale": 1 / temperature, "similarity_fct": cosine, "gather_across_devices": many}
    if mini_batch_tokens:
        return CachedMultipleNegativesRankingLoss(model, mini_batch_num_tokens=mini_batch_tokens, **options)
    return MultipleNegativesRankingLoss(model, **options)


def pack(model: "SentenceTransformer") -> None:
    """Make the encoder read columns without padding, as `Collator` lays them out.

    sentence-transformers does so by itself where FlashAttention-2 is installed; with the suite's attention its pooling
    and its GradCache read the same layout on any device.
    """
    from finbert2 import attention

    transformer: Any = model[0]
    transformer.auto_model.set_attn_implementation(attention.register())


def position_start(model: "SentenceTransformer") -> int:
    """Return the position of a text's first token: RoBERTa's families count from behind the padding's number."""
    transformer: Any = model[0]
    config = transformer.auto_model.config
    return config.pad_token_id + 1 if "roberta" in config.model_type else 0


@dataclass
class Collator:
    """Turns groups into the columns query, positive, negative, the texts of each laid end to end without padding.

    The negatives of a row's group follow those of the row before: InfoNCE does not ask whose they are.
    """

    tokenizer: Any
    query_max_len: int
    passage_max_len: int
    position_start: int = 0

    def __call__(self, groups: Sequence[Group]) -> dict[str, "torch.Tensor"]:
        """Return for each column `<column>_input_ids`, `…_position_ids` (1, tokens), `…_cu_seq_lens_q` (texts + 1,)."""
        batch = self.column("query", [group.query for group in groups], self.query_max_len)
        batch |= self.column("positive", [group.passages[0] for group in groups], self.passage_max_len)
        negatives = [text for group in groups for text in group.passages[1:]]
        return batch | self.column("negative", negatives, self.passage_max_len) if negatives else batch

    def column(self, name: str, texts: list[str], max_length: int) -> dict[str, "torch.Tensor"]:
        """Return the tensors of one column under its name."""
        import torch

        texts_ids = self.tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        ends = torch.tensor([0, *itertools.accumulate(map(len, texts_ids))], dtype=torch.int32)
        positions = [torch.arange(self.position_start, self.position_start + len(ids)) for ids in texts_ids]
        return {
            f"{name}_input_ids": torch.tensor([*itertools.chain(*texts_ids)]).unsqueeze(0),
            f"{name}_position_ids": torch.cat(positions).unsqueeze(0),
            f"{name}_cu_seq_lens_q": ends,
        }
