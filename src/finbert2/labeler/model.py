"""A trained labeler: texts in, labels with probabilities or entities out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import encoder, files, runtime
from finbert2.errors import UserError
from finbert2.labeler.data import Piece, encode_characters, encode_texts

if TYPE_CHECKING:
    import numpy as np
    import torch

SETTINGS_FILE = "labeler.json"
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Settings:
    """What a labeler has to know beside its weights."""

    task: str
    max_seq_length: int
    long_texts: str = "head_tail"


@dataclass(frozen=True)
class Prediction:
    """The label of a text, its probability, and the probabilities of all labels in the order of their ids."""

    label: str
    score: float
    probabilities: list[float]


@dataclass(frozen=True)
class Entity:
    """A stretch of a text, its type, its characters from `start` to before `end`, and its lowest probability."""

    text: str
    type: str
    start: int
    end: int
    score: float


class Labeler:
    """A classifier or tagger; holds no state between calls, so that threads can share it."""

    def __init__(self, model: Any, tokenizer: Any, settings: Settings) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.labels = [model.config.id2label[i] for i in range(model.config.num_labels)]

    @classmethod
    def from_pretrained(cls, folder: str) -> "Labeler":
        """Open a folder written by `labeler train`, or any sequence or token classifier.

        Raises `UserError` for a folder that is neither.
        """
        import torch
        from transformers import (
            AutoConfig,
            AutoModelForSequenceClassification,
            AutoModelForTokenClassification,
            AutoTokenizer,
        )

        config = encoder.load(AutoConfig.from_pretrained, folder)
        tagger = any("TokenClassification" in name for name in config.architectures or [])
        if not tagger and not any("SequenceClassification" in name for name in config.architectures or []):
            raise UserError(
                f"{folder} holds a {', '.join(config.architectures or ['model of unknown kind'])}, no classifier or "
                "tagger: name a folder written by `labeler train`"
            )
        kind = AutoModelForTokenClassification if tagger else AutoModelForSequenceClassification
        model = encoder.load(kind.from_pretrained, folder, dtype=torch.float32).to(runtime.device())
        tokenizer = encoder.load(AutoTokenizer.from_pretrained, folder)
        return cls(model, tokenizer, read_settings(folder, "ner" if tagger else "classification", config))

    def save(self, folder: Path) -> None:
        """Write weights, tokenizer and settings; `pipeline` of transformers opens the folder too."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        files.write_json(folder / SETTINGS_FILE, self.settings.__dict__)

    def predict(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[Prediction]:
        """Return the prediction of each text, in their order: one forward a text, no batch over `batch_tokens` slots.

        Raises `UserError` if this is a tagger.
        """
        self.require("classification")
        ids = encode_texts(texts, self.tokenizer, self.settings.max_seq_length, self.settings.long_texts)
        predictions: list[Any] = [None] * len(ids)
        for places, logits in self.forward(ids, batch_tokens):
            for place, row in zip(places, logits.softmax(-1).tolist(), strict=True):
                best = max(range(len(row)), key=row.__getitem__)
                predictions[place] = Prediction(self.labels[best], row[best], row)
        return predictions

    def entities(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[list[Entity]]:
        """Return the entities of each text; raises `UserError` if this is a classifier."""
        tagged = self.tag([list(text) for text in texts], batch_tokens)
        return [spans(text, tags, scores) for text, (tags, scores) in zip(texts, tagged, strict=True)]

    def tag(
        self, sentences: Sequence[Sequence[str]], batch_tokens: int = BATCH_TOKENS
    ) -> list[tuple[list[str], list[float]]]:
        """Return for each sentence the tag of each character and its probability; a character without token is O."""
        self.require("ner")
        pieces: list[tuple[int, Piece]] = [
            (number, piece) for number, characters in enumerate(sentences)
            for piece in encode_characters(characters, self.tokenizer, self.settings.max_seq_length)
        ]  # fmt: skip
        tags: list[Any] = [None] * len(pieces)
        for places, logits in self.forward([piece.ids for _, piece in pieces], batch_tokens):
            scores, best = logits.softmax(-1).max(-1)  # (pieces, tokens)
            for place, row_scores, row_best in zip(places, scores.tolist(), best.tolist(), strict=True):
                firsts = pieces[place][1].firsts
                tags[place] = [("O", 1.0) if f < 0 else (self.labels[row_best[f]], row_scores[f]) for f in firsts]
        joined: list[tuple[list[str], list[float]]] = [([], []) for _ in sentences]
        for (number, _), row in zip(pieces, tags, strict=True):
            joined[number][0].extend(tag for tag, _ in row)
            joined[number][1].extend(score for _, score in row)
        return joined

    def cls_vectors(self, texts: Sequence[str], layer: int = -1, batch_tokens: int = BATCH_TOKENS) -> "np.ndarray":
        """Return the [CLS] vectors (texts, width) of a layer; 0 is the embeddings, -1 the last layer."""
        import numpy as np

        ids = encode_texts(texts, self.tokenizer, self.settings.max_seq_length, self.settings.long_texts)
        vectors = np.zeros((len(ids), self.model.config.hidden_size), dtype=np.float32)
        for places, hidden in self.forward(ids, batch_tokens, layer):
            vectors[places] = hidden[:, 0].numpy()
        return vectors

    def forward(
        self, ids: Sequence[list[int]], batch_tokens: int, layer: int | None = None
    ) -> "Iterator[tuple[list[int], torch.Tensor]]":
        """Yield (places, logits in fp32 on the CPU) of batches of similar length; hidden states of a layer if named."""
        import torch

        for places in budget_batches([len(row) for row in ids], batch_tokens):
            batch = self.tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="pt")
            with torch.inference_mode(), runtime.autocast():
                output = self.model(**batch.to(self.model.device), output_hidden_states=layer is not None)
            result = output.logits if layer is None else output.hidden_states[layer]
            yield places, result.float().cpu()

    def require(self, task: str) -> None:
        """Refuse a call meant for the other kind of labeler."""
        if self.settings.task != task:
            raise UserError(
                f"this model is for {self.settings.task}, {task} was asked of it: name another model folder"
            )


def read_settings(folder: str, task: str, config: Any) -> Settings:
    """Return the settings saved beside a model, or what its config implies."""
    path = Path(folder) / SETTINGS_FILE
    if path.exists():
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    return Settings(task, min(512, config.max_position_embeddings))


def budget_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield lists of places, longest rows first, whose padded size stays within `budget` slots (or is one row)."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def spans(text: str, tags: Sequence[str], scores: Sequence[float]) -> list[Entity]:
    """Return the entities that BIO tags mark; an I- that continues nothing begins one, as seqeval reads it."""
    entities: list[Entity] = []
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            entities.append(Entity(text[start:place], kind, start, place, min(scores[start:place])))
            kind = ""
        if tag != "O" and not kind:
            start, kind = place, tag[2:]
    return entities
