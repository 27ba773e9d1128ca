"""Megabytes per CPU-second of each step of `corpus prepare`: python benchmarks/corpus_throughput.py.

[--corpus FILE] a real corpus (without it, the shipped sample), [--documents N] of it; [--peers PYTHON] a Python that
has datatrove with spacy and jieba, and text-dedup, whose MinHash runs on the same file, one after the other with ours.
One process, medians of several runs. Writes benchmarks/results/corpus_throughput.json.
"""

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datatrove.data import Document

from finbert2 import files, runtime
from finbert2.corpus import blocks, decontaminate, dedup, filters, reading, shards
from finbert2.corpus.clean import clean

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl"
EVALUATION_TEXTS = 2_000


def steps(source: Path, evaluation: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return each step as a function without arguments; a step uses what the ones before it made."""
    made: dict[str, Any] = {}
    tasks, _ = blocks.divide([source], 1, count=False)
    index = decontaminate.Index.read([str(evaluation)])
    sketches, candidates, judged, chosen = (folder / name for name in ("s", "c", "j", "v"))

    def read() -> None:
        made["raw"] = [r.values["text"] for task in tasks for b in task for r in reading.read_block(b, reading.stop)]

    def cleaning() -> None:
        made["clean"] = [clean(text) for text in made["raw"]]

    def filtering() -> None:
        made["kept"] = [text for text in made["clean"] if filters.drop_reason(text) is None]
        made["docs"] = [Document(text=text, id="", metadata={shards.SPLIT: "train"}) for text in made["kept"]]

    return {
        "read": read,
        "clean": cleaning,
        "filter": filtering,
        "decontaminate": lambda: [index.contaminates(text) for text in made["kept"]],
        "sketch": lambda: list(dedup.Sketches(sketches).run(iter(made["docs"]), 0, 1)),
        "pair": lambda: dedup.Candidates(sketches, candidates).run(None, 0, 1),
        "judge": lambda: dedup.Judge(sketches, candidates, judged).run(None, 0, 1),
        "choose": lambda: dedup.Choose(sketches, judged, chosen, 50).run(None, 0, 1),
        "write": lambda: list(shards.ShardWriter(folder / "out", 2**28).run(iter(made["docs"]))),
    }


def measure(source: Path, evaluation: Path) -> dict[str, float]:
    """Return the CPU seconds of each step, in order."""
    folder = Path(tempfile.mkdtemp())
    seconds = {}
    for name, step in steps(source, evaluation, folder).items():
        started = time.process_time()
        step()
        seconds[name] = time.process_time() - started
    shutil.rmtree(folder)
    return seconds


def peer(python: str, name: str, source: Path, folder: Path) -> dict[str, float]:
    """Return the CPU seconds of each step of a peer."""
    output = folder / f"{name}.json"
    script = str(Path(__file__).with_name("corpus_peer.py"))
    subprocess.run([python, script, name, str(source), str(output)], check=True, capture_output=True)
    return json.loads(output.read_text(encoding="utf-8"))["steps"]


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each entry."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    """Measure in turns, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=SAMPLE)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default="")
    options = parser.parse_args()
    texts = [row.values["text"] for row in itertools.islice(files.read_rows(options.corpus), options.documents)]
    megabytes = sum(len(text.encode()) for text in texts) / 10**6
    ours, peers = [], {name: [] for name in ("datatrove", "text_dedup") if options.peers}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, evaluation = folder / "texts.jsonl", folder / "evaluation.txt"
        files.write_rows(source, ({"text": text} for text in texts))
        files.write_text(evaluation, "".join(f"{text[-60:].strip()}\n" for text in texts[:EVALUATION_TEXTS]))
        for _ in range(options.runs):
            ours.append(measure(source, evaluation))
            for other, runs in peers.items():
                runs.append(peer(options.peers, other, source, folder))
    seconds = medians(ours)
    dedup_seconds = sum(seconds[step] for step in ("sketch", "pair", "judge", "choose"))
    record: dict[str, Any] = {
        "corpus": options.corpus.name, "documents": len(texts), "megabytes": round(megabytes, 2), "runs": options.runs,
        "mb_per_cpu_second": {step: round(megabytes / used, 1) for step, used in seconds.items()}
        | {"all": round(megabytes / sum(seconds.values()), 2), "near duplicates": round(megabytes / dedup_seconds, 2)},
        "cpu_seconds_of_each_run": [{step: round(used, 3) for step, used in run.items()} for run in ours],
    }  # fmt: skip
    for other, runs in peers.items():
        used = sum(medians(runs).values())
        record[other] = {
            "mb_per_cpu_second": round(megabytes / used, 2),
            "times_slower_than_ours": round(used / dedup_seconds, 2),
            "cpu_seconds_of_each_run": [{step: round(s, 2) for step, s in run.items()} for run in runs],
        }
    record |= {"machine": runtime.machine(), "versions": runtime.versions()}
    name = "corpus_throughput_sample.json" if options.corpus == SAMPLE else "corpus_throughput.json"
    files.write_json(ROOT / "benchmarks" / "results" / name, record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
