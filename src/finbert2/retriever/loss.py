"""InfoNCE on sentence-transformers' losses, and the collator that feeds them."""

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


def info_nce(model: "SentenceTransformer", temperature: float, mini_batch_size: int) -> "torch.nn.Module":
    """Return InfoNCE over the batch's positives and negatives, gathered from all processes with gradient.

    -log exp(cos(q, p⁺) / τ) / Σ_p exp(cos(q, p) / τ). A `mini_batch_size` other than 0 is GradCache's: the same
    gradient for a second forward pass, in the memory of that many texts.
    """
    import torch
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )

    many = torch.distributed.is_available() and torch.distributed.is_initialized()
    options: dict[str, Any] = {"scale": 1 / temperature, "similarity_fct": cosine, "gather_across_devices": many}
    if mini_batch_size:
        return CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch_size, **options)
    return MultipleNegativesRankingLoss(model, **options)


@dataclass
class Collator:
    """Turns groups into the columns query, positive, negative_1 …, each padded to its longest text."""

    tokenizer: Any
    query_max_len: int
    passage_max_len: int

    def __call__(self, groups: Sequence[Group]) -> dict[str, "torch.Tensor"]:
        """Return `<column>_input_ids` (rows, tokens) and its masks for every column."""
        batch = self.column("query", [group.query for group in groups], self.query_max_len)
        for place, texts in enumerate(zip(*(group.passages for group in groups), strict=True)):
            name = f"negative_{place}" if place else "positive"
            batch |= self.column(name, list(texts), self.passage_max_len)
        return batch

    def column(self, name: str, texts: list[str], max_length: int) -> dict[str, "torch.Tensor"]:
        """Return the tensors of one column under its name."""
        encoded = self.tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        return {f"{name}_{key}": value for key, value in encoded.items()}
