"""A trained labeler: texts in, labels with probabilities or entities out."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from finbert2 import encoder, files, packing, runtime, vocabulary, weights
from finbert2.errors import UserError
from finbert2.labeler import calibrate
from finbert2.labeler.data import SEPARATOR, Piece, encode_characters, encode_texts, encode_windows, need_marks
from finbert2.labeler.features import pool
from finbert2.labeler.forward import forward

SETTINGS_FILE = "labeler.json"
BATCH_TOKENS = 8192
Engine = Literal["torch", "onnx", "onnx-int8"]


@dataclass(frozen=True)
class Settings:
    """What a labeler has to know beside its weights."""

    task: str
    max_seq_length: int
    long_texts: str = "head_tail"
    multi_label: bool = False
    temperature: float = 1.0  # logits are divided by it before they become probabilities
    # Single label: below it an answer of this class is abstained from (none: 0). Multi-label: from it on a label is
    # given (none: 0.5).
    thresholds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """The label of a text, its probability, and the probabilities of all labels in the order of their ids.

    The label of a multi-label task is `a|b`, or empty, and its score the probability of the least certain decision.
    `abstained` says that the label is below its threshold: a best guess, not an answer.
    """

    label: str
    score: float
    probabilities: list[float]
    abstained: bool = False


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
    def from_pretrained(cls, folder: str, engine: Engine = "torch") -> "Labeler":
        """Open a folder written by `labeler train`, or any sequence or token classifier.

        The ONNX engines run what `labeler export` wrote into the folder. Raises `UserError` for a folder that is none.
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
        if engine == "torch":
            found = encoder.load(
                kind.from_pretrained, folder, dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
            model = weights.need(found, folder, head=True).to(runtime.device())
        else:
            from finbert2.labeler.onnx_model import OnnxModel

            model = OnnxModel(Path(folder), engine, config)
        tokenizer = encoder.load(AutoTokenizer.from_pretrained, folder)
        need_marks(tokenizer, folder)
        vocabulary.check_size(tokenizer, config, folder)
        return cls(model, tokenizer, read_settings(folder, "ner" if tagger else "classification", config))

    def save(self, folder: Path) -> None:
        """Write weights, tokenizer and settings; `pipeline` of transformers opens the folder too."""
        self.model.save_pretrained(folder)
        encoder.save_tokenizer(self.tokenizer, folder)
        files.write_json(folder / SETTINGS_FILE, asdict(self.settings))

    def predict(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[Prediction]:
        """Return the prediction of each text, in their order: one forward a text, no batch over `batch_tokens` slots.

        Raises `UserError` if this is a tagger.
        """
        return self.decide(self.logits(texts, batch_tokens))

    def logits(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> np.ndarray:
        """Return the logits (texts, labels) before calibration, the mean over a text's windows where it has several."""
        self.require("classification")
        return self.logits_and_vectors(texts, None, batch_tokens)[0]

    @runtime.inference()
    def logits_and_vectors(
        self, texts: Sequence[str], layer: int | None, batch_tokens: int = BATCH_TOKENS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (texts, labels) and, from the same forward, a layer's [CLS] vectors (texts, width; 0 for none).

        Of a tagger the logits are those of [CLS], which say nothing. Raises `UserError` for a layer that is not there.
        """
        need_list(texts)
        config = self.model.config
        layers = config.num_hidden_layers
        if layer is not None and not -layers - 1 <= layer <= layers:
            raise UserError(f"--cls_layer {layer}: the model has the layers 0 (embeddings) to {layers}, or -1 (last)")
        ids, owners = self.encode(texts)
        logits = np.zeros((len(ids), len(self.labels)))
        vectors = np.zeros((len(ids), 0 if layer is None else config.hidden_size), dtype=np.float32)
        for places, rows, hidden in forward(self.model, self.tokenizer, ids, batch_tokens, layer):
            logits[places] = np.stack([row.numpy() if row.ndim == 1 else row[0].numpy() for row in rows])
            if hidden is not None:
                vectors[places] = hidden.numpy()
        if owners is None:
            return logits, vectors
        return pool(logits, owners, len(texts)), pool(vectors, owners, len(texts)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int] | None]:
        """Return the token ids of each text; under `windows` those of each window and the text it is of."""
        if self.settings.long_texts == "windows":
            return encode_windows(texts, self.tokenizer, self.settings.max_seq_length)
        return encode_texts(texts, self.tokenizer, self.settings.max_seq_length, self.settings.long_texts), None

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities (texts, labels) of logits."""
        return calibrate.probabilities(logits, self.settings.temperature, self.settings.multi_label)

    def decide(self, logits: np.ndarray) -> list[Prediction]:
        """Return the prediction of each row of logits (texts, labels)."""
        probabilities = self.probabilities(logits)
        decide = self.decide_several if self.settings.multi_label else self.decide_one
        return [decide(row) for row in probabilities]

    def decide_one(self, row: np.ndarray) -> Prediction:
        """Return the most probable label; abstained if that is below its threshold."""
        label, score = self.labels[int(row.argmax())], float(row.max())
        return Prediction(label, score, row.tolist(), score < self.settings.thresholds.get(label, 0.0))

    def decide_several(self, row: np.ndarray) -> Prediction:
        """Return the labels whose probability reaches their threshold."""
        given = [
            label for label, share in zip(self.labels, row, strict=True)
            if share >= self.settings.thresholds.get(label, 0.5)
        ]  # fmt: skip
        score = min(share if label in given else 1 - share for label, share in zip(self.labels, row, strict=True))
        return Prediction(SEPARATOR.join(sorted(given)), float(score), row.tolist())

    def entities(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[list[Entity]]:
        """Return the entities of each text; raises `UserError` if this is a classifier."""
        need_list(texts)
        tagged = self.tag([list(text) for text in texts], batch_tokens)
        return [spans(text, tags, scores) for text, (tags, scores) in zip(texts, tagged, strict=True)]

    @runtime.inference()
    def tag(
        self, sentences: Sequence[Sequence[str]], batch_tokens: int = BATCH_TOKENS
    ) -> list[tuple[list[str], list[float]]]:
        """Return for each sentence the tag of each character and its probability.

        A character without token, such as a blank, is O, or inside an entity that goes on after it.
        """
        self.require("ner")
        pieces: list[tuple[int, Piece]] = [
            (number, piece) for number, characters in enumerate(sentences)
            for piece in encode_characters(characters, self.tokenizer, self.settings.max_seq_length)
        ]  # fmt: skip
        tags: list[Any] = [None] * len(pieces)  # of each character tag and score, none where it has no token
        for places, logits, _ in forward(self.model, self.tokenizer, [piece.ids for _, piece in pieces], batch_tokens):
            for place, row in zip(places, logits, strict=True):
                row_scores, row_best = (found.tolist() for found in row.softmax(-1).max(-1))  # (tokens,)
                firsts = pieces[place][1].firsts
                tags[place] = [None if f < 0 else (self.labels[row_best[f]], row_scores[f]) for f in firsts]
        joined: list[list[tuple[str, float] | None]] = [[] for _ in sentences]
        for (number, _), row in zip(pieces, tags, strict=True):
            joined[number] += row
        return [filled(row) for row in joined]

    def cls_vectors(self, texts: Sequence[str], layer: int = -1, batch_tokens: int = BATCH_TOKENS) -> "np.ndarray":
        """Return the [CLS] vectors (texts, width) of a layer; 0 is the embeddings, -1 the last layer.

        Raises `UserError` for a layer that the model has not.
        """
        return self.logits_and_vectors(texts, layer, batch_tokens)[1]

    def require(self, task: str) -> None:
        """Refuse a call meant for the other kind of labeler."""
        if self.settings.task != task:
            raise UserError(
                f"this model is for {self.settings.task}, {task} was asked of it: name another model folder"
            )


def need_list(texts: Sequence[str]) -> None:
    """Refuse one string, which is a sequence of strings too: of its characters."""
    if isinstance(texts, str):
        raise UserError("texts are a list of strings, one string was given: put it into a list")


def filled(row: Sequence[tuple[str, float] | None]) -> tuple[list[str], list[float]]:
    """Return the tags and scores of characters; one without, such as a blank, goes on with the entity around it."""
    tags, scores = [one[0] if one else "O" for one in row], [one[1] if one else 1.0 for one in row]
    start = 0
    for unread, run in itertools.groupby(row, lambda one: one is None):
        end = start + len(list(run))
        if unread and start > 0 and end < len(row) and tags[end] == f"I-{tags[start - 1][2:]}":
            tags[start:end] = [tags[end]] * (end - start)
            scores[start:end] = [min(scores[start - 1], scores[end])] * (end - start)
        start = end
    return tags, scores


def read_settings(folder: str, task: str, config: Any) -> Settings:
    """Return the settings saved beside a model, or what its config implies."""
    path = encoder.load(settings_file, folder)
    if path is not None:
        return Settings(**json.loads(Path(path).read_text(encoding="utf-8")))
    multi_label = task == "classification" and config.problem_type == "multi_label_classification"
    return Settings(task, min(512, packing.positions(config)), multi_label=multi_label)


def settings_file(name: str, **options: Any) -> str | None:
    """Return the path of the settings in a folder or, fetched, of a Hub name; None where there are none."""
    from transformers.utils import cached_file

    return cached_file(
        name, SETTINGS_FILE, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False, **options,
    )  # fmt: skip


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
