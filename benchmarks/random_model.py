"""A BERT with random weights, for measurements of speed and memory."""

from pathlib import Path
from typing import Any

SHAPES = {"tiny": (2, 128, 2), "small": (4, 256, 4), "base": (12, 768, 12)}  # layers, width, heads


def make(kind: Any, folder: Path, shape: str, texts: list[str], vocabulary: int = 8000, **config: Any) -> Any:
    """Return a model of a class of transformers with weights from seed 0, saved with a tokenizer of the characters."""
    import torch
    from transformers import BertConfig

    from finbert2.tokenizer.base_tokenizer import train_base

    tokenizer = train_base(texts, vocabulary)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    layers, width, heads = SHAPES[shape]
    torch.manual_seed(0)
    model = kind(BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * width, **config,
    ))  # fmt: skip
    model.save_pretrained(folder)
    return model


def labeler(folder: Path, shape: str, texts: list[str], labels: int, length: int, vocabulary: int = 8000) -> Any:
    """Return such a classifier as a labeler that reads the heads of texts, saved in the folder."""
    from transformers import AutoTokenizer, BertForSequenceClassification

    from finbert2.labeler.model import Labeler, Settings

    model = make(BertForSequenceClassification, folder, shape, texts, vocabulary, num_labels=labels)
    made = Labeler(model, AutoTokenizer.from_pretrained(folder), Settings("classification", length, "head"))
    made.save(folder)
    return made
