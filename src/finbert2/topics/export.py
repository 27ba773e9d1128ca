"""The same topics as a folder that `BERTopic.load` opens."""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import encoder
from finbert2.topics.fit import Fit
from finbert2.topics.titles import Titles

if TYPE_CHECKING:
    import numpy as np


def save_for_bertopic(folder: Path, titles: Titles, found: Fit, encoded: "np.ndarray | None") -> None:
    """Write the topics in BERTopic's safetensors format, by its public way of taking topics made elsewhere.

    Titles go in as words that are cut already, so it cannot cut them otherwise. The topics' vectors are the encoder's
    own, so that the loaded model can place new titles with that encoder. BERTopic numbers topics by size, those of
    one size in an order of its own: a custom label begins with the number that its topic has here.
    """
    from bertopic import BERTopic
    from bertopic.backend import BaseEmbedder
    from bertopic.cluster import BaseCluster
    from bertopic.dimensionality import BaseDimensionalityReduction
    from sklearn.feature_extraction.text import CountVectorizer

    model = BERTopic(
        language="multilingual", embedding_model=BaseEmbedder(), umap_model=BaseDimensionalityReduction(),
        hdbscan_model=BaseCluster(),
        vectorizer_model=CountVectorizer(tokenizer=str.split, token_pattern=None, lowercase=False),
    )  # fmt: skip
    # A blank inside a dictionary word would cut it again; a title of stop words alone still needs its line.
    documents = [" ".join(word.replace(" ", "_") for word in found.words[place]) for place in titles.place]
    labels, vectors = found.labels[titles.place], found.vectors if encoded is None else encoded
    model.fit(documents, embeddings=vectors[titles.place], y=labels.copy())
    words = {topic.topic: topic.name or "_".join(topic.words[:4]) for topic in found.model.topics}
    ours = dict(zip(model.topics_, labels.tolist(), strict=True))
    model.set_topic_labels({theirs: f"{number}_{words.get(number, '')}" for theirs, number in ours.items()})
    logging.getLogger("BERTopic").setLevel(logging.ERROR)  # it warns where no encoder is named; that is meant here
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save(str(part), serialization="safetensors", save_ctfidf=True, save_embedding_model=embedder(found))
    for file in part.iterdir():
        file.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def embedder(found: Fit) -> str | bool:
    """Return the encoder's name if BERTopic reads it as this suite does: a plain BERT it would pool by the mean."""
    name = found.model.encoder["name"] if found.model.encoder else None
    return name if name and encoder.is_sentence_transformer(name) else False
