"""Precision and recall of near-duplicates on a planted set: python benchmarks/corpus_near_duplicates.py.

[--corpus FILE --titles FILE] real texts to plant in (without them, the shipped samples); [--peers PYTHON] a Python that
has datatrove with spacy and jieba, and text-dedup, to run them on the same set.
What counts as a near copy is defined in planted.py. Writes benchmarks/results/corpus_near_duplicates_real.json, or
…_sample.json.
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from planted import make

from finbert2 import files, runtime
from finbert2.corpus import blocks, dedup, pipeline

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = (ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl", ROOT / "Fin-Topicmodel" / "sample_titles.csv")


def our_pairs(source: Path, folder: Path) -> list[tuple[int, int]]:
    """Return the pairs (row dropped, row it is a copy of) that `corpus prepare`'s own stages decide on."""
    tasks, _ = blocks.divide([source], 1, count=False)
    recipe = pipeline.Recipe("text", "source", "stop", "keep", 0.01, 2**28, folder / "out", folder / "work")
    stages = pipeline.build(tasks, recipe, decontaminates=False)
    rows: list[int] = []
    for stage in stages[:4]:
        for rank in range(stage.tasks):
            data = None
            for step in stage.steps:
                data = step(data, rank, stage.tasks)
            rows += [int(doc.metadata["row"]) for doc in data or ()]
    judged = folder / "work" / "judged"
    pairs = np.concatenate([np.load(path) for path in sorted(judged.glob("*.pairs.npy"))])
    kinds = np.concatenate([np.load(path) for path in sorted(judged.glob("*.kinds.npy"))])
    _, decisive = dedup.choose(pairs, kinds, len(rows))
    return [(rows[late], rows[early]) for early, late in zip(*dedup.unpack(pairs[decisive]), strict=True)]


def pairs_of_clusters(clusters: list[int], families: list[str]) -> list[tuple[int, int]]:
    """Return (row dropped, row of the same cluster) for all rows but the first of each cluster.

    The partner is the family's earlier member where the cluster holds it: of two families that a peer unites one is
    lost, and dropping its copy is right all the same.
    """
    first: dict[int, int] = {}
    kin: dict[tuple[int, str], int] = {}
    pairs = []
    for row, place in enumerate(zip(clusters, families, strict=True)):
        if first.setdefault(place[0], row) != row:
            pairs.append((row, kin.get(place, first[place[0]])))
        kin.setdefault(place, row)
    return pairs


def score(rows: list[dict[str, Any]], pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """Return precision and recall, for all, for titles and for texts, and the recall of each kind of copy."""
    planted = {row["family"]: row["kind"] for row in rows if is_copy(row["kind"])}
    right = [rows[one]["family"] for one, other in pairs if rows[one]["family"] == rows[other]["family"]]
    wrong = [(one, other) for one, other in pairs if rows[one]["family"] != rows[other]["family"]]
    found = Counter(planted[family] for family in set(right) & planted.keys())
    there = Counter(planted.values())
    table: dict[str, Any] = {"recall_by_kind": {kind: round(found[kind] / there[kind], 4) for kind in sorted(there)}}
    for sort in ("", "title", "text"):
        kinds = [kind for kind in there if kind.startswith(sort)]
        dropped = [one for one, _ in pairs if rows[one]["kind"].startswith(sort)]
        bad = [one for one, _ in wrong if rows[one]["kind"].startswith(sort)]
        table[sort or "all"] = {
            "precision": round(1 - len(bad) / max(1, len(dropped)), 4),
            "recall": round(sum(found[kind] for kind in kinds) / sum(there[kind] for kind in kinds), 4),
        }
    lost = Counter(rows[one]["kind"] for one, _ in wrong)
    table["wrongly_dropped"] = {kind: [count, sum(row["kind"] == kind for row in rows)] for kind, count in lost.items()}
    table["examples_wrong"] = [[rows[one]["text"][:80], rows[other]["text"][:80]] for one, other in wrong[:12]]
    return table


def is_copy(kind: str) -> bool:
    """Tell whether a kind is one of near copies."""
    return kind.split("/")[1] in ("edits", "numbers", "boilerplate", "reordered")


def peer_pairs(python: str, name: str, source: Path, folder: Path, families: list[str]) -> list[tuple[int, int]]:
    """Return the pairs of a peer's clusters."""
    output = folder / f"{name}.json"
    subprocess.run(
        [python, str(Path(__file__).with_name("corpus_peer.py")), name, str(source), str(output)], check=True
    )
    return pairs_of_clusters(json.loads(output.read_text(encoding="utf-8"))["clusters"], families)


def main() -> None:
    """Plant, find, score, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=SAMPLES[0])
    parser.add_argument("--titles", type=Path, default=SAMPLES[1])
    parser.add_argument("--peers", default="")
    parser.add_argument("--families", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", action="store_true", help="print what was dropped wrongly")
    options = parser.parse_args()
    titles = [row.values["title"] for row in files.read_rows(options.titles)]
    texts = [row.values["text"] for row in files.read_rows(options.corpus)]
    texts = random.Random(0).sample(texts, min(len(texts), 20_000))
    record: dict[str, Any] = {"corpus": options.corpus.name, "titles": options.titles.name, "runs": []}
    for seed in range(options.seeds):
        rows = make(titles, texts, options.families, seed)
        run: dict[str, Any] = {"seed": seed, "documents": dict(Counter(row["kind"] for row in rows))}
        with tempfile.TemporaryDirectory() as name:
            folder, source = Path(name), Path(name) / "planted.jsonl"
            files.write_rows(source, ({**row, "row": place} for place, row in enumerate(rows)))
            run["ours"] = score(rows, our_pairs(source, folder))
            for peer in ("datatrove", "text_dedup") if options.peers else ():
                families = [row["family"] for row in rows]
                run[peer] = score(rows, peer_pairs(options.peers, peer, source, folder, families))
        for table in (run[name] for name in ("ours", "datatrove", "text_dedup") if name in run):
            examples = table.pop("examples_wrong")
            if options.examples:
                print(json.dumps(examples, ensure_ascii=False, indent=1))
        record["runs"].append(run)
        print(json.dumps(run, ensure_ascii=False, indent=1), flush=True)
    for name in ("ours", "datatrove", "text_dedup"):
        scores = [run[name] for run in record["runs"] if name in run]
        record[f"{name}_median"] = {
            sort: {m: float(np.median([s[sort][m] for s in scores])) for m in ("precision", "recall")}
            for sort in ("all", "title", "text")
        } if scores else None  # fmt: skip
    record |= {"machine": runtime.machine(), "versions": runtime.versions()}
    path = (
        ROOT
        / "benchmarks"
        / "results"
        / f"corpus_near_duplicates_{'sample' if options.corpus == SAMPLES[0] else 'real'}.json"
    )
    files.write_json(path, record)


if __name__ == "__main__":
    main()
