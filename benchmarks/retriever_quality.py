"""nDCG@10 of training recipes on test sets, over seeds.

python benchmarks/retriever_quality.py --data FOLDER --model ENCODER [--retromae ENCODER] [--held_out SET]

FOLDER holds BEIR folders with train_flagembedding.jsonl, one model is trained and evaluated on all of them; with
--held_out it is trained on the others and evaluated on that one. ENCODER is the encoder to start from, --retromae
another start. Arms, each with every seed: untuned; original (8 queries a step, the given negatives); large_batch
(--queries a step by GradCache); mined (negatives by the untuned encoder and BM25, then as large_batch); retromae
(mined, from the other start). Each is evaluated by `retriever evaluate`: dense, BM25 of character bigrams, hybrid with
its weight chosen on dev; BM25 of jieba's words once. What a work folder already holds is not made again. Writes
benchmarks/results/retriever_quality[_without_SET].json: mean and standard deviation over seeds, each seed's results
with intervals.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from domain_pretraining import made_with

from finbert2 import files, runtime
from finbert2.retriever import benchmark, evaluate, metrics

RESULTS = Path(__file__).parent / "results"
ARMS = ("untuned", "original", "large_batch", "mined", "retromae")


def command(*words: object) -> None:
    """Run a verb of the retriever."""
    subprocess.run([sys.executable, "-m", "finbert2", "retriever", *map(str, words)], check=True)


def mined(sets: list[Path], options: argparse.Namespace) -> list[Path]:
    """Return each set's rows with mined negatives."""
    found = []
    for one in sets:
        path = options.work / "mined" / f"{one.name}.jsonl"
        if not path.exists():
            command(
                "mine", "--train_data", one / "train_flagembedding.jsonl", "--candidate_pool", one / "corpus.jsonl",
                "--model_name_or_path", options.model, "--source", "both", "--output", path,
            )  # fmt: skip
        found.append(path)
    return found


def trained(arm: str, seed: int, sets: list[Path], options: argparse.Namespace) -> str:
    """Return the model of an arm and seed."""
    if arm == "untuned":
        return options.model
    folder = options.work / "models" / "-".join([arm, str(seed), *(one.name for one in sets)])
    plain = [one / "train_flagembedding.jsonl" for one in sets]
    rows = plain if arm in ("original", "large_batch") else mined(sets, options)
    batch = (8, 0) if arm == "original" else (options.queries, options.tokens)
    start = options.retromae if arm == "retromae" else options.model
    if (folder / "results.json").exists():
        return str(folder)
    command(
        "train", "--model_name_or_path", start, "--train_data", *rows, "--max_steps", options.max_steps,
        "--per_device_train_batch_size", batch[0], "--mini_batch_tokens", batch[1], "--seed", seed,
        "--num_train_epochs", options.epochs, "--learning_rate", options.learning_rate,
        "--train_group_size", options.group, "--temperature", options.temperature,
        "--passage_max_len", options.passage_max_len, "--output_dir", folder,
    )  # fmt: skip
    return str(folder)


def evaluated(seed: int, model: str, one: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return an evaluation's nDCG@10 of the dense, BM25 and hybrid run, with intervals and a paired test."""
    folder = options.work / "evaluate" / one.name / Path(model).name
    path = folder / "results.json"
    if not path.exists():
        command("evaluate", "--model_name_or_path", model, "--data", one, "--output_dir", folder, "--seed", seed)
    results = json.loads(path.read_text(encoding="utf-8"))
    hybrid = next(iter(results["hybrid"].values()))
    (against,) = (p for name, p in results["p_values"]["bm25"].items() if name.startswith("hybrid"))
    return {
        "dense": next(iter(results["models"].values()))["ndcg@10"],
        "bm25": results["bm25"]["ndcg@10"],
        "hybrid": hybrid["ndcg@10"],
        "weight": hybrid["weight"],
        "hybrid_against_bm25_p": against,
        "intervals": {name.partition("-")[0]: interval for name, interval in results["intervals"].items()},
        "machine": results["machine"],
    }


def bm25_words(one: Path) -> float:
    """Return the nDCG@10 of BM25 with jieba's words."""
    full = benchmark.load(str(one), "test")
    run, _ = evaluate.bm25(full, None, "words")
    return metrics.measure(run, full.judgements)["ndcg@10"]


def main() -> None:
    """Train and evaluate what is missing, then write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--retromae")
    parser.add_argument("--no_table", action="store_true", help="train and evaluate only: several can run at once")
    parser.add_argument("--held_out", help="a set of FOLDER to evaluate on, the others to train on")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--work", type=Path, default=Path("outputs/retriever_quality"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--group", type=int, default=15)
    parser.add_argument("--temperature", type=float, default=0.01)
    parser.add_argument("--passage_max_len", type=int, default=512)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--max_steps", type=int, default=-1)
    parser.add_argument("--learning_rate", type=float, default=2e-5)
    options = parser.parse_args()
    sets = sorted(path.parent for path in options.data.glob("*/train_flagembedding.jsonl"))
    training = [one for one in sets if one.name != options.held_out]
    tested = [one for one in sets if one.name == options.held_out] if options.held_out else sets
    without = f"_without_{options.held_out}" if options.held_out else ""
    arms = [arm for arm in options.arms if arm != "retromae" or options.retromae]
    table: dict[str, Any] = {one.name: {} for one in tested}
    for arm in arms:
        seeds = options.seeds[:1] if arm == "untuned" else options.seeds
        models = {seed: trained(arm, seed, training, options) for seed in seeds}
        for one in tested:
            found = [evaluated(seed, model, one, options) for seed, model in models.items()]
            summary = {
                kind: (
                    statistics.mean(f[kind] for f in found),
                    statistics.stdev(f[kind] for f in found) if len(found) > 1 else None,
                )
                for kind in ("dense", "bm25", "hybrid")
            }
            table[one.name][arm] = {"mean_sd": summary, "seeds": found}
            print(one.name, arm, summary)
    if options.no_table:
        return
    paths = ("data", "model", "retromae", "work", "no_table")
    recipe = {name: value for name, value in vars(options).items() if name not in paths}
    files.write_json(RESULTS / f"retriever_quality{without}.json", {
        "recipe": recipe, "encoder": made_with(options.model), "sets": table,
        "bm25_words": {one.name: bm25_words(one) for one in tested},
        "machine": runtime.machine(), "versions": runtime.versions(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
