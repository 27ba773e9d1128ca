"""Time, memory and disk of Milvus at growing sizes: python benchmarks/vector_store.py [--sizes 10000 100000 1000000].

Random unit vectors of --width, texts of ten characters drawn from 3,000, in the collection that `retriever index`
makes; inserted by 1,024, then, in a new process, --queries dense and BM25 searches of 10 hits, one at a time. Stops
before a size that would take longer than --minutes by what the last one took. Writes
benchmarks/results/vector_store.json.
"""

import argparse
import json
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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


def write(uri: str, size: int, width: int) -> dict[str, float]:
    """Index `size` vectors, return seconds and memory."""
    client, collection = milvus.connect(uri, must_exist=False), f"vector_store_{size}"
    note = {"name": "random", "fingerprint": "0", "width": width}
    milvus.create(client, collection, note, exact=milvus.is_file(uri))
    started = time.perf_counter()
    for start in range(0, size, 1024):
        client.insert(collection, rows(start, min(1024, size - start), width))
    client.flush(collection)
    client.load_collection(collection)
    seconds = time.perf_counter() - started
    client.close()
    return {"index_seconds": seconds, "index_memory_gib": peak_memory_gib()}


def search(uri: str, size: int, width: int, count: int) -> dict[str, float]:
    """Search what another process has written, as `retriever search` does; return the numbers."""
    started = time.perf_counter()
    client, collection = milvus.connect(uri, must_exist=milvus.is_file(uri)), f"vector_store_{size}"
    queries = rows(2**40, count, width)
    milvus.search(client, collection, "dense", [queries[0]["dense"]], [""], 10, "")
    found = {"first_search_seconds": time.perf_counter() - started}
    for mode in ("dense", "bm25"):
        seconds = []
        for query in queries:
            begun = time.perf_counter()
            milvus.search(client, collection, mode, [query["dense"]], [query["text"]], 10, "")
            seconds.append(1000 * (time.perf_counter() - begun))
        p50, p95 = np.percentile(seconds, [50, 95])
        found |= {f"{mode}_p50_ms": float(p50), f"{mode}_p95_ms": float(p95)}
    parts = {Path(uri), *Path(uri).parent.glob("**/*")} if milvus.is_file(uri) else set()
    disk = sum(part.stat().st_size for part in parts if part.is_file()) / 2**30
    client.drop_collection(collection)  # a server keeps it
    client.close()
    return found | {"search_memory_gib": peak_memory_gib(), "disk_gib": disk}


def peak_memory_gib() -> float:
    """Return the most memory that this process or one that it started has held."""
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(used) / 2**20


def measure(uri: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Index in one process, search in another: the one that wrote would search what it still holds itself."""
    found: dict[str, float] = {"size": size}
    for step, *more in ((write,), (search, options.queries)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found |= process.submit(step, uri, size, options.width, *more).result()
    return found


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
