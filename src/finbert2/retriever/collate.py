"""From groups to the tensors of a batch, columns laid end to end without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finbert2 import packing
from finbert2.retriever.batches import Group

if TYPE_CHECKING:
    import torch


@dataclass
class Collator:
    """Turns groups into the columns query, positive, negative, the texts of each laid end to end without padding.

    The negatives of a row's group follow those of the row before.
    """

    tokenizer: Any
    query_max_len: int
    passage_max_len: int
    position_start: int = 0

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return for every column `<column>_input_ids`, `…_position_ids` (1, tokens), `…_cu_seq_lens_q` (texts + 1,).

        `label` holds what the loss wants to know besides: `in_batch` (queries,) and, if any group has a teacher's
        scores, `teacher` (queries, group), NaN where there is none.
        """
        batch = self.column("query", [group.query for group in groups], self.query_max_len)
        batch |= self.column("positive", [group.passages[0] for group in groups], self.passage_max_len)
        negatives = [text for group in groups for text in group.passages[1:]]
        if negatives:
            batch |= self.column("negative", negatives, self.passage_max_len)
        return {**batch, "label": labels(groups)}

    def column(self, name: str, texts: list[str], max_length: int) -> dict[str, "torch.Tensor"]:
        """Return the tensors of one column under its name."""
        ids = self.tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        return {f"{name}_{key}": value for key, value in packing.lay(ids, self.position_start).items()}


def labels(groups: Sequence[Group]) -> dict[str, "torch.Tensor"]:
    """Return `in_batch` and, where there are any, the teacher's scores."""
    import torch

    found = {"in_batch": torch.tensor([group.in_batch for group in groups])}
    if any(group.scores for group in groups):
        none = (float("nan"),) * len(groups[0].passages)
        found["teacher"] = torch.tensor([group.scores or none for group in groups])
    return found
