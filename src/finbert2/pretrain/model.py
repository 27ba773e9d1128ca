"""Plain BERT for masked-language modelling that computes no more than the loss needs."""

from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import MaskedLMOutput

from finbert2.attention import Segments, packed_attention
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
            hidden = layer(hidden, segments=segments)
        return last_layer(last, hidden, segments, kept_places, kept_segments)


def last_layer(
    layer: nn.Module, hidden: torch.Tensor, segments: Segments, kept: torch.Tensor, kept_segments: Segments
) -> torch.Tensor:
    """Return the output (kept, width) of a BERT layer for some tokens of `hidden` (1, tokens, width).

    Those tokens ask, all tokens answer: the rest of the layer's output would be thrown away (MosaicBERT does the same).
    """
    attention: Any = layer.attention
    inner = attention.self
    wanted = hidden[:, kept]  # (1, kept, width)
    heads = (1, -1, inner.num_attention_heads, inner.attention_head_size)
    query, key, value = (
        part(states).view(heads).transpose(1, 2)
        for part, states in ((inner.query, wanted), (inner.key, hidden), (inner.value, hidden))
    )
    attended, _ = packed_attention(
        inner, query, key, value, None, inner.scaling, segments=segments, query_segments=kept_segments
    )
    states = attention.output(attended.reshape(wanted.shape), wanted)
    return layer.output(layer.intermediate(states), states)[0]  # type: ignore[operator]
