"""Topics that the user lists: by a name alone (zero-shot), or by a name and words (guided)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import files
from finbert2.errors import UserError
from finbert2.topics.vectors import Space
from finbert2.topics.words import Segmenter

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Guide:
    """Named topics, each described by a text that a title is compared with."""

    names: list[str]
    texts: list[str]
    encoded: "np.ndarray | None"  # (topics, width) the encoder's vectors of the texts, None where words alone decide
    least: float  # the cosine from which a title is the listed topic's

    def place(self, vectors: "np.ndarray", space: Space, segmenter: Segmenter) -> "np.ndarray":
        """Return for each title vector (titles, width) the listed topic it is nearest to, -1 below `least`.

        Raises `UserError` for a listed topic that no title is near enough to.
        """
        import numpy as np

        _, parts = segmenter.words_and_parts(self.texts)
        similarity = vectors @ space.vectors(self.encoded, parts).T  # (titles, topics)
        nearest = np.where(similarity.max(axis=1) >= self.least, similarity.argmax(axis=1), -1)
        empty = [number for number in range(len(self.names)) if not (nearest == number).any()]
        if empty:
            best = float(similarity[:, empty[0]].max())
            raise UserError(
                f"no title belongs to the listed topic '{self.names[empty[0]]}' (best cosine {best:.2f}, "
                f"--topic_similarity {self.least}): give it other words, lower --topic_similarity, or leave it out"
            )
        return nearest


def read_list(path: str | Path) -> tuple[list[str], list[str]]:
    """Return names and describing texts of a list of topics, one a line: `name` or `name: word word …`."""
    names, texts = list[str](), list[str]()
    for number, line in files.read_lines(path):
        name, _, words = line.strip().replace("：", ":").partition(":")
        if not name.strip() or line.startswith("#"):
            continue
        if name.strip() in names:
            raise UserError(f"{path} line {number} lists the topic '{name.strip()}' a second time: join the two lines")
        names.append(name.strip())
        texts.append(f"{name.strip()} {words.strip()}".strip())
    if not names:
        raise UserError(f"{path} lists no topic: write one a line, 'name' or 'name: word word'")
    return names, texts
