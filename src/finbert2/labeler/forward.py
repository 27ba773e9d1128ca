"""One forward pass a text: without padding where the suite knows the layers, else on padded batches of like lengths."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finbert2 import encoder, packing
from finbert2.labeler import packed

if TYPE_CHECKING:
    import torch

Answer = tuple[Sequence["torch.Tensor"], "torch.Tensor | None"]


def forward(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], batch_tokens: int, layer: int | None = None
) -> "Iterator[tuple[list[int], Sequence[torch.Tensor], torch.Tensor | None]]":
    """Yield (places, logits, [CLS] vectors of the layer if one is named), in fp32 on the CPU, by batches.

    It is for callers inside `runtime.inference`: a context held by a generator would reach into theirs.

    `model` is a sequence or token classifier, or an exported one. The logits of a place are (labels,), of a tagger
    (its tokens or more, labels); vectors are (places, width).
    """
    import torch

    lengths = [len(row) for row in ids]
    can_pack = isinstance(model, torch.nn.Module) and packing.can_pack_layers(model.config)
    batches = (
        encoder.batches(encoder.longest_first(lengths), lengths, len(ids), batch_tokens) if can_pack
        else encoder.padded_batches(lengths, batch_tokens, unmasked=not isinstance(model, torch.nn.Module))
    )  # fmt: skip
    for places in batches:
        rows = [ids[place] for place in places]
        logits, vectors = read_packed(model, rows, layer) if can_pack else read_padded(model, tokenizer, rows, layer)
        yield places, logits, None if vectors is None else vectors.float().cpu()


def read_packed(model: Any, rows: list[list[int]], layer: int | None) -> Answer:
    """Return logits and [CLS] vectors of texts laid end to end."""
    features = packing.lay(rows, packing.position_start(model.config))
    found, vectors = packed.logits(model, {name: value.to(model.device) for name, value in features.items()}, layer)
    found = found.float().cpu()
    return found.split([len(row) for row in rows]) if packed.is_tagger(model) else list(found), vectors


def read_padded(model: Any, tokenizer: Any, rows: list[list[int]], layer: int | None) -> Answer:
    """Return the same by the model's own forward on a padded batch."""
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    output = model(**batch.to(model.device), output_hidden_states=layer is not None)
    return list(output.logits.float().cpu()), None if layer is None else output.hidden_states[layer][:, 0]
