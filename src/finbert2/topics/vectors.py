"""A title's vector: what the encoder says, what its words say, and the two side by side."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import encoder, files
from finbert2.errors import UserError
from finbert2.topics.counts import count, enough_words
from finbert2.weights import fingerprint

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

LEXICAL_WIDTH = 100


def unit(vectors: "np.ndarray") -> "np.ndarray":
    """Return the rows at length 1; a row of zeros stays."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def encode(model: str, titles: Sequence[str], batch_size: int, cache: Path | None = None) -> "np.ndarray":
    """Return the encoder's unit vectors (titles, width); `cache` is a folder that keeps them by weights and text."""
    import numpy as np

    key = hashlib.sha256("\n".join([fingerprint(model), *titles]).encode()).hexdigest()
    path = cache / f"vectors-{key[:16]}.npy" if cache else None
    if path and path.exists():
        log.info("vectors taken from %s", path)
        return np.load(path, allow_pickle=False)
    log.info("encoding %d titles with %s", len(titles), model)
    vectors = encoder.encode(encoder.load_sentence_transformer(model), titles, batch_size, show_progress=True)
    if path:
        files.write_array(path, vectors)
    return vectors


def read_vectors(path: str, rows: int, wanted: "np.ndarray") -> "np.ndarray":
    """Return the `wanted` rows of a .npy file at unit length; `UserError` if it does not hold one vector a row."""
    import numpy as np

    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no array of vectors ({error}): give a file written by numpy.save") from None
    if vectors.ndim != 2 or len(vectors) != rows or not np.issubdtype(vectors.dtype, np.floating):
        raise UserError(
            f"{path} holds an array of shape {vectors.shape} and type {vectors.dtype}, the titles' file has {rows} "
            "rows: one vector of floats for each row of the file is needed, in its order"
        )
    if not np.isfinite(vectors).all():
        raise UserError(f"{path} holds values that are not finite, first in row {first_not_finite(vectors)}: mend them")
    return unit(vectors[wanted].astype(np.float32))  # the squares of half-precision numbers overflow


def first_not_finite(vectors: "np.ndarray") -> int:
    """Return the number of the first row with a NaN or an infinity."""
    import numpy as np

    return int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])


@dataclass(frozen=True)
class Lexicon:
    """TF-IDF weights and the main directions of the titles' words."""

    vocabulary: list[str]
    idf: "np.ndarray"  # (words,)
    components: "np.ndarray"  # (directions, words)

    def vectors(self, words: Sequence[Sequence[str]]) -> "np.ndarray":
        """Return unit vectors (titles, directions); a title without a known word gets zeros."""
        from sklearn.preprocessing import normalize

        weighted = normalize(count(words, self.vocabulary).matrix.multiply(self.idf).tocsr())
        return unit(weighted @ self.components.T)


def fit_lexicon(words: Sequence[Sequence[str]], seed: int) -> Lexicon:
    """Learn a `Lexicon` from the words of the distinct titles; `UserError` if there are too few."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    vocabulary = enough_words(words)
    counts, titles = count(words, vocabulary).matrix, len(words)
    idf = np.log((1 + titles) / (1 + np.bincount(counts.indices, minlength=counts.shape[1]))) + 1
    width = min(LEXICAL_WIDTH, counts.shape[1] - 1, titles - 1)
    svd = TruncatedSVD(width, random_state=seed).fit(normalize(counts.multiply(idf).tocsr()))
    return Lexicon(vocabulary, idf.astype(np.float32), svd.components_.astype(np.float32))


@dataclass(frozen=True)
class Space:
    """Where titles are compared: encoder vectors about their mean, beside the vectors of their words.

    The cosine of two joined vectors is the weighted mean of the two cosines. The mean is taken out because encoders
    of this kind crowd into a narrow cone: there every pair is alike and the words' part would be drowned or drown.
    """

    mean: "np.ndarray | None"  # (width,), None without an encoder
    lexicon: Lexicon | None
    lexical_weight: float

    def vectors(self, encoded: "np.ndarray | None", words: Sequence[Sequence[str]]) -> "np.ndarray":
        """Return one unit vector a title from the encoder's vectors and the words of the same titles."""
        import numpy as np

        parts = []
        if self.mean is not None and encoded is not None:
            parts.append(np.sqrt(1 - self.lexical_weight) * unit(encoded - self.mean))
        if self.lexicon is not None:
            parts.append(np.sqrt(self.lexical_weight) * self.lexicon.vectors(words))
        return unit(np.concatenate(parts, axis=1))


def fit_space(
    encoded: "np.ndarray | None",
    words: Sequence[Sequence[str]],
    weights: "np.ndarray",
    lexical_weight: float,
    seed: int,
) -> Space:
    """Learn the mean of the encoder's vectors and the lexicon, each only if it has weight."""
    import numpy as np

    mean = None if encoded is None else np.average(encoded, axis=0, weights=weights).astype(np.float32)
    lexicon = fit_lexicon(words, seed) if lexical_weight > 0 else None
    return Space(mean, lexicon, lexical_weight)
