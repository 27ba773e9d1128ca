"""What a fixed time of training buys, by ours and by the stock tools.

    python benchmarks/pretrain_quality.py --corpus corpus.jsonl --valid valid.jsonl --tokenizer FOLDER [--domain FOLDER]

Arms, the same 4 × 256 BERT from the same seed, the same windows, optimizer, peak rate and clipping, through
HuggingFace's Trainer: `stock` feeds the stock BertForMaskedLM by DataCollatorForLanguageModeling, length-grouped;
`ours` is this package; `ours, domain words` has the tokenizer with added words. Each arm trains for the same
CPU-seconds of its process; its rate warms up over the first 5 % of that time and falls to 0 at its end. Held out: loss
per token and per character at 15 % masks of whole words, and of single tokens, which is what the stock arm was trained
on. Writes benchmarks/results/pretrain_quality.json.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, BertConfig, DataCollatorForLanguageModeling, TrainerCallback

from finbert2 import args, attention, files, runtime
from finbert2.pretrain.collator import Collator
from finbert2.pretrain.data import Windows, load_windows
from finbert2.pretrain.evaluate import evaluate, held_out_rows
from finbert2.pretrain.masking import Masker
from finbert2.pretrain.model import BertForMaskedLM
from finbert2.pretrain.packing import PackedRows
from finbert2.pretrain.retromae import RetroMAE
from finbert2.pretrain.trainer import PretrainingTrainer

WARMUP = 0.05
SHAPE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}


class Budget(TrainerCallback):
    """CPU-seconds of this process that a run may use, and where in them it is."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started, self.steps = seconds, time.process_time(), 0

    @property
    def used(self) -> float:
        """Share of the budget that is used up."""
        return (time.process_time() - self.started) / self.seconds

    def rate(self, step: int) -> float:
        """Return the learning rate's factor: warm-up, then linearly to 0."""
        return min(1.0, max(self.used, 0.002) / WARMUP, max(0.0, 1 - self.used) / (1 - WARMUP))

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.started = time.process_time()

    def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when the budget is used up."""
        self.steps = state.global_step
        control.should_training_stop = self.used >= 1


class Lists(torch.utils.data.Dataset):
    """The same windows as lists of ids, for the stock collator."""

    def __init__(self, windows: Windows) -> None:
        self.windows, self.lengths = windows, windows.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return one window; `length` is what transformers groups by."""
        end, length = int(self.windows.ends[number]), int(self.lengths[number])
        return {"input_ids": self.windows.ids[end - length : end].astype(np.int64).tolist()}


def config(tokenizer: Any) -> BertConfig:
    """Return the model's config."""
    return BertConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **SHAPE
    )


def arguments(folder: Path, batch: int, rate: float, **more: Any) -> Any:
    """Return the training arguments that all arms share."""
    return args.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=batch, learning_rate=rate,
        max_steps=10**6, logging_steps=50, save_strategy="no", report_to="none", disable_tqdm=True,
        remove_unused_columns=False, seed=0, **more,
    )  # fmt: skip


def train(trainer: Any, model: Any, rate: float, budget: Budget) -> None:
    """Train until the budget is used up."""
    decay = trainer.get_decay_parameter_names(model)
    groups = [
        {"params": [p for n, p in model.named_parameters() if (n in decay) == kept], "weight_decay": 0.01 * kept}
        for kept in (True, False)
    ]
    trainer.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, budget.rate)
    trainer.add_callback(budget)
    trainer.train()


def train_ours(
    model: Any, tokenizer: Any, windows: Windows, seconds: float, folder: Path, rate: float, rows: int, ratio: float
) -> dict[str, Any]:
    """Train this package's model; return steps and real tokens met."""
    packed = PackedRows(windows, 512, tokenizer.pad_token_id, 0)
    masker = Masker(tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer), 0)
    collator = Collator(masker, 1.0 if isinstance(model, RetroMAE) else 0.0)
    trainer = PretrainingTrainer(
        model=model, args=arguments(folder, rows, rate), train_dataset=packed, data_collator=collator,
        ratios=((0.0, ratio),),
    )  # fmt: skip
    budget = Budget(seconds)
    train(trainer, model, rate, budget)
    return {"steps": budget.steps, "tokens": round(budget.steps * rows * 512 * packed.fill)}


def train_stock(
    tokenizer: Any, windows: Windows, seconds: float, folder: Path, rate: float, batch: int
) -> tuple[Any, dict[str, Any]]:
    """Train transformers' model on padded, length-grouped batches; return it, steps and about the real tokens met."""
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM._from_config(config(tokenizer), attn_implementation="sdpa")
    trainer = transformers.Trainer(
        model=model, args=arguments(folder, batch, rate, train_sampling_strategy="group_by_length"),
        train_dataset=Lists(windows), data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
    )  # fmt: skip
    budget = Budget(seconds)
    train(trainer, model, rate, budget)
    return model, {"steps": budget.steps, "tokens": round(budget.steps * batch * float(windows.lengths.mean()))}


def held_out(model: Any, valid: Windows, tokenizer: Any) -> dict[str, Any]:
    """Return the held-out measures at whole-word and at single-token masks."""
    single = dataclasses.replace(valid, starts=np.ones(len(valid.starts), dtype=bool))
    kept = ("loss_per_token", "loss_per_char", "masked_accuracy")
    return {
        label: {name: round(measured[name], 4) for name in kept}
        for label, windows in (("whole words", valid), ("single tokens", single))
        if (measured := evaluate(model, held_out_rows(windows, tokenizer), tokenizer))
    }


def fresh(tokenizer: Any) -> Any:
    """Return this package's model, from seed 0."""
    torch.manual_seed(0)
    return BertForMaskedLM._from_config(config(tokenizer), attn_implementation=attention.register())


def run(name: str, folder: str, options: Any) -> dict[str, Any]:
    """Train and measure one arm."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cache = Path(options.cache)
    train_windows = load_windows(options.corpus, "text", tokenizer, 512, cache, "train")
    valid = load_windows(options.valid, "text", tokenizer, 512, cache, "valid")
    rows = max(1, round(options.documents * statistics.fmean(train_windows.lengths.tolist()) / 512))
    if name == "stock":
        model, met = train_stock(
            tokenizer, train_windows, options.seconds, cache / "out", options.learning_rate, options.documents
        )
        ours = fresh(tokenizer)
        ours.load_state_dict(model.state_dict())
        model = ours
    else:
        model = fresh(tokenizer)
        met = train_ours(
            model, tokenizer, train_windows, options.seconds, cache / "out", options.learning_rate, rows, 0.15
        )
    return met | {"held_out": held_out(model, valid, tokenizer)}


def main() -> None:
    """Train the arms and write down what they reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--valid", nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--domain")
    parser.add_argument("--seconds", type=float, default=400, help="CPU-seconds an arm")
    parser.add_argument("--documents", type=int, default=16, help="documents a step")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--cache", default="/tmp/finbert2_bench")
    options = parser.parse_args()
    arms = {"stock": options.tokenizer, "ours": options.tokenizer}
    if options.domain:
        arms["ours, domain words"] = options.domain
    results = {}
    for name, folder in arms.items():
        results[name] = run(name, folder, options)
        print(name, json.dumps(results[name]), flush=True)
    record = {
        "cpu_seconds_an_arm": options.seconds, "documents_a_step": options.documents,
        "peak_rate": options.learning_rate, "model": SHAPE, "arms": results,
        "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "pretrain_quality.json", record)


if __name__ == "__main__":
    main()
