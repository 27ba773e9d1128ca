"""What share of the tokens to mask where there is little time.

python benchmarks/mask_ratio.py --corpus FILE --valid FILE --tokenizer FOLDER [--ratios …] [--rates …] [--steps 700]

A 4 × 256 BERT from scratch for every ratio and peak rate by `finbert2 pretrain run`, --batch rows of 512 tokens a step;
all see the same tokens in the same order. Held out: loss per character at 15 % masks, whatever was trained with. A run
that is finished in --work is not made again. Writes benchmarks/results/mask_ratio.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from domain_pretraining import size

from finbert2 import files, runtime


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.15, 0.3, 0.4, 0.6])
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=1, help="rows of 512 tokens a step")
    parser.add_argument("--work", type=Path, default=Path("outputs/mask_ratio"))
    options = parser.parse_args()
    table = []
    for ratio in options.ratios:
        for rate in options.rates:
            output = options.work / f"{ratio:g}_{rate:g}_{options.batch}_{options.steps}"
            if not (output / "results.json").exists():
                command = [
                    sys.executable, "-m", "finbert2", "pretrain", "run", "--objective", "mlm", *size(4, 256),
                    "--tokenizer_name", options.tokenizer, "--train_data", options.corpus, "--valid_data",
                    options.valid, "--mask_ratio", ratio, "--learning_rate", rate, "--max_steps", options.steps,
                    "--per_device_train_batch_size", options.batch, "--warmup_steps", "0.1", "--report_to", "none",
                    "--cache_dir", options.work / "tokens", "--output_dir", output,
                ]  # fmt: skip
                subprocess.run([str(word) for word in command], check=True)
            found = json.loads((output / "results.json").read_text(encoding="utf-8"))
            kept = {name: found[name] for name in ("valid_loss_per_char", "loss_last", "tokens_seen", "seconds")}
            table.append({"mask_ratio": ratio, "learning_rate": rate, **kept})
            print(table[-1], flush=True)
    recipe = {"steps": options.steps, "rows_a_step": options.batch, "row_length": 512}
    record = {**recipe, "runs": table, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "mask_ratio.json", record)


if __name__ == "__main__":
    main()
