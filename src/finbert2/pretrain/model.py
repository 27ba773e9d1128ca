"""Plain BERT for masked-language modelling that computes no more than the loss needs."""

from typing import Any

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import MaskedLMOutput

from finbert2.pretrain.masking import IGNORED


class BertForMaskedLM(transformers.BertForMaskedLM):
    """transformers' class with the same parameters and the same name on disk, fed with packed rows.

    The head runs on the masked places only (it is most of the work of a small model), and the loss is a sum divided
    by the number of predictions of the whole step, so that accumulation and ranks change nothing; the stock class
    takes a mean of its micro-batch (transformers issue 47688).
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        masked_places: torch.Tensor,
        lengths: list[int],
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Return loss and logits (predictions, vocabulary).

        `input_ids` and `position_ids` are (1, tokens); `masked_places` (predictions,) number the tokens; `labels`
        (predictions,) are ids or -100; `lengths` are the segments of the packed row.
        """
        hidden = self.bert(input_ids, position_ids=position_ids, lengths=lengths).last_hidden_state[0]
        logits = self.cls(hidden[masked_places])  # (predictions, vocabulary)
        loss = None if labels is None else summed_loss(logits, labels, num_items_in_batch)
        return MaskedLMOutput(loss=loss, logits=logits)


def summed_loss(logits: torch.Tensor, labels: torch.Tensor, items: torch.Tensor | int | None) -> torch.Tensor:
    """Return the cross-entropy summed over labels that are not -100, divided by `items` (default: their number)."""
    total = cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    count = (labels != IGNORED).sum() if items is None else items
    return total / count
