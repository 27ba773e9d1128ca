"""One forward pass a text: without padding where the suite knows the layers, else on padded batches of like lengths."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finbert2 import encoder, packing, runtime

if TYPE_CHECKING:
    import torch

Answer = tuple[Sequence["torch.Tensor"], "torch.Tensor | None"]


def forward(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], batch_tokens: int, layer: int | None = None
) -> "Iterator[tuple[list[int], Sequence[torch.Tensor], torch.Tensor | None]]":
    """Yield (places, logits, [CLS] vectors of the layer if one is named), in fp32 on the CPU, by batches.

    `model` is a sequence or token classifier, or an exported one. The logits of a place are (labels,), of a tagger
    (its tokens or more, labels); vectors are (places, width).
    """
    import torch

    lengths = [len(row) for row in ids]
    packed = isinstance(model, torch.nn.Module) and packing.can_pack_layers(model.config)
    batches = (
        encoder.batches(encoder.longest_first(lengths), lengths, len(ids), batch_tokens) if packed
        else encoder.padded_batches(lengths, batch_tokens, unmasked=not isinstance(model, torch.nn.Module))
    )  # fmt: skip
    for places in batches:
        rows = [ids[place] for place in places]
        with torch.inference_mode(), runtime.autocast():
            logits, vectors = read_packed(model, rows, layer) if packed else read_padded(model, tokenizer, rows, layer)
        yield places, logits, None if vectors is None else vectors.float().cpu()


def read_packed(model: Any, rows: list[list[int]], layer: int | None) -> Answer:
    """Return logits and [CLS] vectors of texts laid end to end; a classifier's last layer is computed for [CLS] alone.

    The model's own attention is left as it is, so that others may go on using it.
    """
    base, tagger = model.base_model, "TokenClassification" in type(model).__name__
    features = packing.lay(rows, packing.position_start(model.config))
    features = {name: value.to(model.device) for name, value in features.items()}
    firsts = features["cu_seq_lens_q"][:-1].long()
    wanted, vectors = None if layer is None else layer % (model.config.num_hidden_layers + 1), None
    for number, states in enumerate(packing.states(base, features, firsts_only=not tagger)):
        if number == wanted:
            vectors = states if len(states) == len(firsts) else states[firsts]
    if tagger:
        return model.classifier(states).float().cpu().split([len(row) for row in rows]), vectors
    states = states.unsqueeze(1)  # (texts, 1, width): all that a pooler and a head look at
    logits = model.classifier(states if base.pooler is None else base.pooler(states))
    return list(logits.float().cpu()), vectors


def read_padded(model: Any, tokenizer: Any, rows: list[list[int]], layer: int | None) -> Answer:
    """Return the same by the model's own forward on a padded batch."""
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    output = model(**batch.to(model.device), output_hidden_states=layer is not None)
    return list(output.logits.float().cpu()), None if layer is None else output.hidden_states[layer][:, 0]
