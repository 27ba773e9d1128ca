"""Encoders that differ in what they read: python benchmarks/domain_pretraining.py DATA WORK [--tokenizer FOLDER].

    financial      all of DATA/corpus
    general        sentences of a newspaper: the training parts of DATA/ner, about half a million characters
    same_amount    as many characters of DATA/corpus
    …_retromae     one of these, gone on with by RetroMAE on its own texts for a fifth of the steps

One shape, one tokenizer (if none is named, a small one trained on the corpus, since half of the tokens pass the head),
the same number of steps, by `finbert2 pretrain run` (at the defaults half an hour each on two cores with AMX). The
batch ramp is of the first epoch alone, so what reads no text twice meets a little less of it. WORK gets a folder of
each; what is there already is kept. `labeler_tasks.py` then says what they are worth;
benchmarks/results/domain_pretraining.json how they were made, or domain_pretraining_from_counts.json for
--start_from_counts. Not for the NER tasks, whose training texts `general` has read.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoConfig

from finbert2 import files
from finbert2.labeler import data

READS, RETROMAE = ("financial", "same_amount", "general"), "_retromae"


def size(layers: int, width: int) -> list[str]:
    """Return the flags of an encoder with heads of 64 and feed-forward layers of four times the width."""
    flags = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64}
    flags["intermediate_size"] = 4 * width
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def main() -> None:
    """Write the texts and pretrain on each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="default: 8,000 pieces and 8,000 words, trained on the corpus")
    parser.add_argument("--encoders", nargs="+", default=[*READS, *(name + RETROMAE for name in READS)])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=2, help="rows of 512 tokens a step")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--start_from_counts", action="store_true", help="instead of from random weights")
    parser.add_argument("--workers", type=int, default=0, help="of the data loader; a GPU is faster than none")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    corpus = options.data / "corpus" / "corpus.jsonl.gz"
    options.tokenizer = options.tokenizer or trained_tokenizer(corpus, options.work / "tokenizer")
    general = list(dict.fromkeys(newspaper(options.data / "ner")))
    amount = sum(map(len, general))
    texts = {"general": general, "same_amount": list(as_many(corpus, amount))}
    for name in options.encoders:
        output = options.work / name
        if (output / "results.json").exists():
            continue
        reads = name.removesuffix(RETROMAE)
        source = corpus
        if reads in texts:
            source = options.work / f"{reads}.jsonl"
            files.write_rows(source, ({"text": text} for text in texts[reads]))
        finbert2(
            "pretrain", "run", "--train_data", source, "--valid_data",
            corpus.with_name("valid.jsonl.gz"), "--per_device_train_batch_size", options.batch,
            "--dataloader_num_workers", options.workers, "--warmup_steps", "0.05", "--report_to", "none",
            "--cache_dir", options.work / "tokens", "--output_dir", output,
            *(retromae(options, options.work / reads) if name != reads else mlm(options)),
        )  # fmt: skip
    made = {name: made_with(str(options.work / name)) for name in options.encoders}
    start = "_from_counts" if options.start_from_counts else ""
    files.write_json(Path(__file__).parent / "results" / f"domain_pretraining{start}.json", made)


def finbert2(*words: object) -> None:
    """Run a command of the suite."""
    subprocess.run([sys.executable, "-m", "finbert2", *map(str, words)], check=True)


def trained_tokenizer(corpus: Path, folder: Path) -> Path:
    """Train a tokenizer on the corpus if the folder holds none."""
    if not (folder / "tokenizer.json").exists():
        finbert2(
            "tokenizer", "train", "--corpus", corpus, "--output_dir", folder, "--base_vocab_size", 8000,
            "--num_added_tokens", 8000, "--unigram_vocab_size", 24000,
        )  # fmt: skip
    return folder


def mlm(options: argparse.Namespace) -> list[object]:
    """Return the flags of an encoder from scratch; the batch grows and half is masked at first (docs/pretrain.md)."""
    return [
        "--objective", "mlm", *size(options.layers, options.width), "--tokenizer_name", options.tokenizer,
        "--learning_rate", options.learning_rate, "--max_steps", options.steps,
        "--batch_ramp_steps", options.steps // 5, "--mask_ratio", "0.5", "--later_mask_ratios", "0.6:0.3",
        "--start_from_counts", options.start_from_counts,
    ]  # fmt: skip


def retromae(options: argparse.Namespace, start: Path) -> list[object]:
    """Return the flags of RetroMAE from an encoder of the first stage, which must be there."""
    return [
        "--objective", "retromae", "--model_name_or_path", start, "--learning_rate", options.learning_rate / 2,
        "--max_steps", options.steps // 5, "--cls_words_weight", "10",
    ]  # fmt: skip


def made_with(encoder: str) -> dict:
    """Return shape and making of an encoder of this suite; of others the shape."""
    path = Path(encoder) / "results.json"
    made = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    config = AutoConfig.from_pretrained(encoder)
    kept = (
        "steps", "resumed_at_step", "tokens_seen", "corpus_tokens", "seconds", "tokens_per_second", "mfu",
        "peak_device_memory_gib", "valid_loss_per_char", "machine", "versions",
    )  # fmt: skip
    shape = {"layers": config.num_hidden_layers, "width": config.hidden_size}
    accuracy = {"masked_accuracy": made.get("valid", {}).get("masked_accuracy")}
    return shape | {name: made.get(name) for name in kept} | accuracy


def newspaper(folder: Path) -> Iterator[str]:
    """Yield the sentences of every task's training part."""
    for path in sorted(folder.glob("*/train.txt")):
        yield from (sentence.text for sentence in data.read_sentences(path))


def as_many(corpus: Path, characters: int) -> Iterator[str]:
    """Yield documents of the corpus until they are so many characters."""
    for row in files.read_documents([corpus]):
        if characters <= 0:
            return
        yield row.values["text"]
        characters -= len(row.values["text"])


if __name__ == "__main__":
    main()
