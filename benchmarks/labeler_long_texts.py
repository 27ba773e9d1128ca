"""Which part of a long text to read: python benchmarks/labeler_long_texts.py TASK ENCODER [--seeds 5].

Trains `finbert2 labeler train` on a task of long texts (SC_2: median 346 characters) under each policy of --long_texts,
with the same seeds and steps, and writes macro-F1 (mean, sd) and CPU seconds (where this call trained every seed) to
benchmarks/results/labeler_long_texts.json.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from labeler_tasks import seeds, spread

from finbert2 import files, runtime
from finbert2.labeler import data, train

POLICIES = ("head", "head_tail", "windows")


def main() -> None:
    """Measure each policy and write the table down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--work_dir", type=Path, default=Path("outputs/labeler_long_texts"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max_seq_length", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    options = parser.parse_args()
    found = {}
    for policy in POLICIES:
        output = options.work_dir / policy
        arguments = {
            "model_name_or_path": options.encoder, "output_dir": output, "long_texts": policy,
            **{f"{part}_data": options.task / f"{part}.csv" for part in ("train", "dev", "test")},
            "seeds": options.seeds, "num_train_epochs": options.epochs, "per_device_train_batch_size": 16,
            "learning_rate": options.learning_rate, "max_seq_length": options.max_seq_length, "report_to": "none",
        }  # fmt: skip
        begun, started = output.exists(), time.process_time()
        train.main([str(word) for name, value in arguments.items() for word in (f"--{name}", value)])
        spent = round(time.process_time() - started, 1)
        results = json.loads((output / "results.json").read_text(encoding="utf-8"))
        values = seeds(results, "macro_f1")
        found[policy] = {"macro_f1": spread(values) | {"values": values}, "cpu_seconds": None if begun else spent}
        print(policy, found[policy], flush=True)
    lengths = [len(row.text) for row in data.read_examples(options.task / "test.csv")]
    record = {
        "policies": found, "median_characters": statistics.median(lengths), "max_seq_length": options.max_seq_length,
        "seeds": options.seeds, "epochs": options.epochs, "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "labeler_long_texts.json", record)


if __name__ == "__main__":
    main()
