"""A fitted topic model: what it needs to give a title its topic, saved without pickle and checked when it is opened."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import encoder, files, runtime, weights
from finbert2.errors import UserError
from finbert2.topics import cluster
from finbert2.topics.vectors import Lexicon, Space
from finbert2.topics.words import Segmenter, digest

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

FORMAT = 3  # 3: the lexicon has words of its own


@dataclass(frozen=True)
class Topic:
    """One topic: its number (0 is the largest), how many titles it has, its best words, titles near its centre."""

    topic: int
    size: int
    words: list[str]
    examples: list[str]
    name: str = ""  # given by a guide or a language model

    @property
    def label(self) -> str:
        """What a figure or a table calls the topic."""
        return self.name or " ".join(self.words[:2])


@dataclass(frozen=True)
class TopicModel:
    """Centres and thresholds of topics in a `Space`, and the words that lead a title there."""

    space: Space
    centres: "np.ndarray"  # (topics, width)
    thresholds: "np.ndarray"  # (topics,)
    vocabulary: list[str]
    segmenter: Segmenter
    topics: list[Topic]
    encoder: dict[str, Any] | None  # name and fingerprint; None where vectors were given or only words count
    word_counts: "csr_matrix"  # (topics, words) sums of the titles' counts: hierarchy and updates need no text
    counted: Sequence[str] = ()  # SHA-256 of the files whose titles are in these sums; it goes where the model goes

    def predict(self, titles: Sequence[str], encoded: "np.ndarray | None") -> tuple["np.ndarray", "np.ndarray"]:
        """Return each title's topic (-1: none) and its similarity to the nearest topic's centre."""
        _, parts = self.segmenter.words_and_parts(titles)
        return self.assign(self.space.vectors(encoded, parts))

    def assign(self, vectors: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
        """Return the topic and the similarity of vectors (titles, width) of the model's space."""
        return cluster.assign(vectors, self.centres, self.thresholds)

    def save(self, folder: Path) -> None:
        """Write `topics.safetensors`, `words.json` and, last, `topics.json`, which makes the three a model.

        That of an earlier model goes first: a kill in between would leave its numbers beside other centres.
        """
        import numpy as np
        from safetensors.numpy import save_file

        space, lexicon = self.space, self.space.lexicon
        arrays = {"centres": self.centres, "thresholds": self.thresholds}
        sums = self.word_counts
        arrays |= {"counts": sums.data, "count_columns": sums.indices, "count_ends": sums.indptr}
        arrays |= {"mean": space.mean} if space.mean is not None else {}
        arrays |= {"idf": lexicon.idf, "components": lexicon.components} if lexicon else {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "topics.json").unlink(missing_ok=True)
        part = folder / "topics.safetensors.part"
        # Without this a transposed array would be written in its memory's order and read as another one.
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)
        part.chmod(0o644)  # safetensors makes files that only their owner reads
        part.replace(folder / "topics.safetensors")
        lists = {"dictionary": self.segmenter.dictionary, "stopwords": sorted(self.segmenter.stopwords)}
        lists |= {"vocabulary": self.vocabulary, "lexicon": lexicon.vocabulary if lexicon else []}
        files.write_json(folder / "words.json", lists)
        files.write_json(folder / "topics.json", self.as_record())

    def as_record(self) -> dict[str, Any]:
        """Return what `topics.json` holds: the topics, and what they depend on."""
        return {
            "format": FORMAT,
            "topics": [vars(topic) for topic in self.topics],
            "lexical_weight": self.space.lexical_weight,
            "encoder": self.encoder,
            "counted": list(self.counted),
            "digests": self.segmenter.digests() | vocabularies(self.vocabulary, self.space.lexicon),
            "versions": runtime.versions(),
        }


def load_model(folder: Path, model_name: str | None = None) -> TopicModel:
    """Open a folder written by `TopicModel.save`; `model_name` is where its encoder lies now, if it has moved.

    Raises `UserError` if the folder is no topic model, or encoder, dictionary or stop list are not the fitted ones.
    """
    from safetensors.numpy import load_file
    from scipy.sparse import csr_matrix

    if not (folder / "topics.json").exists():
        raise UserError(f"{folder} is no topic model (no topics.json there): name the --output_dir of a `topics run`")
    record = json.loads((folder / "topics.json").read_text(encoding="utf-8"))
    if record.get("format") != FORMAT:
        raise UserError(f"{folder} has format {record.get('format')}, this version reads {FORMAT}: run the topics anew")
    lists = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    known = checked_encoder(record["encoder"], model_name)
    segmenter = Segmenter(lists["dictionary"], lists["stopwords"], load_tokenizer(known["name"] if known else None))
    arrays = load_file(folder / "topics.safetensors")
    lexicon = Lexicon(lists["lexicon"], arrays["idf"], arrays["components"]) if "idf" in arrays else None
    refuse_changes(folder, record["digests"], segmenter.digests() | vocabularies(lists["vocabulary"], lexicon))
    shape = (len(record["topics"]), len(lists["vocabulary"]))
    return TopicModel(
        Space(arrays.get("mean"), lexicon, record["lexical_weight"]), arrays["centres"], arrays["thresholds"],
        lists["vocabulary"], segmenter, [Topic(**topic) for topic in record["topics"]], known,
        csr_matrix((arrays["counts"], arrays["count_columns"], arrays["count_ends"]), shape=shape),
        record.get("counted", ()),
    )  # fmt: skip


def load_tokenizer(name: str | None) -> Any:
    """Return the tokenizer of a model folder or Hub name, None for None."""
    from transformers import AutoTokenizer

    return encoder.load(AutoTokenizer.from_pretrained, name) if name else None


def checked_encoder(fitted: dict[str, Any] | None, model_name: str | None) -> dict[str, Any] | None:
    """Return the encoder's name now and its fingerprint; `UserError` if its weights are not those of the fit."""
    if fitted is None:
        if model_name:
            raise UserError("this topic model was fitted without an encoder: leave --model_name_or_path out")
        return None
    name = model_name or fitted["name"]
    if weights.fingerprint(name) != fitted["fingerprint"]:
        raise UserError(
            f"the encoder {name} is not the one this topic model was fitted with ({fitted['name']}, fingerprint "
            f"{fitted['fingerprint']}): name the right one by --model_name_or_path, or run the topics anew"
        )
    return {"name": name, "fingerprint": fitted["fingerprint"]}


def vocabularies(words: list[str], lexicon: Lexicon | None) -> dict[str, str]:
    """Return short texts that change with the words that name topics and those that titles are compared by."""
    return {"vocabulary": digest(words), "lexicon": digest(lexicon.vocabulary if lexicon else [])}


def refuse_changes(folder: Path, fitted: dict[str, str], found: dict[str, str]) -> None:
    """Raise `UserError` if a word list is not the one of the fit."""
    changed = [name for name, value in fitted.items() if found.get(name) != value]
    if changed:
        raise UserError(f"{folder}: {', '.join(changed)} changed since the topics were fitted: run the topics anew")
