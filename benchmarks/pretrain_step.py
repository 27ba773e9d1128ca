"""What a training step costs, and what each technique brings.

    python benchmarks/pretrain_step.py --corpus corpus.jsonl --tokenizer FOLDER [--model small|base] [--domain FOLDER]

The same model from the same seed, the same windows of up to 512 tokens and the same 15 % masks, in every arm; a step is
forward, backward, clipping and AdamW on batches made beforehand. Real tokens count: no padding. Arms:

    original       random padded batches, all logits, fp32: the original's way on today's transformers
    original_bf16  the same under bf16 autocast
    stock          length-grouped batches, all logits, bf16 where the device has it, fused AdamW: the best stock way
    stock_64       the same, padded to a multiple of 64: fewer shapes, of which bf16 on a CPU compiles each
    ours           packed rows, masked-only head and last layer, chunked cross-entropy, bf16 where the device has it
    ours_fp32 …    ours with one technique switched off
    retromae       ours, RetroMAE; retromae_half predicts a random half of the tokens

On a GPU also MFU (of the useful work alone) and memory, with --largest the largest batch that fits. Rounds are
interleaved; speeds are medians, a ratio is the median of the rounds' own ratios (of CPU-seconds; on a GPU of the
clock's), since a machine's speed drifts. Writes
benchmarks/results/pretrain_step_<model>_<device>.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretrain_step_arms import ARMS, RATIO, SHAPES, Arm, batches, build, moved, stepper
from transformers import AutoTokenizer

from finbert2 import files, runtime
from finbert2.pretrain.data import Windows, load_windows
from finbert2.pretrain.meters import flops_per_token, peak_flops


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(step: Callable[[dict[str, Any]], None], made: list[dict[str, Any]]) -> tuple[float, float]:
    """Return real tokens per CPU-second of this process and per second of the clock."""
    synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    for batch in made:
        step(batch)
    synchronize()
    tokens = sum(batch["origin"].tokens for batch in made)
    return tokens / (time.process_time() - cpu), tokens / (time.perf_counter() - wall)


def largest(arm: Arm, shape: tuple[int, int, int, int], windows: Windows, tokenizer: Any) -> int:
    """Return the largest number of documents a step that fits, doubling it from the one measured."""
    documents = shape[3]
    while True:
        torch.cuda.empty_cache()
        try:
            step = stepper(arm, build(arm, shape, tokenizer))
            for batch in batches(arm, windows, tokenizer, 2 * documents, 2):
                step(moved(batch))
        except torch.cuda.OutOfMemoryError:
            return documents
        documents *= 2


def measure(
    names: list[str], shape: tuple[int, int, int, int], windows: Windows, tokenizer: Any, steps: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Return speed of each arm, rounds interleaved; an arm that needs more memory than the GPU has is left out."""
    speeds: dict[str, list[tuple[float, float]]] = {}
    useful: dict[str, float] = {}
    memory: dict[str, float] = {}
    for number in range(rounds):
        for name in names:
            arm = ARMS[name]
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            model = build(arm, shape, tokenizer)
            made = [moved(batch) for batch in batches(arm, windows, tokenizer, shape[3], steps)]
            step = stepper(arm, model)
            try:
                for batch in made if torch.cuda.is_available() else made[:1]:  # a GPU chooses kernels for each shape
                    step(batch)
                speeds.setdefault(name, []).append(timed(step, made))
            except torch.cuda.OutOfMemoryError:
                print(f"round {number + 1} {name}: more than the GPU's memory", flush=True)
                continue
            origins = [batch["origin"] for batch in made]
            mean = sum(o.squares for o in origins) / sum(o.tokens for o in origins)
            useful[name] = flops_per_token(model, mean, RATIO, arm.decoder)
            memory[name] = max(memory.get(name, 0.0), runtime.peak_device_memory_gib() or 0.0)
            cpu, wall = speeds[name][-1]
            del model, step, made  # before the next arm's memory is measured
            print(f"round {number + 1} {name}: {cpu:,.0f} tokens per CPU-second, {wall:,.0f} a second", flush=True)
    table = {}
    clock = 1 if torch.cuda.is_available() else 0
    for name, pairs in speeds.items():
        cpu, wall = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        table[name] = {"tokens_per_cpu_second": round(cpu, 1), "tokens_per_second": round(wall, 1)}
        table[name]["rounds"] = [round(pair[clock], 1) for pair in pairs]
        peak = peak_flops(0, runtime.has_bf16())
        if peak:
            table[name]["mfu"] = round(wall * useful[name] / peak, 4)
            table[name]["memory_gib"] = memory[name]
    return table


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--domain", help="tokenizer with domain words: `ours` again, in characters per second")
    parser.add_argument("--model", choices=SHAPES, default="small")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[])
    parser.add_argument(
        "--documents", type=int, help="documents a step (default: the model's in SHAPES; a GPU wants more)"
    )
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", action="store_true", help="on a GPU: find the largest batch too")
    parser.add_argument("--cache", default="/tmp/finbert2_bench")
    options = parser.parse_args()
    shape = (*SHAPES[options.model][:3], options.documents or SHAPES[options.model][3])
    bf16 = runtime.has_bf16()
    names = options.arms or [
        n for n, a in ARMS.items() if (bf16 or not a.bf16 or not n.startswith(("original", "stock"))) and not a.compiled
    ]
    if not bf16:  # emulation, slower than fp32, would cripple both sides
        for name, arm in ARMS.items():
            ARMS[name] = Arm(**{**arm.__dict__, "bf16": False})
        names = [n for n in names if n != "ours_fp32"]
    results: dict[str, Any] = {
        "model": options.model,
        "shape": shape,
        "bf16": bf16,
        "threads": torch.get_num_threads(),
    }
    tables = {}
    for label, folder in (("base", options.tokenizer), ("domain", options.domain)):
        if folder:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            windows = load_windows(options.corpus, "text", tokenizer, 512, Path(options.cache), "step")
            density = windows.tokens / windows.characters
            chosen = names if label == "base" else ["ours"]
            table = measure(chosen, shape, windows, tokenizer, options.steps, options.rounds)
            for name, row in table.items():
                if options.largest:
                    row["largest_documents"] = largest(ARMS[name], shape, windows, tokenizer)
                row["characters_per_cpu_second"] = round(row["tokens_per_cpu_second"] / density, 1)
            tables[label] = {
                "tokens_per_char": round(density, 4),
                "mean_tokens": round(float(windows.lengths.mean()), 1),
                "arms": table,
            }
    results["tables"] = tables
    rounds = {name: np.array(row["rounds"]) for name, row in tables["base"]["arms"].items()}
    ratios = {f"ours / {n}": rounds["ours"] / other for n, other in rounds.items() if n != "ours" and "ours" in rounds}
    stock = max((n for n in rounds if n.startswith("stock")), key=lambda n: float(np.median(rounds[n])), default=None)
    if "domain" in tables and stock:
        density = tables["base"]["tokens_per_char"] / tables["domain"]["tokens_per_char"]
        domain = np.array(tables["domain"]["arms"]["ours"]["rounds"]) * density
        ratios["ours with domain words / stock, characters"] = domain / np.median(rounds[stock])
    results["ratios"] = {name: round(float(np.median(ratio)), 2) for name, ratio in ratios.items()}
    results |= {"machine": runtime.machine(), "versions": runtime.versions()}
    place = Path(__file__).parent / "results" / f"pretrain_step_{options.model}_{runtime.device()}.json"
    files.write_json(place, results)
    print(json.dumps(results["ratios"], indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
