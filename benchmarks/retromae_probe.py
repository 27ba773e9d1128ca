"""Whether RetroMAE after MLM makes a better retriever than the same time of more MLM.

    python benchmarks/retromae_probe.py --corpus corpus.jsonl --tokenizer FOLDER --retrieval SET SET [--start ENCODER]

A 4 × 256 BERT is trained by MLM (or --start is a folder of `pretrain run`), then goes on for the same CPU-seconds by
MLM, by RetroMAE, or by RetroMAE with the text's words predicted from [CLS] as well. Each is a retriever untuned
(normalised [CLS]) and tuned by `retriever train` on each set with three seeds; `retriever evaluate` measures nDCG@10 on
a sample of the set's test queries and passages. What --cache holds already is not made again. Writes
benchmarks/results/retromae_probe.json.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from pretrain_quality import fresh, train_ours
from transformers import AutoTokenizer

from finbert2 import attention, files, runtime
from finbert2.pretrain import run
from finbert2.pretrain.data import load_windows
from finbert2.pretrain.model import BertForMaskedLM
from finbert2.pretrain.retromae import RetroMAE
from finbert2.retriever import evaluate as retriever_evaluate
from finbert2.retriever import train as retriever_train

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# name: model, mask ratio, weight of the words predicted from [CLS]
CONTINUATIONS: dict[str, tuple[Any, float, float]] = {
    "mlm": (BertForMaskedLM, 0.15, 0), "retromae": (RetroMAE, 0.30, 0), "retromae_words": (RetroMAE, 0.30, 10),
}  # fmt: skip
DROPOUT = dict.fromkeys(NO_DROPOUT, 0.1)


def pretrain(options: Any, cache: Path) -> dict[str, Any]:
    """Train the common MLM model and its continuations into `cache`; return steps and tokens of each."""
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    windows = load_windows(options.corpus, "text", tokenizer, 512, cache, "train")
    start, met = options.start, {}
    if start:
        made = json.loads((Path(start) / "results.json").read_text(encoding="utf-8"))
        met["start"] = {name: made[name] for name in ("steps", "loss_last")}
    else:
        start, model = str(cache / "start"), fresh(tokenizer)
        met["start"] = train_ours(model, tokenizer, windows, options.start_seconds, cache / "out", 1e-3, 1, 0.15)
        run.export(model, tokenizer, Path(start), DROPOUT)
    for name, (kind, ratio, words) in CONTINUATIONS.items():
        finished = cache / name / "met.json"
        if finished.exists():
            met[name] = json.loads(finished.read_text(encoding="utf-8"))
            continue
        model = kind.from_pretrained(start, attn_implementation=attention.register(), **NO_DROPOUT)
        if isinstance(model, RetroMAE):
            model.start_decoder_from_encoder()
            model.cls_words_weight = words
        met[name] = train_ours(model, tokenizer, windows, options.seconds, cache / "out", 5e-4, 1, ratio)
        run.export(model, tokenizer, cache / name, DROPOUT)
        files.write_json(finished, met[name])
        print(name, met[name], flush=True)
    return met


def ndcg(model: Path, data: Path, output: Path, options: Any, seed: int | None = None) -> float:
    """Return nDCG@10 of a retriever, tuned first where a seed is given, on the sampled test part of a set."""
    found = output / "results.json"
    if not found.exists():
        retriever = str(model if seed is None else tuned(model, data, output / "model", seed, options))
        retriever_evaluate.main([
            "--model_name_or_path", retriever, "--data", str(data), "--output_dir", str(output),
            "--max_queries", str(options.queries), "--max_passages", str(options.passages),
        ])  # fmt: skip
    results = json.loads(found.read_text(encoding="utf-8"))
    return float(next(iter(results["models"].values()))["ndcg@10"])


def tuned(model: Path, data: Path, output: Path, seed: int, options: Any) -> Path:
    """Tune a retriever on a set's training rows and return its folder."""
    retriever_train.main([
        "--model_name_or_path", str(model), "--train_data", str(data / "train_flagembedding.jsonl"), "--output_dir",
        str(output), "--train_group_size", "2", "--per_device_train_batch_size", "16", "--max_steps",
        str(options.steps), "--learning_rate", "2e-4", "--temperature", "0.05", "--query_max_len", "64",
        "--passage_max_len", "128", "--seed", str(seed), "--save_strategy", "no", "--report_to", "none",
        "--disable_tqdm", "True",
    ])  # fmt: skip
    return output


def main() -> None:
    """Pretrain, tune, measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--retrieval", nargs="+", required=True)
    parser.add_argument("--start", help="an encoder trained by MLM; without it one is trained here")
    parser.add_argument("--start_seconds", type=float, default=300, help="CPU-seconds of the common MLM")
    parser.add_argument("--seconds", type=float, default=200, help="CPU-seconds of each continuation")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--passages", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", default="/tmp/finbert2_probe")
    options = parser.parse_args()
    cache = Path(options.cache)
    met = pretrain(options, cache)
    table: dict[str, Any] = {}
    for data in map(Path, options.retrieval):
        for name in CONTINUATIONS:
            place = cache / f"{name}-{data.name}"
            row: dict[str, Any] = {"untuned": ndcg(cache / name, data, place / "untuned", options)}
            row["tuned"] = [ndcg(cache / name, data, place / f"seed-{seed}", options, seed) for seed in options.seeds]
            row["tuned_mean"] = statistics.fmean(row["tuned"])
            table.setdefault(data.name, {})[name] = row
            print(data.name, name, json.dumps(row), flush=True)
    record = {"options": vars(options), "pretraining": met, "ndcg@10": table}
    record |= {"machine": runtime.machine(), "versions": runtime.versions()}
    for name in ("corpus", "tokenizer", "cache", "retrieval", "start"):
        record["options"].pop(name)
    files.write_json(Path(__file__).parent / "results" / "retromae_probe.json", record)


if __name__ == "__main__":
    main()
