"""Near-duplicate clusters of a JSON-lines file by another library, run by `corpus_near_duplicates.py` in its Python.

python benchmarks/corpus_peer.py datatrove|text_dedup INPUT.jsonl OUTPUT.json

Writes {"clusters": [cluster of each document, its own number if it has none],
"steps": {CPU seconds of each}, "wall_seconds": …}.
datatrove runs as its documentation shows: MinHash of 5-grams of words, words by its own tokenizer for Chinese (spaCy
with jieba), 14 × 8 hashes. text-dedup runs by its command with its defaults (5-grams, threshold 0.7), and its faster
hash; its words end at blanks and punctuation, so that of Chinese they are clauses.
"""

import json
import pickle
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def cpu() -> float:
    """Return the CPU seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def datatrove(source: Path, folder: Path) -> tuple[list[int], dict[str, float]]:
    """Return each document's cluster, and the CPU seconds of each stage."""
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.typeshelper import Languages

    config = MinhashConfig(hash_config=HashConfig(precision=64))
    count = sum(1 for _ in source.open(encoding="utf-8"))
    data = folder / "data"
    data.mkdir()
    (data / "a.jsonl").symlink_to(source.absolute())
    signature = MinhashDedupSignature(str(folder / "sig"), config=config, language=Languages.mandarin_chinese)
    signature.word_tokenizer.word_tokenize("加载词典")  # its dictionary is loaded once, not for every document
    steps, started = {}, cpu()
    signature(JsonlReader(str(data))(None, 0, 1), 0, 1)
    steps["signatures"] = cpu() - started
    buckets = MinhashDedupBuckets(str(folder / "sig"), str(folder / "dup"), config=config)
    for bucket in range(config.num_buckets):
        buckets(None, bucket, config.num_buckets)
    MinhashDedupCluster(str(folder / "dup"), str(folder / "rem"), config=config, save_cluster_id=True)(None, 0, 1)
    steps["buckets and clusters"] = cpu() - started - steps["signatures"]
    clusters = list(range(count))
    path = folder / "rem" / "000000.clusters"
    for document, cluster in struct.iter_unpack("<2I", path.read_bytes()) if path.exists() else ():
        clusters[document] = count + cluster
    return clusters, steps


def text_dedup(source: Path, folder: Path) -> tuple[list[int], dict[str, float]]:
    """Return each document's cluster, and the CPU seconds of the command."""
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(source)]
    command += ["--split", "train", "--column", "text", "--output", str(folder / "out"), "--debug", "--num_proc", "1"]
    started = cpu()
    subprocess.run([*command, "--hash_func", "xxh3", "--cache_dir", str(folder / "cache")], check=True, cwd=folder)
    steps = {"all": cpu() - started}
    count = sum(1 for _ in source.open(encoding="utf-8"))
    saved = pickle.loads((folder / "out" / "uf.pkl").read_bytes())
    parents = saved if isinstance(saved, dict) else saved.parent
    return [root(parents, number) for number in range(count)], steps


def root(parents: dict[int, int], number: int) -> int:
    """Return the first document of a cluster; a parent may have one itself."""
    while (parent := int(parents.get(number, number))) != number:
        number = parent
    return number


def main() -> None:
    """Run one library and write what it found."""
    name, source, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clusters, steps = {"datatrove": datatrove, "text_dedup": text_dedup}[name](source, Path(folder))
    wall = time.perf_counter() - started
    output.write_text(json.dumps({"clusters": clusters, "steps": steps, "wall_seconds": wall}), encoding="utf-8")


if __name__ == "__main__":
    main()
