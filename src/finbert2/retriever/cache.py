"""Vectors kept on disk in shards, so that an interrupted run goes on and a further one starts from them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import encoder, files

if TYPE_CHECKING:
    import numpy as np

SHARD = 4096  # texts


def encode(
    model: encoder.SentenceEncoder, fingerprint: str, texts: Sequence[str], folder: Path, prompt: str = ""
) -> "np.ndarray":
    """Return unit vectors (texts, width), `prompt` before each text; a shard that the folder has for them is read."""
    import numpy as np

    parts = []
    with encoder.progress(len(texts), len(texts) > SHARD) as bar:
        for shard in encoder.blocks(texts, SHARD):
            path = folder / f"{name(fingerprint, shard, prompt)}.npy"
            if not path.exists():
                files.write_array(path, encoder.encode(model.model, shard, model.batch_size, prompt=prompt))
            parts.append(np.load(path))
            bar.update(len(shard))
    return np.concatenate(parts) if parts else np.zeros((0, model.width), np.float32)


def name(fingerprint: str, texts: Sequence[str], prompt: str) -> str:
    """Return what a shard's file is called: a hash of the model, the prompt and the texts."""
    digest = hashlib.sha256(fingerprint.encode())
    for text in (prompt, *texts):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:24]
