"""Whether domain words help a model: python benchmarks/domain_words_pretraining.py --tokenizers NAME=FOLDER.

For each tokenizer a BERT of 4 layers × 256 is pretrained from scratch for the same CPU time: the cost of a step is
measured first, and as many steps are taken as fit the budget. Then it is fine-tuned on one classification task with the
same steps. Reported: held-out loss per character (per token it would favour long tokens) and the task's macro-F1. What
a work folder already holds is not made again. Run it with one thread (OMP_NUM_THREADS=1). Writes
benchmarks/results/domain_words_pretraining.json.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from finbert2 import files, runtime

MODEL = (
    "--hidden_size", "256", "--num_hidden_layers", "4", "--num_attention_heads", "4", "--intermediate_size", "1024",
)  # fmt: skip
SHORT, LONG = 20, 120  # steps of the two runs whose difference says what a step costs


def main() -> None:
    """Pretrain and fine-tune one model for each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", nargs="+", required=True, help="NAME=FOLDER")
    parser.add_argument("--train_data", required=True)
    parser.add_argument("--valid_data", required=True)
    parser.add_argument("--task", type=Path, required=True, help="folder with train.csv, dev.csv and test.csv")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cpu_seconds", type=float, default=360)
    parser.add_argument("--documents", type=int, default=30_000)
    parser.add_argument("--task_rows", type=int, default=9600)
    parser.add_argument("--task_epochs", type=int, default=4)
    options = parser.parse_args()
    data = options.work / "train.jsonl"
    rows = itertools.islice(files.read_documents([options.train_data]), options.documents)
    files.write_rows(data, ({"text": row.values["text"]} for row in rows))
    arms = {
        name: arm(name, folder, data, options) for name, folder in (one.split("=", 1) for one in options.tokenizers)
    }
    results = {
        "question": "4 × 256 BERT from scratch for the same CPU seconds: which words",
        "cpu_seconds_budget": options.cpu_seconds,
        "documents": options.documents,
        "task": options.task.name,
        "arms": arms,
        "machine": runtime.machine(),
        "versions": runtime.versions(),
    }
    files.write_json(Path(__file__).parent / "results" / "domain_words_pretraining.json", results)
    print(json.dumps(arms, indent=1))


def arm(name: str, tokenizer: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one tokenizer's model reaches."""
    folder = options.work / name
    common = (
        "pretrain", "run", "--tokenizer_name", tokenizer, *MODEL, "--train_data", str(data), "--valid_data",
        options.valid_data, "--max_seq_length", "128", "--row_length", "128", "--per_device_train_batch_size", "4",
        "--learning_rate", "1e-3", "--warmup_steps", "0.1", "--report_to", "none", "--save_strategy", "no",
        "--cache_dir", str(folder / "tokens"),
    )  # fmt: skip

    def pretrain(steps: int) -> float:
        """Run that many steps and return their CPU seconds."""
        return call(*common, "--max_steps", str(steps), "--output_dir", str(folder / f"mlm_{steps}"))

    cost = folder / "cost.json"
    if not cost.exists():
        call(*common, "--max_steps", "1", "--output_dir", str(folder / "tokenise"))  # fills the cache of token ids
        short, long = pretrain(SHORT), pretrain(LONG)
        step = (long - short) / (LONG - SHORT)
        steps = round(options.cpu_seconds / step)
        seconds = pretrain(steps) - (short - SHORT * step)
        files.write_json(cost, {"cpu_seconds_a_step": round(step, 3), "steps": steps, "cpu_seconds": round(seconds, 1)})
    found = json.loads(cost.read_text(encoding="utf-8"))
    model, task = folder / f"mlm_{found['steps']}", folder / "task"
    if not (task / "results.json").exists():
        call(
            "labeler", "train", "--task", "classification", "--model_name_or_path", str(model),
            "--train_data", str(options.task / "train.csv"), "--dev_data", "",
            "--test_data", str(options.task / "test.csv"), "--max_seq_length", "64",
            "--max_train_samples", str(options.task_rows), "--num_train_epochs", str(options.task_epochs),
            "--per_device_train_batch_size", "16", "--learning_rate", "5e-5", "--report_to", "none",
            "--output_dir", str(task),
        )  # fmt: skip
    met = read(model)
    found |= {name: met[name] for name in ("tokens_seen", "valid_loss_per_char", "valid")}
    found["task_macro_f1"] = read(task)["test"]["macro_f1"]
    print(name, found, flush=True)
    return found


def call(*argv: str) -> float:
    """Run a command of the suite in a process of its own and return the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "finbert2", *argv], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read(folder: Path) -> dict[str, Any]:
    """Return a run's results."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
