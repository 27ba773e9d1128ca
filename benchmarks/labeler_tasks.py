"""The table of Fin-labeler: python benchmarks/labeler_tasks.py DATA NAME=ENCODER… [--seeds 5] [--tasks a b].

Every task of DATA/classification and DATA/ner, trained by `finbert2 labeler train` from each encoder and from random
weights of the first one's shape, with several seeds; beside them TF-IDF + logistic regression and the largest class, on
the same training rows. Each start is compared with the next, random weights being the last: over seeds by Student's
paired t-test (the same seed draws the same order of rows); the best seed of the first with TF-IDF over test rows. A
finished run is not made again: the command can be stopped and goes on. Writes benchmarks/results/labeler_tasks.json
(another name: --record), or labeler_tasks_of_N_rows.json for --train_rows N, and prints the table. With --tasks a
record of the same settings but for the seeds keeps its other tasks; where seeds, encoders, machine or versions were
others, the task holds its own. Flags that are not this script's, --fgm 0.5 say, go to `labeler train` and into the
settings.
"""

import argparse
import json
import math
import statistics
from itertools import pairwise
from pathlib import Path

import torch
from domain_pretraining import made_with
from scipy import stats
from transformers import AutoConfig, AutoModel, AutoTokenizer

from finbert2 import files, runtime
from finbert2.labeler import data, train


def random_weights(encoder: str, folder: Path) -> str:
    """Write a model of the encoder's shape with random weights, and its tokenizer."""
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.from_pretrained(encoder)).save_pretrained(folder)
        AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return str(folder)


def run(task: Path, ner: bool, encoder: str, output: Path, options: argparse.Namespace, flags: list[str]) -> dict:
    """Train on a task and return its results; epochs as many as make `--steps` steps, between 3 and 20."""
    suffix = "txt" if ner else "csv"
    read = data.read_sentences if ner else data.read_examples
    rows = min(len(read(task / f"train.{suffix}")), options.train_rows or 10**9)
    epochs = min(20, max(3, math.ceil(options.steps * options.batch / rows)))
    arguments = {
        "task": "ner" if ner else "classification", "model_name_or_path": encoder, "output_dir": output,
        **{f"{part}_data": task / f"{part}.{suffix}" for part in ("train", "dev", "test")},
        "max_train_samples": options.train_rows, "max_test_samples": options.test_rows,
        "max_seq_length": options.max_seq_length, "num_train_epochs": epochs,
        "per_device_train_batch_size": options.batch, "seeds": options.seeds,
        "learning_rate": options.learning_rate, "save_total_limit": 1, "report_to": "none",
    }  # fmt: skip
    train.main([str(word) for name, value in arguments.items() for word in (f"--{name}", value)] + flags)
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def row(starts: dict[str, dict], ner: bool) -> dict:
    """Return what the table holds of a task, from the results of each start."""
    score = "f1" if ner else "macro_f1"
    leading = next(iter(starts.values()))
    values = {name: seeds(results, score) for name, results in starts.items()}
    found = {
        "score": score, "n_train": leading["n_train"], "n_test": leading["n_test"], "seconds": leading["seconds"],
        "values": values,
        "starts": {name: spread(one) for name, one in values.items()},
        "minus": {name: paired(values[before], values[name]) for before, name in pairwise(starts)},
    }  # fmt: skip
    if not ner:
        found |= {"classes": len(leading["labels"]), "ece": leading["calibration"]["ece_after"]}
        found |= {name: leading[name]["macro_f1"] for name in ("tfidf", "majority")}
        found["best_seed_minus_tfidf"] = leading["comparisons"]["tfidf"]
    return found


def seeds(results: dict, score: str) -> list[float]:
    """Return the score of each seed."""
    return results["seeds"][score]["values"] if "seeds" in results else [results["test"][score]]


def spread(values: list[float]) -> dict:
    """Return mean and standard deviation of the seeds' scores."""
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}


def paired(one: list[float], other: list[float]) -> dict:
    """Return the mean difference of paired seeds and its p."""
    p = float(stats.ttest_rel(one, other).pvalue) if len(one) > 1 else None
    return {"difference": statistics.mean(one) - statistics.mean(other), "p": p}


def table(tasks: dict[str, dict]) -> str:
    """Return the rows as Markdown."""

    def cell(value: dict) -> str:
        return f"{value['mean']:.3f}" + (f" ± {value['sd']:.3f}" if value["sd"] is not None else "")

    starts = list(next(iter(tasks.values()))["starts"])
    head = ["task", "rows", *starts, "TF-IDF + LR", "majority"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name, one in tasks.items():
        plain = [f"{one[other]:.3f}" if other in one else "–" for other in ("tfidf", "majority")]
        rows = f"{one['n_train']:,} / {one['n_test']:,}"
        lines.append(f"| {' | '.join([name, rows, *(cell(one['starts'][start]) for start in starts), *plain])} |")
    return "\n".join(lines)


def earlier(path: Path, now: dict) -> dict:
    """Return the record that is there if it is one of the same starts and, but for seeds, settings, else the new."""
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
    same = there["settings"] | {"seeds": now["settings"]["seeds"]} == now["settings"]
    return there if same and list(there["encoders"]) == list(now["encoders"]) else now


def main() -> None:
    """Train every task and write the table down, task by task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoders", nargs="+", metavar="NAME=ENCODER")
    parser.add_argument("--work_dir", type=Path, default=Path("outputs/labeler_tasks"))
    parser.add_argument("--tasks", nargs="*", help="names of tasks (default: all)")
    parser.add_argument("--record", default="labeler_tasks", help="name in benchmarks/results")
    parser.add_argument("--no_random", action="store_true", help="leave random weights out")
    parser.add_argument("--no_table", action="store_true", help="train and evaluate only: several can run at once")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train_rows", type=int, default=0, help="0: all")
    parser.add_argument("--test_rows", type=int, default=0, help="0: all")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--max_seq_length", type=int, default=512)
    options, flags = parser.parse_known_args()
    encoders = dict(one.split("=", 1) for one in options.encoders)
    starts = dict(encoders)
    if not options.no_random:
        starts["from scratch"] = random_weights(next(iter(encoders.values())), options.work_dir / "random")
    kinds = {"classification": False, "ner": True}
    folders = [(folder, ner) for kind, ner in kinds.items() for folder in sorted((options.data / kind).iterdir())]
    of_rows = f"_of_{options.train_rows}_rows" if options.train_rows else ""
    path = Path(__file__).parent / "results" / f"{options.record}{of_rows}.json"
    settings = ("seeds", "train_rows", "test_rows", "steps", "batch", "learning_rate", "max_seq_length")
    now = {
        "settings": {name: getattr(options, name) for name in settings} | ({"flags": flags} if flags else {}),
        "encoders": {name: made_with(encoder) for name, encoder in encoders.items()},
        "tasks": {}, "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    results = earlier(path, now) if options.tasks else now
    made_by = ("settings", "encoders", "machine", "versions")
    own = {name: now[name] for name in made_by if now[name] != results[name]}
    for folder, ner in folders:
        if options.tasks and folder.name not in options.tasks:
            continue
        found = {
            name: run(folder, ner, start, options.work_dir / name.replace(" ", "_") / folder.name, options, flags)
            for name, start in starts.items()
        }
        if options.no_table:
            continue
        results["tasks"][folder.name] = row(found, ner) | own
        files.write_json(path, results)
        print(table(results["tasks"]), flush=True)


if __name__ == "__main__":
    main()
