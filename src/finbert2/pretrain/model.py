"""Plain BERT for masked-language modelling that computes no more than the loss needs."""

from typing import Any

import torch
import transformers
from transformers.modeling_outputs import MaskedLMOutput

from finbert2.attention import Segments, apply_layer
from finbert2.pretrain.head import summed_loss


class BertForMaskedLM(transformers.BertForMaskedLM):
    """transformers' class with the same parameters and the same name on disk, fed with packed rows.

    Only the masked places go through the last layer and the head (the head is most of the work of a small model). The
    loss is a sum divided by the number of predictions of the whole step, so that accumulation and ranks change
    nothing; the stock class takes a mean of its micro-batch (transformers issue 47688).
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        segments: Segments,
        masked_places: torch.Tensor,
        labels: torch.Tensor,
        kept_places: torch.Tensor | None = None,
        kept_segments: Segments | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Return the loss; there are never logits of all tokens to return.

        `input_ids` and `position_ids` are (1, tokens), `segments` says where documents end. `kept_places` (kept,) are
        the tokens whose last state is wanted and `kept_segments` how many of them each segment has; without them all
        are. `masked_places` (predictions,) number the kept tokens; `labels` (predictions,) are ids or -100.
        """
        hidden = self.encode(input_ids, position_ids, segments, kept_places, kept_segments)
        return MaskedLMOutput(loss=summed_loss(self.cls.predictions, hidden[masked_places], labels, num_items_in_batch))

    def encode(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        segments: Segments,
        kept_places: torch.Tensor | None,
        kept_segments: Segments | None,
    ) -> torch.Tensor:
        """Return the last hidden states of the kept tokens (kept, width)."""
        if kept_places is None or kept_segments is None:
            return self.bert(input_ids, position_ids=position_ids, segments=segments).last_hidden_state[0]
        hidden = self.bert.embeddings(input_ids=input_ids, position_ids=position_ids)
        *layers, last = self.bert.encoder.layer
        for layer in layers:
            hidden = apply_layer(layer, hidden, segments)
        # The rest of the last layer's output would be thrown away (MosaicBERT does the same).
        return apply_layer(last, hidden, segments, kept_places, kept_segments)[0]
