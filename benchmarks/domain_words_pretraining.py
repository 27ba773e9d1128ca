"""What domain words are worth to an encoder: python benchmarks/domain_words_pretraining.py DATA WORK [--seeds 3].

For each of `--vocabularies`, PIECES+WORDS, two tokenizers learnt from DATA/corpus: pieces alone (characters, Latin and
digits) and with the words on top. For each of them and each seed a small BERT starts from its corpus's counts and is
pretrained for the same time: a pilot says what a step costs, and as many are taken as fit what the count leaves. Then
it is tuned on a thousand labelled rows of each of `--tasks`. Reported: held-out loss per character (per token it would
favour long tokens), characters read in millions, macro-F1, and what words add by paired seeds (Student's t-test).
Seconds of pretraining are those of the CPU, one thread, which other jobs disturb little; on a GPU the clock's. What
WORK already holds is not made again, so two vocabularies can be made at once, and a third run writes the table of both.
Writes benchmarks/results/domain_words_pretraining.json.
"""

import argparse
import json
import os
import resource
import shutil
import time
from argparse import Namespace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from domain_pretraining import finbert2, mlm
from labeler_tasks import paired
from labeler_tasks import run as tune

from finbert2 import files, runtime

PILOT = 300  # steps that say what one costs; the schedules of masks and batch are fractions of a run, as in a long one
TASKS = ("event_type", "forum_sentiment", "headline_category", "report_industry")
TUNING = {
    "train_rows": 1000, "test_rows": 0, "steps": 200, "batch": 32, "learning_rate": 4e-4, "max_seq_length": 256,
}  # fmt: skip
SETTINGS = ("layers", "width", "batch", "learning_rate", "seconds", "seeds", "tasks")


def main() -> None:
    """Make every encoder and labeler, then write what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--vocabularies", nargs="+", default=["21128+13804", "8000+8000"], metavar="PIECES+WORDS")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="folders of DATA/classification")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2, help="rows of 512 tokens a step")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=0, help="of the data loader; a GPU is faster than none")
    parser.add_argument("--seconds", type=float, default=420, help="of each pretraining, the count included")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if runtime.device() == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that are called
        torch.set_num_threads(1)
    corpus = options.data / "corpus" / "corpus.jsonl.gz"
    found = {}
    for name in options.vocabularies:
        folder = options.work / name
        tokenizer = train_tokenizer(corpus, folder / "tokenizer", *name.split("+"))
        with_words = arm(folder / "with_words", tokenizer, corpus, options)
        pieces = arm(folder / "pieces", tokenizer / "base", corpus, options)
        found[name] = {"pieces": pieces, "with_words": with_words, "words_minus": differences(with_words, pieces)}
    results = {
        "question": "a small BERT from counts, pretrained for the same time with and without domain words",
        "settings": {name: getattr(options, name) for name in SETTINGS} | {"tuning": TUNING},
        "vocabularies": found,
        "machine": runtime.machine(),
        "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "domain_words_pretraining.json", results)
    print(json.dumps({name: one["words_minus"] for name, one in found.items()}, indent=1))


def train_tokenizer(corpus: Path, folder: Path, pieces: str, words: str) -> Path:
    """Train a tokenizer, whose `base` is the one without words, if the folder holds none, and return the folder."""
    if not (folder / "results.json").exists():
        finbert2(
            "tokenizer", "train", "--corpus", corpus, "--base_vocab_size", pieces, "--num_added_tokens", words,
            "--output_dir", folder,
        )  # fmt: skip
    return folder


def arm(folder: Path, tokenizer: Path, corpus: Path, options: Namespace) -> dict[str, Any]:
    """Return what one tokenizer's encoders and labelers reach, a value a seed."""

    def pretrain(output: Path, steps: int, *, counts: bool = True, seed: int = 0) -> float:
        """Pretrain to that folder and return the seconds of the whole command."""
        shutil.rmtree(output, ignore_errors=True)
        recipe = Namespace(**vars(options), tokenizer=tokenizer, steps=steps, start_from_counts=counts)
        return seconds(
            "pretrain", "run", "--train_data", corpus, "--valid_data", corpus.with_name("valid.jsonl.gz"),
            "--per_device_train_batch_size", options.batch, "--dataloader_num_workers", options.workers,
            "--warmup_steps", "0.05", "--report_to", "none", "--save_strategy", "no", "--cache_dir", folder / "tokens",
            "--output_dir", output, "--seed", seed, *mlm(recipe),
        )  # fmt: skip

    plan = folder / "plan.json"
    if not plan.exists():
        pilot = folder / "pilot"
        pretrain(pilot, 1, counts=False)  # fills the cache of token ids
        around, counted = pretrain(pilot, 1, counts=False), pretrain(pilot, 1)
        step = (pretrain(pilot, PILOT) - counted) / (PILOT - 1)
        steps = round((options.seconds - (counted - around)) / step)
        files.write_json(plan, {"around": around, "counting": counted - around, "a_step": step, "steps": steps})
    planned = read(plan)
    each = []
    for seed in range(options.seeds):
        encoder, spent = folder / f"encoder_{seed}", folder / f"encoder_{seed}.json"
        if not spent.exists():
            files.write_json(spent, {"seconds": pretrain(encoder, planned["steps"], seed=seed) - planned["around"]})
        met = read(encoder / "results.json")
        values = read(spent) | {name: met[name] for name in ("tokens_seen", "valid_loss_per_char")}
        tokens_per_char = met["valid"]["tokens_per_char"]
        characters = met["tokens_seen"] / tokens_per_char / 1e6
        values |= {"tokens_per_char": tokens_per_char, "characters_read": characters}
        for task in options.tasks:
            results = label(task, encoder, folder / f"{task}_{seed}", seed, options)
            values[task] = results["test"]["macro_f1"]
        print(folder.parent.name, folder.name, seed, values, flush=True)
        each.append(values | {"mean_macro_f1": fmean(values[task] for task in options.tasks)})
    values = {name: [one[name] for one in each] for name in each[0]}
    return {name: planned[name] for name in ("counting", "a_step", "steps")} | values


def label(task: str, encoder: Path, output: Path, seed: int, options: Namespace) -> dict[str, Any]:
    """Tune the encoder on a task, unless the folder holds that run, and return its results."""
    tuning = Namespace(**TUNING, seeds=1)
    return tune(options.data / "classification" / task, False, str(encoder), output, tuning, ["--seed", str(seed)])


def differences(with_words: dict[str, Any], pieces: dict[str, Any]) -> dict[str, Any]:
    """Return what words add to each value that has one a seed, with its p."""
    return {name: paired(ours, pieces[name]) for name, ours in with_words.items() if isinstance(ours, list)}


def seconds(*words: object) -> float:
    """Run a command of the suite and return the seconds it took: of the CPU, or of the clock where a GPU works."""

    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime if runtime.device() == "cpu" else time.perf_counter()

    before = now()
    finbert2(*words)
    return now() - before


def read(path: Path) -> Any:
    """Return a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
