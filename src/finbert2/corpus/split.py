"""Which documents are held out: by the hash of the text, so the same whatever surrounds it, and at least one."""

import zlib
from pathlib import Path

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from finbert2 import files
from finbert2.corpus import dedup
from finbert2.corpus.shards import SOURCE, SPLIT

BUCKETS = 10_000
NONE = np.zeros(0, dtype=np.uint32)


def hash_of(text: str) -> int:
    """Return the hash that decides about a text, 32 bits."""
    return zlib.crc32(text.encode())


class Hashes(PipelineStep):
    """Passes documents on and keeps the hashes of their texts, 4 bytes each."""

    name, type = "hashes", "split"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write `<rank>.npy` when the last document has passed."""
        hashes = []
        for doc in data:
            hashes.append(hash_of(doc.text))
            yield doc
        files.write_array(self.folder / f"{rank:05d}.npy", np.array(hashes, dtype=np.uint32))


class HoldOut(PipelineStep):
    """Names the one text to hold out where the share is so small, or the corpus, that none would be."""

    name, type = "hold out", "split"

    def __init__(self, hashes: Path, verdicts: Path, valid_fraction: float) -> None:
        super().__init__()
        self.hashes, self.verdicts, self.valid_fraction = hashes, verdicts, valid_fraction

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the hash of that text, or an empty array, to `held_out.npy` beside the hashes' folder."""
        count, found, smallest = 0, False, NONE
        for path in sorted(self.hashes.glob("*.npy")):
            kept = np.load(path)[np.load(self.verdicts / path.name) == dedup.KEPT]
            count += len(kept)
            found = found or bool((kept % BUCKETS < self.valid_fraction * BUCKETS).any())
            smallest = np.sort(np.concatenate([smallest, kept]))[:1]
        wanted = self.valid_fraction > 0 and count >= 2 and not found
        files.write_array(self.hashes.with_name("held_out.npy"), smallest if wanted else NONE)


class Split(PipelineStep):
    """Marks each document as "train" or "valid" by the hash of its text, whatever its place."""

    name, type = "split", "split"

    def __init__(self, valid_fraction: float, hashes: Path) -> None:
        super().__init__()
        self.valid_fraction, self.hashes = valid_fraction, hashes

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Set `metadata[SPLIT]`, which is the folder the document is written to."""
        named = np.load(self.hashes.with_name("held_out.npy")).tolist()
        for doc in data:
            number = hash_of(doc.text)
            held_out = number % BUCKETS < self.valid_fraction * BUCKETS or number in named
            doc.metadata[SPLIT] = "valid" if held_out else "train"
            self.stat_update(f"{doc.metadata[SPLIT]}\t{doc.metadata[SOURCE]}")
            yield doc
