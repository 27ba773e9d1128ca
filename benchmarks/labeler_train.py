"""Rows a second and peak memory of fine-tuning beside transformers' Trainer: python benchmarks/labeler_train.py DATA.

The peer is what run_classification.py does with its best flags: batches grouped by length and padded to a multiple of
8, scaled dot product attention, fused AdamW, bf16 where the device has it (--fp32 for neither). Ours lays the texts of
the same batches end to end. Both start from the same weights without dropout: in fp32 the first losses have to agree to
1e-4. Memory is the GPU's, where there is one. Each arm and round is a process of its own, rounds interleaved. Writes
benchmarks/results/labeler_train.json, one entry a setting.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import random_model

from finbert2 import files, runtime

RESULTS = Path(__file__).parent / "results" / "labeler_train.json"
ARMS = ("ours", "transformers")


def work(options: argparse.Namespace) -> None:
    """Train one arm and print its steps' seconds, first loss and memory as JSON."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
    )

    from finbert2.labeler import data, packed
    from finbert2.labeler.options import LabelerTrainingArguments
    from finbert2.labeler.trainer import LabelTrainer

    rows = data.read_examples(options.data / "classification" / options.task / "train.csv")
    labels = data.label_list(rows)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    ids = data.encode_texts([row.text for row in rows], tokenizer, options.max_seq_length, "head")
    inputs = [{"input_ids": i, "labels": labels.index(row.label)} for i, row in zip(ids, rows, strict=True)]
    model = AutoModelForSequenceClassification.from_pretrained(options.model)
    seconds: list[float] = []
    losses: list[float] = []

    class Padded(Trainer):
        """The peer, on the batches that ours takes: both group by length, each in an order of its own."""

        get_train_dataloader = LabelTrainer.get_train_dataloader

    class Clock(TrainerCallback):
        """Notes when a step ends and what its loss was."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter())

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    with tempfile.TemporaryDirectory() as output:
        arguments = LabelerTrainingArguments(
            output_dir=output, max_steps=options.warmup + options.steps, per_device_train_batch_size=options.batch,
            bf16=False if options.fp32 else None, eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
            logging_steps=1, report_to="none", disable_tqdm=True, seed=0,
        )  # fmt: skip
        more: dict[str, Any] = {
            "model": model,
            "args": arguments,
            "train_dataset": inputs,
            "processing_class": tokenizer,
        }
        if options.arm == "ours":
            packed.pack(model)
            trainer: Trainer = LabelTrainer(**more, data_collator=packed.Collator(0), callbacks=[Clock()])
        else:
            collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
            trainer = Padded(**more, data_collator=collator, callbacks=[Clock()])
        trainer.train()
    steps = [after - before for before, after in zip(seconds, seconds[1:], strict=False)]
    timed = steps[options.warmup - 1 :]
    peak = runtime.peak_device_memory_gib() or runtime.peak_memory_gib()
    print(json.dumps({"seconds": timed, "first_loss": losses[0], "peak_memory_gib": peak}))


def main() -> None:
    """Measure one setting and put it into the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="news_category")
    parser.add_argument("--shape", choices=("small", "base"), default="small")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max_seq_length", type=int, default=512)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--model")
    options = parser.parse_args()
    if options.arm:
        work(options)
        return
    from transformers import BertForSequenceClassification

    from finbert2.labeler import data

    rows = data.read_examples(options.data / "classification" / options.task / "train.csv")
    parts: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        random_model.make(
            BertForSequenceClassification, Path(folder), options.shape, [row.text for row in rows],
            num_labels=len(data.label_list(rows)), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        for _ in range(options.rounds):
            for arm in ARMS:
                command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm, "--model", folder]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                parts[arm].append(json.loads(done.stdout.splitlines()[-1]))
                print(arm, parts[arm][-1])
    arms = {
        arm: {
            "rows_per_second": options.batch / statistics.median(s for one in found for s in one["seconds"]),
            "peak_memory_gib": max(one["peak_memory_gib"] for one in found),
            "first_loss": found[0]["first_loss"],
        }
        for arm, found in parts.items()
    }
    gap = abs(arms["ours"]["first_loss"] - arms["transformers"]["first_loss"])
    if options.fp32 and gap > 1e-4:
        sys.exit(f"the arms do not compute the same loss: {gap} apart")
    setting = {key: getattr(options, key) for key in ("task", "shape", "batch", "max_seq_length")}
    setting["precision"] = "bf16" if runtime.has_bf16() and not options.fp32 else "fp32"
    entry = {**setting, "warmup": options.warmup, "steps": options.steps, "rounds": options.rounds, "arms": arms}
    entry |= {"ours_over": arms["ours"]["rows_per_second"] / arms["transformers"]["rows_per_second"]}
    entry |= {"machine": runtime.machine(), "versions": runtime.versions()}
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    card = entry["machine"]["accelerator"]
    kept = [one for one in earlier if not (setting.items() <= one.items() and one["machine"]["accelerator"] == card)]
    files.write_json(RESULTS, [*kept, entry])
    print(json.dumps({"arms": arms, "ours_over": entry["ours_over"]}, indent=2))


if __name__ == "__main__":
    main()
