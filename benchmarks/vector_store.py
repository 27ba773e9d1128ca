"""Time, memory and disk of Milvus at growing sizes: python benchmarks/vector_store.py [--sizes 10000 100000 1000000].

Random unit vectors of --width, texts of ten characters drawn from 3,000, in the collection that `retriever index`
makes; inserted by 1,024, then --queries dense and BM25 searches of 10 hits, one at a time. Stops before a size that
would take longer than --minutes by what the last one took. Writes benchmarks/results/vector_store.json.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files, runtime
from finbert2.retriever import milvus

RESULTS = Path(__file__).parent / "results" / "vector_store.json"


def rows(start: int, count: int, width: int) -> list[dict[str, Any]]:
    """Return records with random vectors and texts, the same for the same place."""
    chance = np.random.default_rng(start)
    vectors = chance.normal(size=(count, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = chance.integers(0x4E00, 0x4E00 + 3000, (count, 10))
    found = []
    for place, (vector, line) in enumerate(zip(vectors, codes, strict=True), start=start):
        text = "".join(map(chr, line))
        record = {"id": str(place), "document": str(place), "text": text, "digest": "", "tokens": milvus.tokens(text)}
        found.append(record | dict.fromkeys(milvus.METADATA, "") | {"dense": vector})
    return found


def measure(uri: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Index `size` vectors, search, return the numbers."""
    client, collection = milvus.connect(uri, must_exist=False), f"vector_store_{size}"
    milvus.create(client, collection, {"name": "random", "fingerprint": "0", "width": options.width})
    started = time.perf_counter()
    for start in range(0, size, 1024):
        client.insert(collection, rows(start, min(1024, size - start), options.width))
    client.flush(collection)
    client.load_collection(collection)
    found = {"size": size, "index_seconds": time.perf_counter() - started}
    queries = rows(2**40, options.queries, options.width)
    for mode in ("dense", "bm25"):
        seconds = []
        for query in queries:
            begun = time.perf_counter()
            milvus.search(client, collection, mode, [query["dense"]], [query["text"]], 10, "")
            seconds.append(1000 * (time.perf_counter() - begun))
        p50, p95 = np.percentile(seconds, [50, 95])
        found |= {f"{mode}_p50_ms": float(p50), f"{mode}_p95_ms": float(p95)}
    if options.uri:  # a server keeps it
        client.drop_collection(collection)
    client.close()
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    path = Path(uri)
    parts = [path, *path.parent.glob("**/*")] if "://" not in uri else []
    return found | {
        "peak_memory_gib": max(used) / 2**20,
        "disk_gib": sum(part.stat().st_size for part in set(parts) if part.is_file()) / 2**30,
    }


def main() -> None:
    """Measure every size that time allows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--uri", help="a server as http://host:19530; without it a file of Milvus Lite")
    options = parser.parse_args()
    table: list[dict[str, float]] = []
    for size in options.sizes:
        expected = table[-1]["index_seconds"] * size / table[-1]["size"] / 60 if table else 0
        if expected > options.minutes:
            print(f"{size} vectors would take about {expected:.0f} minutes: left out")
            break
        with tempfile.TemporaryDirectory() as folder:
            table.append(measure(options.uri or f"{folder}/v.db", size, options))
        print(json.dumps(table[-1]))
    kind = "server" if options.uri else "milvus-lite"
    results = {"width": options.width, "kind": kind, "sizes": table, "asked_for": options.sizes}
    files.write_json(RESULTS, results | {"machine": runtime.machine(), "versions": runtime.versions()})


if __name__ == "__main__":
    main()
