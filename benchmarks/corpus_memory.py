"""How much memory a large corpus takes: python benchmarks/corpus_memory.py [--corpus FILE] [--gigabytes 5].

Makes a JSON-lines file of that size by drawing sentences of a real corpus (the shipped sample without one) into new
documents, one in ten a noised copy of an earlier one, runs `finbert2 corpus prepare` on it with two processes, and adds
up the resident memory of all its processes twice a second. Writes benchmarks/results/corpus_memory.json.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from finbert2 import files, runtime

ROOT = Path(__file__).resolve().parents[1]
COPIES, REMEMBERED = 0.1, 20_000


def sentences(corpus: Path) -> list[str]:
    """Return the corpus's sentences, escaped for JSON."""
    found = (
        s for row in files.read_rows(corpus) for s in re.findall(r"[^。！？\n]{8,200}[。！？]", row.values["text"])
    )
    return sorted({json.dumps(sentence, ensure_ascii=False)[1:-1] for sentence in found})


def documents(pool: list[str], rng: random.Random) -> Iterator[list[str]]:
    """Yield documents of 3 to 20 sentences without end; one in ten is an earlier one with a sentence exchanged."""
    earlier: list[list[str]] = []
    while True:
        if earlier and rng.random() < COPIES:
            made = list(rng.choice(earlier))
            made[rng.randrange(len(made))] = rng.choice(pool)
        else:
            made = rng.choices(pool, k=rng.randint(3, 20))
            if len(earlier) < REMEMBERED:
                earlier.append(made)
            else:
                earlier[rng.randrange(REMEMBERED)] = made
        yield made


def make(path: Path, pool: list[str], size: int) -> int:
    """Write documents up to `size` bytes; return their number."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, made in enumerate(documents(pool, random.Random(0)), start=1):  # noqa: B007 - returned
            file.write('{"text": "' + "".join(made) + '"}\n')
            if count % 1000 == 0 and file.tell() >= size:
                break
    return count


def watch(root: int) -> tuple[int, dict[int, float]]:
    """Return the resident bytes of a process and all its descendants, and the CPU seconds of each so far."""
    parents, seconds = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry)] = (int(fields[1]), int(fields[21]))
            seconds[int(entry)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    family, size = {root}, -1
    while len(family) != size:
        size = len(family)
        family |= {pid for pid, (parent, _) in parents.items() if parent in family}
    alive = family & parents.keys()
    return sum(parents[pid][1] for pid in alive) * os.sysconf("SC_PAGE_SIZE"), {pid: seconds[pid] for pid in alive}


def main() -> None:
    """Make the input, run, watch, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl")
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--num_proc", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="leave the output for a look")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="corpus_memory_"))
    source, output = folder / "input.jsonl", folder / "out"
    pool = sentences(options.corpus)
    count = make(source, pool, int(options.gigabytes * 10**9))
    print(f"{count:,} documents, {source.stat().st_size:,} bytes in {source}", flush=True)
    command = [sys.executable, "-m", "finbert2", "corpus", "prepare", "--input", str(source)]
    started = time.perf_counter()
    run = subprocess.Popen([*command, "--output_dir", str(output), "--num_proc", str(options.num_proc)])
    peak, most, seconds = 0, 0, dict[int, float]()
    while run.poll() is None:
        now, alive = watch(run.pid)
        peak, most, seconds = max(peak, now), max(most, len(alive)), seconds | alive
        time.sleep(0.5)
    cpu = sum(seconds.values())  # of workers too, which are not this process's children: up to their last half second
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    megabytes = source.stat().st_size / 10**6
    record = {
        "input": {"bytes": source.stat().st_size, "documents": count, "distinct_sentences": len(pool)},
        "num_proc": options.num_proc,
        "peak_rss_gib_of_all_processes": round(peak / 2**30, 2),
        "processes": most,
        "cpu_seconds": round(cpu, 1),
        "mb_per_cpu_second": round(megabytes / cpu, 2),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "documents_in": results["documents_in"],
        "documents_out": results["documents_out"],
        "dropped": results["dropped"],
        "largest_shard_bytes_packed": max(path.stat().st_size for path in (output / "train").glob("*.gz")),
        "machine": runtime.machine(),
        "versions": runtime.versions(),
    }
    files.write_json(ROOT / "benchmarks" / "results" / "corpus_memory.json", record)
    print(json.dumps(record, indent=2))
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
