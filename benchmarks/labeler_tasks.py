"""The table of Fin-labeler: python benchmarks/labeler_tasks.py DATA ENCODER [--seeds 5] [--tasks a b] [--train_rows N].

Every task of DATA/classification and DATA/ner, trained by `finbert2 labeler train` from ENCODER and from random weights
of its shape, with several seeds; beside them TF-IDF + logistic regression and the largest class, on the same training
rows. A finished run is not made again: the command can be stopped and goes on. Writes
benchmarks/results/labeler_tasks.json, and prints the table that docs/labeler.md holds.
"""

import argparse
import json
import math
from pathlib import Path

import torch
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


def run(task: Path, ner: bool, encoder: str, output: Path, options: argparse.Namespace) -> dict:
    """Train on a task and return its results; epochs as many as make `--steps` steps, between 3 and 20."""
    suffix = "txt" if ner else "csv"
    read = data.read_sentences if ner else data.read_examples
    rows = min(len(read(task / f"train.{suffix}")), options.train_rows or 10**9)
    epochs = min(20, max(3, math.ceil(options.steps * options.batch / rows)))
    arguments = {
        "task": "ner" if ner else "classification", "model_name_or_path": encoder, "output_dir": output,
        **{f"{part}_data": task / f"{part}.{suffix}" for part in ("train", "dev", "test")},
        "max_train_samples": options.train_rows, "max_test_samples": options.test_rows, "max_seq_length": 128,
        "num_train_epochs": epochs, "per_device_train_batch_size": options.batch, "seeds": options.seeds,
        "learning_rate": options.learning_rate, "save_total_limit": 1, "report_to": "none",
    }  # fmt: skip
    train.main([str(word) for name, value in arguments.items() for word in (f"--{name}", value)])
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def row(pretrained: dict, scratch: dict, ner: bool) -> dict:
    """Return what the table holds of a task."""
    score = "f1" if ner else "macro_f1"

    def spread(results: dict) -> dict:
        one = {"mean": results["test"][score], "sd": None, "values": [results["test"][score]]}
        return results["seeds"][score] if "seeds" in results else one

    found = {
        "score": score, "n_train": pretrained["n_train"], "n_test": pretrained["n_test"],
        "pretrained": spread(pretrained), "scratch": spread(scratch), "seconds": pretrained["seconds"],
    }  # fmt: skip
    if not ner:
        found |= {"classes": len(pretrained["labels"]), "ece": pretrained["calibration"]["ece_after"]}
        found |= {name: pretrained[name]["macro_f1"] for name in ("tfidf", "majority")}
        found["best_seed_minus_tfidf"] = pretrained["comparisons"]["tfidf"]
    return found


def table(tasks: dict[str, dict]) -> str:
    """Return the rows as Markdown."""

    def cell(value: dict) -> str:
        return f"{value['mean']:.3f}" + (f" ± {value['sd']:.3f}" if value["sd"] is not None else "")

    lines = [
        "| task | rows | pretrained | from scratch | TF-IDF + LR | majority |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in tasks.items():
        plain = [f"{one[other]:.3f}" if other in one else "–" for other in ("tfidf", "majority")]
        cells = [name, f"{one['n_train']:,} / {one['n_test']:,}", cell(one["pretrained"]), cell(one["scratch"]), *plain]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train every task and write the table down, task by task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--work_dir", type=Path, default=Path("outputs/labeler_tasks"))
    parser.add_argument("--tasks", nargs="*", help="names of tasks (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train_rows", type=int, default=0, help="0: all")
    parser.add_argument("--test_rows", type=int, default=0, help="0: all")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    options = parser.parse_args()
    scratch = random_weights(options.encoder, options.work_dir / "random")
    kinds = {"classification": False, "ner": True}
    folders = [(folder, ner) for kind, ner in kinds.items() for folder in sorted((options.data / kind).iterdir())]
    made_with = json.loads((Path(options.encoder) / "results.json").read_text(encoding="utf-8"))
    results = {
        "settings": {n: v for n, v in vars(options).items() if n not in ("data", "encoder", "work_dir", "tasks")},
        "encoder": {n: made_with.get(n) for n in ("steps", "tokens_seen", "seconds", "valid_loss_per_char")},
        "tasks": {}, "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    for folder, ner in folders:
        if options.tasks and folder.name not in options.tasks:
            continue
        one, other = (
            run(folder, ner, start, options.work_dir / name / folder.name, options)
            for name, start in (("pretrained", options.encoder), ("scratch", scratch))
        )
        results["tasks"][folder.name] = row(one, other, ner)
        files.write_json(Path(__file__).parent / "results" / "labeler_tasks.json", results)
        print(table(results["tasks"]), flush=True)


if __name__ == "__main__":
    main()
