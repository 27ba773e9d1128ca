"""Encoders that differ in what they read: python benchmarks/domain_pretraining.py DATA WORK --tokenizer FOLDER.

    general        sentences of a newspaper: the training parts of DATA/ner, about half a million characters
    same_amount    as many characters of DATA/corpus, which is financial
    financial      all of DATA/corpus

One shape, one tokenizer, the same number of steps and tokens, by `finbert2 pretrain run` (at the defaults half an hour
each on two cores with AMX). WORK gets a folder of each;
what is there already is kept. `labeler_tasks.py` then says what they are worth. Not for the NER tasks, whose training
texts `general` has read.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from finbert2 import files
from finbert2.labeler import data

SIZE = ("--hidden_size", "256", "--num_hidden_layers", "4", "--num_attention_heads", "4", "--intermediate_size", "1024")


def main() -> None:
    """Write the texts and pretrain on each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--encoders", nargs="+", default=["general", "same_amount", "financial"])
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=2, help="rows of 512 tokens a step")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    corpus = options.data / "corpus" / "corpus.jsonl.gz"
    general = list(dict.fromkeys(newspaper(options.data / "ner")))
    amount = sum(map(len, general))
    texts = {"general": general, "same_amount": list(as_many(corpus, amount))}
    for name in options.encoders:
        output = options.work / name
        if (output / "results.json").exists():
            continue
        source = corpus
        if name in texts:
            source = options.work / f"{name}.jsonl"
            files.write_rows(source, ({"text": text} for text in texts[name]))
        command = [
            sys.executable, "-m", "finbert2", "pretrain", "run", "--objective", "mlm", *SIZE, "--tokenizer_name",
            options.tokenizer, "--train_data", str(source), "--valid_data", str(corpus.with_name("valid.jsonl.gz")),
            "--max_steps", str(options.steps), "--per_device_train_batch_size", str(options.batch),
            "--learning_rate", "1e-3", "--warmup_steps", "0.05", "--batch_ramp_steps", str(options.steps // 5),
            "--mask_ratio", "0.5", "--later_mask_ratios", "0.6:0.3",
            "--report_to", "none", "--output_dir", str(output),
        ]  # fmt: skip
        subprocess.run(command, check=True)


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
