"""What a small encoder learns of the same tokens in fewer or more steps: python benchmarks/tokens_a_step.py.

On the shipped sample, by the suite's own commands: corpus, tokenizer, and then a BERT of 4 layers × 256 from scratch by
MLM, with the same tokens in steps of 2,048, 1,024, 512 and 256, one run each. Reported: held-out loss per character and
seconds. What is in --work already is kept. Writes benchmarks/results/tokens_a_step.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from finbert2 import files, runtime

ROOT = Path(__file__).resolve().parents[1]
SIZE = ("--hidden_size", "256", "--num_hidden_layers", "4", "--num_attention_heads", "4", "--intermediate_size", "1024")
SHAPES = {2048: (4, 512), 1024: (2, 512), 512: (1, 512), 256: (1, 256)}  # tokens a step: rows of so many tokens


def main() -> None:
    """Make the data, train each way, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("outputs/tokens_a_step"))
    parser.add_argument("--tokens", type=int, default=307_200)
    options = parser.parse_args()
    corpus, tokenizer = options.work / "corpus", options.work / "tokenizer"
    made(corpus, "corpus", "prepare", "--input", ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl")
    made(
        tokenizer, "tokenizer", "train", "--corpus", corpus / "train", "--num_added_tokens", 2000,
        "--unigram_vocab_size", 6000, "--base_vocab_size", 12000,
    )  # fmt: skip
    table = {}
    for tokens, (rows, length) in SHAPES.items():
        found = made(
            options.work / f"mlm_{tokens}", "pretrain", "run", "--tokenizer_name", tokenizer, *SIZE, "--train_data",
            corpus / "train", "--valid_data", corpus / "valid", "--max_seq_length", 128, "--row_length", length,
            "--per_device_train_batch_size", rows, "--max_steps", options.tokens // tokens, "--learning_rate", "1e-3",
            "--warmup_steps", "0.1", "--report_to", "none",
        )  # fmt: skip
        names = ("steps", "tokens_seen", "valid_loss_per_char", "seconds")
        table[tokens] = {name: found[name] for name in names}
        print(tokens, table[tokens], flush=True)
    record = {"by_tokens_a_step": table, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(ROOT / "benchmarks" / "results" / "tokens_a_step.json", record)


def made(output: Path, *command: object) -> dict:
    """Run a command of the suite unless its results are there, and return them."""
    if not (output / "results.json").exists():
        words = [str(word) for word in (*command, "--output_dir", output)]
        subprocess.run([sys.executable, "-m", "finbert2", *words], check=True)
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
