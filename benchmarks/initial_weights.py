"""What counts are worth to an encoder from scratch.

python benchmarks/initial_weights.py --corpus FILE --valid FILE --tokenizer FOLDER [--arms …] [--steps 700]

The same 4 × 256 BERT, text, masks and steps from random weights and by `--start_from_counts`: whole, and with each of
its parts switched off in turn. Reported: held-out loss per character before and after, seconds of the whole run, the
count included. What is in --work already is kept. Writes benchmarks/results/initial_weights.json.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from domain_pretraining import size

from finbert2 import files, runtime
from finbert2.pretrain import initial, run

WITHOUT = {
    "random weights": None,
    "counts": (),
    "counts, random embeddings": ("embeddings_by_neighbours",),
    "counts, random heads and positions": ("heads_for_neighbours",),
    "counts, no bias": ("bias_by_frequency",),
}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--arms", nargs="+", choices=WITHOUT, default=list(WITHOUT))
    parser.add_argument("--steps", type=int, default=700, help="of one row of 512 tokens")
    parser.add_argument("--work", type=Path, default=Path("outputs/initial_weights"))
    options = parser.parse_args()
    table = {}
    for arm in options.arms:
        output = options.work / arm.replace(",", "").replace(" ", "_")
        without = WITHOUT[arm]
        flags = [
            "--objective", "mlm", *size(4, 256), "--tokenizer_name", options.tokenizer, "--train_data", options.corpus,
            "--valid_data", options.valid, "--mask_ratio", "0.5", "--learning_rate", "1e-3", "--warmup_steps", "0.1",
            "--max_steps", options.steps, "--per_device_train_batch_size", "1", "--report_to", "none",
            "--start_from_counts", without is not None, "--cache_dir", options.work / "tokens", "--output_dir", output,
        ]  # fmt: skip
        with ExitStack() as stack:
            for part in without or ():
                stack.enter_context(mock.patch.object(initial, part))
            run.main([str(word) for word in flags])
        found = json.loads((output / "results.json").read_text(encoding="utf-8"))
        table[arm] = {
            "valid_loss_per_char_before": found["valid_before"]["loss_per_char"],
            **{name: found[name] for name in ("valid_loss_per_char", "loss_last", "steps", "tokens_seen", "seconds")},
        }
        print(arm, table[arm], flush=True)
    record = {"arms": table, "row_length": 512, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "initial_weights.json", record)


if __name__ == "__main__":
    main()
