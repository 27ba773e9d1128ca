"""An OpenAI-compatible embeddings endpoint behind `Encoder`, every vector kept in a file."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import encoder
from finbert2.endpoint import KEYS, post

if TYPE_CHECKING:
    import numpy as np

TRIES = 4


class Endpoint:
    """`POST <url>/embeddings` of OpenAI's API; `FINBERT2_LLM_KEY`, else `OPENAI_API_KEY`, is the key, never written.

    Vectors are appended to `cache`, a JSON-lines file by the hash of model and text: what was paid for is asked once.
    """

    def __init__(self, url: str, model: str, cache: Path, batch_size: int = 64, pause: float = 1.0) -> None:
        self.url, self.model, self.cache = url.rstrip("/") + "/embeddings", model, cache
        self.batch_size, self.pause = batch_size, pause
        self.known: dict[str, np.ndarray] = {}  # in fp32: a list holds eight times as much
        self.recall()

    def recall(self) -> None:
        """Read what the file holds; the half line of a killed run is passed over, and ended before more is written.

        Earlier versions did not end it, so that a line may also hold a half and a whole one: it is passed over too.
        """
        import numpy as np

        if not self.cache.exists():
            return
        line = "\n"
        with self.cache.open(encoding="utf-8") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self.known[entry["key"]] = np.array(entry["vector"], np.float32)
        if not line.endswith("\n"):
            with self.cache.open("a", encoding="utf-8") as file:
                file.write("\n")

    def encode(self, texts: Sequence[str], is_query: bool = False, show_progress: bool = False) -> "np.ndarray":
        """Return unit vectors (texts, width) in float32; such endpoints have no prompt for queries."""
        import numpy as np

        keys = [self.key(text) for text in texts]
        asked = dict(zip(keys, texts, strict=True))
        missing = [key for key in asked if key not in self.known]
        with encoder.progress(len(missing), show_progress) as bar:
            for start in range(0, len(missing), self.batch_size):
                part = missing[start : start + self.batch_size]
                self.keep(part, self.ask([asked[key] for key in part]))
                bar.update(len(part))
        vectors = np.array([self.known[key] for key in keys], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if len(vectors) else vectors.reshape(0, 0)

    def key(self, text: str) -> str:
        """Return the name of a text's vector in the cache."""
        return hashlib.sha256(f"{self.model}\n{text}".encode()).hexdigest()

    def keep(self, keys: list[str], vectors: list[list[float]]) -> None:
        """Put vectors into memory and at the end of the file."""
        import numpy as np

        self.cache.parent.mkdir(parents=True, exist_ok=True)
        self.known |= {key: np.array(vector, np.float32) for key, vector in zip(keys, vectors, strict=True)}
        lines = [json.dumps({"key": k, "vector": v}) + "\n" for k, v in zip(keys, vectors, strict=True)]
        with self.cache.open("a", encoding="utf-8") as file:
            file.write("".join(lines))

    def ask(self, texts: list[str]) -> list[list[float]]:
        """Return the endpoint's vectors in the order of the texts; asks again, slower, where it is busy or away."""

        def read(answer: Any, seconds: float) -> list[list[float]]:
            found = sorted(answer["data"], key=lambda entry: entry["index"])
            if len(found) != len(texts):
                raise ValueError(f"{len(found)} embeddings for {len(texts)} texts")
            return [entry["embedding"] for entry in found]

        body = json.dumps({"model": self.model, "input": texts}).encode()
        return post(
            self.url, body, read, timeout=120, tries=TRIES, first_wait=self.pause,
            check=f"check --endpoint, --endpoint_model and the key ({' or '.join(KEYS)} in the environment)",
            kept=f"the same command goes on from what {self.cache} holds",
        )  # fmt: skip
