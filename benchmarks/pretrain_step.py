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
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, BertConfig

from finbert2 import attention, files, runtime
from finbert2.attention import Segments
from finbert2.pretrain.collator import Collator
from finbert2.pretrain.data import Windows, load_windows
from finbert2.pretrain.masking import IGNORED, Masker
from finbert2.pretrain.meters import flops_per_token, peak_flops
from finbert2.pretrain.model import BertForMaskedLM
from finbert2.pretrain.packing import PackedRows, Place
from finbert2.pretrain.retromae import RetroMAE

SHAPES = {
    "tiny": (2, 64, 2, 16),
    "small": (4, 256, 4, 16),
    "base": (12, 768, 12, 32),
}  # layers, width, heads, documents
RATIO = 0.15


@dataclass(frozen=True)
class Arm:
    """A way to train: what batches look like, which model takes them, in which precision."""

    batches: str  # random, grouped or packed
    multiple: int = 1  # padded to a multiple of
    stock: bool = False
    bf16: bool = True
    all_logits: bool = False
    whole_last_layer: bool = False
    plain_head: bool = False
    fused: bool = True
    decoder: float = 0.0
    compiled: bool = False


ARMS = {
    "original": Arm("random", stock=True, bf16=False, fused=False),
    "original_bf16": Arm("random", stock=True, fused=False),
    "stock_fp32": Arm("grouped", stock=True, bf16=False),
    "stock": Arm("grouped", stock=True),
    "stock_64": Arm("grouped", multiple=64, stock=True),
    "ours": Arm("packed"),
    "ours_fp32": Arm("packed", bf16=False),
    "ours_random_padded": Arm("random"),
    "ours_grouped_padded": Arm("grouped"),
    "ours_all_logits": Arm("packed", all_logits=True),
    "ours_whole_last_layer": Arm("packed", whole_last_layer=True),
    "ours_plain_head": Arm("packed", plain_head=True),
    "ours_unfused_adamw": Arm("packed", fused=False),
    "ours_compiled": Arm("packed", compiled=True),
    "retromae": Arm("packed", decoder=1.0),
    "retromae_half": Arm("packed", decoder=0.5),
}


def padded(windows: Windows, chosen: np.ndarray, pad_id: int, multiple: int = 1) -> dict[str, Any]:
    """Return windows side by side, padded to the longest, in the form that `PackedRows` gives a batch."""
    lengths = windows.lengths[chosen]
    shape = (len(chosen), -(-int(lengths.max()) // multiple) * multiple)
    ids, starts = np.full(shape, pad_id, dtype=np.int64), np.ones(shape, dtype=bool)
    for row, (window, length) in enumerate(zip(chosen, lengths, strict=True)):
        end = int(windows.ends[window])
        ids[row, :length], starts[row, :length] = windows.ids[end - length : end], windows.starts[end - length : end]
    segments = [part for length in lengths for part in (length, shape[1] - length) if part]
    real = [kind for length in lengths for part, kind in ((length, True), (shape[1] - length, False)) if part]
    return {
        "ids": ids, "starts": starts, "rows": chosen, "epoch": 0, "ratio": RATIO, "lengths": np.array(segments),
        "sources": np.zeros(len(segments)), "real": np.array(real),
    }  # fmt: skip


def batches(arm: Arm, windows: Windows, tokenizer: Any, documents: int, steps: int) -> Iterator[dict[str, Any]]:
    """Yield batches of about the same number of real tokens, whatever their layout."""
    random = np.random.default_rng(0)
    masker = Masker(tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer), 0)
    collator = Collator(masker, arm.decoder, arm.whole_last_layer or arm.all_logits)
    count = len(windows.lengths)
    rows = PackedRows(windows, 512, tokenizer.pad_token_id, 0)
    if arm.batches == "grouped":  # as transformers' LengthGroupedSampler: sorted within 50 batches
        pool = random.permutation(count)[: min(50, count // documents) * documents]
        groups = pool[np.argsort(-windows.lengths[pool])].reshape(-1, documents)
    packed = max(1, round(documents * float(windows.lengths.mean()) / 512))
    for step in range(steps):
        if arm.batches == "packed":
            item = rows.__getitems__([Place(0, int(r), RATIO) for r in random.integers(0, len(rows), packed)])
        else:
            if arm.batches == "grouped":  # evenly from the longest to the shortest: a token's cost depends on it
                chosen = groups[(2 * step + 1) * len(groups) // (2 * steps)]
            else:
                chosen = random.permutation(count)[:documents]
            item = padded(windows, chosen, tokenizer.pad_token_id, arm.multiple)
        yield dense(collator(item), item) if arm.stock else collator(item)


def dense(batch: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return the batch as the stock class wants it: labels and an attention mask (rows, length)."""
    shape = item["ids"].shape
    labels = torch.full((shape[0] * shape[1],), IGNORED)
    labels[batch["kept_places"][batch["masked_places"]]] = batch["labels"]
    mask = np.concatenate([np.full(n, r) for n, r in zip(item["lengths"], item["real"], strict=True)]).reshape(shape)
    return {
        "input_ids": batch["input_ids"].view(shape), "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "labels": labels.view(shape), "origin": batch["origin"],
    }  # fmt: skip


class AllLogits(BertForMaskedLM):
    """Ours without the masked-only head: the logits of all tokens are computed, as the stock class does."""

    def forward(
        self, input_ids: Any, position_ids: Any, segments: Segments, masked_places: Any, labels: Any, **_: Any
    ) -> Any:
        """Return the loss."""
        hidden = self.encode(input_ids, position_ids, segments, None, None)
        every = torch.full((len(hidden),), IGNORED, device=hidden.device)
        every[masked_places] = labels
        return {"loss": torch.nn.functional.cross_entropy(self.cls(hidden).float(), every)}


class PlainHead(BertForMaskedLM):
    """Ours without the chunked cross-entropy."""

    def forward(
        self, input_ids: Any, position_ids: Any, segments: Segments, masked_places: Any, labels: Any, kept_places: Any,
        kept_segments: Any, **_: Any,
    ) -> Any:  # fmt: skip
        """Return the loss."""
        hidden = self.encode(input_ids, position_ids, segments, kept_places, kept_segments)
        return {"loss": torch.nn.functional.cross_entropy(self.cls(hidden[masked_places]).float(), labels)}


def build(arm: Arm, shape: tuple[int, int, int, int], tokenizer: Any) -> Any:
    """Return the arm's model from seed 0, without dropout in every arm."""
    layers, width, heads, _ = shape
    config = BertConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    if arm.stock:
        return transformers.BertForMaskedLM._from_config(config, attn_implementation="sdpa").to(runtime.device())
    kind = (
        RetroMAE if arm.decoder else AllLogits if arm.all_logits else PlainHead if arm.plain_head else BertForMaskedLM
    )
    model = kind._from_config(config, attn_implementation=attention.register())
    return model.to(runtime.device())


def moved(value: Any) -> Any:
    """Return a batch on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(runtime.device())
    if isinstance(value, dict):
        return {name: moved(part) for name, part in value.items()}
    return [moved(part) for part in value] if isinstance(value, list) else value


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def stepper(arm: Arm, model: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that takes one training step on a batch."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, fused=arm.fused, foreach=False if not arm.fused else None
    )
    called = torch.compile(model) if arm.compiled else model

    def step(batch: dict[str, Any]) -> None:
        inputs = {name: value for name, value in batch.items() if name != "origin"}
        with torch.autocast(runtime.device(), torch.bfloat16) if arm.bf16 else contextlib.nullcontext():
            called(**inputs)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


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
