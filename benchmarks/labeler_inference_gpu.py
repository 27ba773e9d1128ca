"""Labelling texts of SC_2's lengths with a BERT-base on a GPU: python benchmarks/labeler_inference_gpu.py DATA.

Side by side, in one process and interleaved: the original's way (batches of 32 in file order, padded, two forwards
each, fp32), transformers' pipeline in bf16 at the best of several batch sizes, the Trainer's `predict` as
run_classification.py calls it (bf16 weights, batches of 64) on texts sorted by length beforehand, since its own
grouping answers in an order of its own, and ours in bf16 at two token budgets a batch. Every way begins with strings
and ends with labels; seconds are the clock's, the GPU waited for, memory is the GPU's beside the weights. Weights are
random: they cost what trained ones do. Writes benchmarks/results/labeler_inference_gpu.json; without a GPU it only
prints, to be tested.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from labeler_inference import BATCH, LENGTH, base_labeler, original, sc2_texts
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
)

from finbert2 import files, runtime
from finbert2.labeler.model import BATCH_TOKENS, Labeler

PIPELINE_BATCHES = (8, 32, 128)
TRAINER_BATCH = 64


def trainer_predict(labeler: Labeler, folder: str) -> Callable[[list[str]], list[str]]:
    """Return what labels texts as run_classification.py does with `--do_predict`, the longest first."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa")
    arguments = TrainingArguments(
        output_dir=folder, per_device_eval_batch_size=TRAINER_BATCH, bf16_full_eval=runtime.has_bf16(),
        report_to="none", disable_tqdm=True, use_cpu=runtime.device() == "cpu",
    )  # fmt: skip
    collator = DataCollatorWithPadding(labeler.tokenizer, pad_to_multiple_of=8)
    trainer = Trainer(model=model, args=arguments, data_collator=collator, processing_class=labeler.tokenizer)

    def label(texts: list[str]) -> list[str]:
        ids = labeler.tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        logits = trainer.predict([{"input_ids": ids[place]} for place in order]).predictions
        found = dict(zip(order, logits.argmax(-1), strict=True))
        return [labeler.labels[found[place]] for place in range(len(ids))]

    return label


def best_pipeline(labeler: Labeler, folder: str, sample: list[str]) -> tuple[int, Callable[[list[str]], list[str]]]:
    """Return the pipeline's best batch size and what labels texts with it."""
    precision = torch.bfloat16 if runtime.has_bf16() else torch.float32
    classify = pipeline(
        "text-classification", model=folder, tokenizer=labeler.tokenizer, device=runtime.device(), dtype=precision
    )

    def label(texts: list[str], size: int) -> list[str]:
        return [row["label"] for row in classify(texts, batch_size=size, truncation=True, max_length=LENGTH)]

    label(sample[:BATCH], BATCH)
    pilot = {size: seconds(lambda size=size: label(sample, size))[0] for size in PIPELINE_BATCHES}
    best = min(pilot, key=lambda size: pilot[size])
    return best, lambda texts: label(texts, best)


def seconds(call: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Return the seconds of a call and what it returned."""
    started = time.perf_counter()
    found = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def measure(folder: Path, count: int, rounds: int) -> dict:
    """Return each way's texts a second, memory and agreement with the original."""
    texts = sc2_texts(folder, count)
    with tempfile.TemporaryDirectory() as temporary:
        base_labeler(texts, Path(temporary))
        labeler = Labeler.from_pretrained(temporary)
        plain = Labeler.from_pretrained(temporary)
        size, piped = best_pipeline(labeler, temporary, texts[:: max(1, len(texts) // 512)])
        ways: dict[str, Callable[[list[str]], list[str]]] = {
            "original": lambda rows: original(plain, rows),
            "pipeline": piped,
            "trainer": trainer_predict(labeler, temporary),
            **{
                f"ours_{tokens}": lambda rows, tokens=tokens: [p.label for p in labeler.predict(rows, tokens)]
                for tokens in (BATCH_TOKENS, 8 * BATCH_TOKENS)
            },
        }
        for way in ways.values():  # kernels are chosen and loaded
            way(texts[:BATCH])
        runs: dict[str, list[float]] = {name: [] for name in ways}
        memory, labels = {}, {}
        on_gpu = torch.cuda.is_available()
        for number in range(rounds):
            for name, way in ways.items():
                if on_gpu:
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                    held = torch.cuda.memory_allocated()
                spent, labels[name] = seconds(lambda way=way: way(texts))
                runs[name].append(round(spent, 3))
                if on_gpu:
                    memory[name] = round((torch.cuda.max_memory_allocated() - held) / 2**30, 2)
                print(f"round {number + 1} {name}: {spent:.2f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in runs.items()}
    return {
        "texts": len(texts), "median_characters": statistics.median(map(len, texts)), "longest": max(map(len, texts)),
        "pipeline_batch": size, "trainer_batch": TRAINER_BATCH, "seconds": runs,
        "texts_per_second": {name: round(len(texts) / value, 1) for name, value in medians.items()},
        "memory_beside_weights_gib": memory,
        "labels_equal_to_the_originals": {
            name: sum(a == b for a, b in zip(found, labels["original"], strict=True)) for name, found in labels.items()
        },
    }  # fmt: skip


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with classification/sc2_sentiment")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = measure(options.data / "classification" / "sc2_sentiment", options.texts, options.rounds)
    found |= {"machine": runtime.machine(), "versions": runtime.versions()}
    if torch.cuda.is_available():
        files.write_json(Path(__file__).parent / "results" / "labeler_inference_gpu.json", found)
    print(json.dumps(found, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
