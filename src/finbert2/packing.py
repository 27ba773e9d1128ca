"""Texts laid end to end without padding, as the suite's attention and sentence-transformers' pooling read them."""

import itertools
import types
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

KINDS = {"bert", "roberta", "xlm-roberta"}  # every layer of these is plain attention over the whole text
OF_ROBERTA = {"camembert", "data2vec-text", "ibert", "longformer", "mpnet"}  # which count positions as it does


def can_pack(model: "SentenceTransformer") -> bool:
    """Tell whether a model's layers and pooling read texts laid end to end."""
    kinds = [type(module).__name__ for module in model]
    return kinds[:2] == ["Transformer", "Pooling"] and can_pack_layers(config_of(model))


def can_pack_layers(config: Any) -> bool:
    """Tell whether `states` knows the layers of a model with this configuration."""
    return config.model_type in KINDS and not config.is_decoder  # which looks back only


def pools_prompt(model: "SentenceTransformer") -> bool:
    """Tell whether the tokens of a prompt are pooled like the text's own, as they are but for INSTRUCTOR's kind."""
    pooling: Any = model[1]
    return pooling.include_prompt


def pack(model: "SentenceTransformer") -> None:
    """Make a model's forward take what `lay` returns, by `sentence_vectors`, besides the padded batches of before.

    It is the forward and not a function beside it, so that DDP and autocast, which wrap the forward, are part of it.
    """
    padded = model.forward

    def forward(self: Any, features: dict[str, Any], **others: Any) -> dict[str, Any]:
        if "cu_seq_lens_q" not in features:
            return padded(features, **others)
        return features | {"sentence_embedding": sentence_vectors(self, features)}

    model.forward = types.MethodType(forward, model)  # type: ignore[method-assign]


def config_of(model: "SentenceTransformer") -> Any:
    """Return the configuration of a model's encoder."""
    transformer: Any = model[0]
    return transformer.auto_model.config


def position_start(config: Any) -> int:
    """Return the position of a text's first token: RoBERTa's families count from behind the padding's number."""
    of_roberta = "roberta" in config.model_type or config.model_type in OF_ROBERTA
    return config.pad_token_id + 1 if of_roberta else 0


def positions(config: Any, default: int = 512) -> int:
    """Return how many tokens of a text a model has positions for, `default` where they have no number."""
    found = getattr(config, "max_position_embeddings", None) or default  # None or, as XLNet has it, -1
    return found - position_start(config) if found > 0 else default


def lay(texts_ids: Sequence[Sequence[int]], start: int = 0) -> dict[str, "torch.Tensor"]:
    """Return `input_ids`, `position_ids` (1, tokens) and the ends `cu_seq_lens_q` (texts + 1,) of tokenised texts."""
    import torch

    positions = [torch.arange(start, start + len(ids)) for ids in texts_ids]
    return {
        "input_ids": torch.tensor([*itertools.chain(*texts_ids)]).unsqueeze(0),
        "position_ids": torch.cat(positions).unsqueeze(0),
        "cu_seq_lens_q": torch.tensor([0, *itertools.accumulate(map(len, texts_ids))], dtype=torch.int32),
    }


def joined(features: Sequence[dict[str, "torch.Tensor"]]) -> dict[str, "torch.Tensor"]:
    """Return several of what `lay` returns, laid end to end as one."""
    import torch

    ends, total = [torch.zeros_like(features[0]["cu_seq_lens_q"][:1])], 0
    for one in features:
        ends.append(one["cu_seq_lens_q"][1:] + total)
        total += one["input_ids"].shape[1]
    laid = {name: torch.cat([one[name] for one in features], dim=1) for name in ("input_ids", "position_ids")}
    return laid | {"cu_seq_lens_q": torch.cat(ends)}


def sentence_vectors(model: "SentenceTransformer", features: dict[str, "torch.Tensor"]) -> "torch.Tensor":
    """Return the vectors (texts, width) of `features`, as `lay` returns them, by a model that `can_pack`."""
    transformer, pooling, *others = (module for module in model)
    firsts_only = pooling.pooling_mode == "cls"
    last = deque(states(transformer.auto_model, features, firsts_only), maxlen=1).pop()
    found: dict[str, Any] = features | {"token_embeddings": last.unsqueeze(0)}
    if firsts_only:
        found["cls_token_embeddings"] = last
    for module in (pooling, *others):
        found = module(found)
    return found["sentence_embedding"]


def states(encoder: Any, features: dict[str, "torch.Tensor"], firsts_only: bool = False) -> Iterator["torch.Tensor"]:
    """Yield the states (tokens, width) of the embeddings and then of each layer of a BERT or RoBERTa encoder.

    `features` are what `lay` returns, on the encoder's device. With `firsts_only` the last layer is computed for the
    first token of each text alone (texts, width): of twelve layers that saves a fourteenth, of four a fifth.
    """
    import numpy as np

    from finbert2.attention import Segments, apply_layer

    segments = Segments.of_ends(features["cu_seq_lens_q"])
    hidden = encoder.embeddings(input_ids=features["input_ids"], position_ids=features["position_ids"])
    yield hidden[0]
    *layers, last = encoder.encoder.layer
    for layer in layers:
        hidden = apply_layer(layer, hidden, segments)
        yield hidden[0]
    if firsts_only:
        firsts = features["cu_seq_lens_q"][:-1].long()
        yield apply_layer(last, hidden, segments, firsts, Segments(np.ones(len(firsts), dtype=np.int64)))[0]
    else:
        yield apply_layer(last, hidden, segments)[0]
