"""How many examples of 512 tokens a loader process makes a second: python benchmarks/collator.py --tokenizer FOLDER.

Ours: rows gathered from the memory-mapped corpus and masked; for RetroMAE also a visible set for every predicted token,
here on the CPU, although training makes them on the device. Beside it what a Trainer user has in transformers today,
`DataCollatorForLanguageModeling`, with and without `whole_word_mask`; it is fed ids and tokenises nothing either.
With --original FILE another one can be put beside them: a Python file that defines `collate(texts) -> batch`, say by
the original's own `mlmCollator` or FlagEmbedding's `RetroMAECollator` (both need transformers 4). CPU-seconds of one
thread; documents of the corpus are joined to examples of 512 tokens. Writes benchmarks/results/collator.json.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from finbert2 import files, runtime
from finbert2.pretrain.collator import Collator
from finbert2.pretrain.data import load_windows
from finbert2.pretrain.masking import Masker
from finbert2.pretrain.packing import PackedRows, Place
from finbert2.pretrain.visible import visible_set

LENGTH = 512


def examples_per_second(make: Callable[[int], Any], batches: int, batch: int, rounds: int = 5) -> float:
    """Return the median over rounds of examples made per CPU-second."""
    make(0)
    found = []
    for _ in range(rounds):
        started = time.process_time()
        for number in range(batches):
            make(number)
        found.append(batches * batch / (time.process_time() - started))
    return round(statistics.median(found), 1)


def with_visible_sets(batch: dict[str, Any]) -> list[torch.Tensor]:
    """Return the visible sets of a RetroMAE batch, as the model makes them."""
    decoder = batch["decoder_batch"]
    return [visible_set(block, decoder["draws"], 0.5) for block in decoder["blocks"]]


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--original", help="Python file with collate(texts)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--cache", default="/tmp/finbert2_bench")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    texts = [row.values["text"] for row in files.read_documents(options.corpus)]
    long = ["".join(texts[n : n + 12]) for n in range(0, len(texts) - 12, 12)]
    joined = Path(options.cache) / "joined.jsonl"
    joined.parent.mkdir(parents=True, exist_ok=True)
    files.write_rows(joined, ({"text": text} for text in long))
    specials = tuple(tokenizer.all_special_ids)
    results: dict[str, Any] = {}
    masker = Masker(tokenizer.mask_token_id, specials, len(tokenizer), 0)
    for label, corpus in (("one document of 512", [str(joined)]), ("packed news", options.corpus)):
        windows = load_windows(corpus, "text", tokenizer, LENGTH, Path(options.cache), "collator")
        rows = PackedRows(windows, LENGTH, tokenizer.pad_token_id, 0)
        random = np.random.default_rng(0)
        order = random.permutation(len(rows))

        def places(number: int, rows: Any = rows, order: Any = order, size: int = options.batch) -> list[Place]:
            return [Place(0, int(order[(number * size + i) % len(rows)]), 0.15) for i in range(size)]

        asked = [places(number) for number in range(20)]  # the sampler's work, in the main process

        def mlm(number: int, rows: Any = rows, asked: Any = asked) -> Any:
            return Collator(masker)(rows.__getitems__(asked[number]))

        def retromae(number: int, rows: Any = rows, asked: Any = asked) -> Any:
            return with_visible_sets(Collator(masker, 1.0)(rows.__getitems__(asked[number][:16])))

        results[f"ours, MLM, {label}"] = examples_per_second(mlm, 20, options.batch)
        results[f"ours, RetroMAE with its visible sets, {label}"] = examples_per_second(retromae, 4, 16)
        results[f"fill, {label}"] = round(rows.fill, 4)
    results["mean segment of packed news"] = round(float(windows.lengths.mean()), 1)
    encoded = [tokenizer(text, truncation=True, max_length=LENGTH) for text in long[: 8 * options.batch]]
    encoded = [e for e in encoded if len(e["input_ids"]) == LENGTH]
    for whole in (False, True):
        stock = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, whole_word_mask=whole)
        ready = [tokenizer.pad(e, return_tensors=None) for e in encoded[: options.batch]]
        if whole:
            ready = [
                dict(tokenizer(text, truncation=True, max_length=LENGTH, return_offsets_mapping=True))
                for text in long[: options.batch]
            ]
        name = f"transformers' collator, ids ready{', whole words (wrong for Chinese)' if whole else ', single tokens'}"
        results[name] = examples_per_second(lambda _, c=stock, r=ready: c([dict(e) for e in r]), 3, options.batch)
    if options.original:
        spec = importlib.util.spec_from_file_location("original", options.original)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        results["original"] = examples_per_second(lambda n: module.collate(long[n : n + 4]), 3, 4)
    record = {"examples_per_cpu_second": results, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "collator.json", record)
    print(json.dumps(results, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
