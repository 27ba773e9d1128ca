"""Classifiers and taggers on texts laid end to end: no padding in training and inference, on any device."""

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finbert2 import packing
from finbert2.labeler.features import IGNORED

if TYPE_CHECKING:
    import torch


def is_tagger(model: Any) -> bool:
    """Tell whether a model has a label for every token."""
    return "TokenClassification" in type(model).__name__


def logits(
    model: Any, features: dict[str, "torch.Tensor"], layer: int | None = None
) -> tuple["torch.Tensor", "torch.Tensor | None"]:
    """Return logits (texts, labels), of a tagger (tokens, labels), and a layer's [CLS] vectors (texts, width) if asked.

    `features` are what `packing.lay` returns. A classifier's last layer is computed for [CLS] alone. The model's own
    attention is left as it is, so that others may go on using it.
    """
    base, tagger = model.base_model, is_tagger(model)
    firsts = features["cu_seq_lens_q"][:-1].long()
    wanted, vectors = None if layer is None else layer % (model.config.num_hidden_layers + 1), None
    for number, states in enumerate(packing.states(base, features, firsts_only=not tagger)):
        if number == wanted:
            vectors = states if len(states) == len(firsts) else states[firsts]
    if not tagger:
        states = states.unsqueeze(1)  # (texts, 1, width): all that a pooler and a head look at
        states = states if base.pooler is None else base.pooler(states)
    if hasattr(model, "dropout"):  # RoBERTa's classifier has its own inside
        states = model.dropout(states)
    return model.classifier(states), vectors


def pack(model: Any) -> None:
    """Make a model's forward take what `Collator` makes; `unpack` gives it its own back.

    The output is the one of a padded batch: logits (texts, labels), of a tagger (texts, longest, labels). It is the
    forward and not a function beside it, so that DDP, autocast and adapters, which wrap the forward, are part of it.
    """
    from torch.nn.utils.rnn import pad_sequence
    from transformers.modeling_outputs import SequenceClassifierOutput

    def forward(
        self: Any, input_ids: "torch.Tensor", position_ids: "torch.Tensor", cu_seq_lens_q: "torch.Tensor", **others: Any
    ) -> SequenceClassifierOutput:
        features = {"input_ids": input_ids, "position_ids": position_ids, "cu_seq_lens_q": cu_seq_lens_q}
        found, _ = logits(self, features)
        if is_tagger(self):
            found = pad_sequence(list(found.split(cu_seq_lens_q.diff().tolist())), batch_first=True)
        return SequenceClassifierOutput(logits=found)

    model.forward = types.MethodType(forward, model)


def unpack(model: Any) -> None:
    """Give a model its own forward back, without what `pack` and the Trainer put around it."""
    model.__dict__.pop("forward", None)


class Collator:
    """Lays the texts of a batch end to end; the tags of a tagger's texts are padded, as its logits are."""

    def __init__(self, position_start: int) -> None:
        self.position_start = position_start

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        """Return `input_ids`, `position_ids` (1, tokens), `cu_seq_lens_q` (texts + 1,) and `labels`.

        `labels` are (texts,), of several labels (texts, labels), of tags (texts, longest).
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        labels = [torch.tensor(row["labels"]) for row in rows]
        tags = labels[0].ndim == 1 and not labels[0].is_floating_point()
        together = pad_sequence(labels, batch_first=True, padding_value=IGNORED) if tags else torch.stack(labels)
        return packing.lay([row["input_ids"] for row in rows], self.position_start) | {"labels": together}
