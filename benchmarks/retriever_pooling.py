"""[CLS] or mean, and at which rate, after minutes of pretraining: python benchmarks/retriever_pooling.py.

Goes on from a finished quickstart on the shipped sample (--quickstart): its RetroMAE encoder is trained on its mined
rows as the quickstart does, one run a way, and measured on the test queries beside BM25. Reported: nDCG@10 with
a 95 % interval over queries, that of the hybrid, the loss. Writes benchmarks/results/retriever_pooling.json.
"""

import argparse
from pathlib import Path

from tokens_a_step import made

from finbert2 import files, runtime

ROOT = Path(__file__).resolve().parents[1]
WAYS = [("cls", "3e-4"), ("cls", "1e-3"), ("mean", "3e-4"), ("mean", "1e-3")]


def main() -> None:
    """Train and measure each way, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quickstart", type=Path, default=Path("outputs/quickstart"))
    parser.add_argument("--work", type=Path, default=Path("outputs/retriever_pooling"))
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    table = {}
    for pooling, rate in WAYS:
        folder = options.work / f"{pooling}-{rate}"
        trained = made(
            folder, "retriever", "train", "--model_name_or_path", options.quickstart / "retromae", "--train_data",
            options.quickstart / "retriever" / "mined" / "sample_beir.jsonl", "--train_group_size", 2,
            "--temperature", "0.05", "--query_max_len", 48, "--passage_max_len", 96, "--learning_rate", rate,
            "--num_train_epochs", options.epochs, "--per_device_train_batch_size", 16,
            "--sentence_pooling_method", pooling, "--save_strategy", "no", "--report_to", "none",
        )  # fmt: skip
        found = made(
            options.work / f"{pooling}-{rate}.evaluate", "retriever", "evaluate", "--model_name_or_path", folder,
            "--data", ROOT / "Fin-retriever" / "sample_beir",
        )  # fmt: skip
        table[f"{pooling}, {rate}"] = {
            "ndcg@10": found["models"][str(folder)]["ndcg@10"],
            "interval": next(bounds for name, bounds in found["intervals"].items() if name.startswith("dense")),
            "hybrid_ndcg@10": next(iter(found["hybrid"].values()))["ndcg@10"],
            "loss_last": trained["loss_last"],
        }  # fmt: skip
        print(pooling, rate, table[f"{pooling}, {rate}"], flush=True)
    record = {"epochs": options.epochs, "ways": table, "bm25": found["bm25"]["ndcg@10"]}
    record |= {"machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(ROOT / "benchmarks" / "results" / "retriever_pooling.json", record)


if __name__ == "__main__":
    main()
