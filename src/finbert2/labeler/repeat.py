"""Several runs of one training: seeds, and folds of cross-validation."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files, runtime, training
from finbert2.labeler import judge
from finbert2.labeler.features import Task
from finbert2.labeler.fit import fine_tune, for_run
from finbert2.labeler.metrics import classification, tagging
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments, scored
from finbert2.labeler.split import folds as fold_places
from finbert2.labeler.split import split

RUN_FILE = "run.json"  # written last: the run is done


def seeds(
    options: LabelerArguments, training_args: LabelerTrainingArguments, task: Task, output: Path
) -> tuple[Labeler | None, dict[str, Any], dict[str, Any]]:
    """Train once a seed in folders of their own; return the best by development score, its summary, and the spread.

    A process that is not the main one gets nothing back: it only trains.

    The spread holds mean, standard deviation (of a sample) and values of the development score and each test score.
    """
    runs = []
    for number in range(options.seeds):
        folder = output / "seeds" / f"seed-{training_args.seed + number}"
        if not (folder / RUN_FILE).exists():
            seed = training_args.seed + number
            runtime.set_seed(seed)
            labeler, trainer = fine_tune(options, for_run(training_args, folder, seed), task)
            if runtime.is_main_process():
                labeler.save(folder)
                finish(folder, {
                    "seed": seed, "dev": scored(trainer), "test": scores(labeler, task),
                    "summary": training.summary(trainer),
                })  # fmt: skip
        if runtime.is_main_process():
            runs.append((folder, json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))))
    if not runtime.is_main_process():
        return None, {}, {}
    choose = max if training_args.greater_is_better else min
    folder, best = choose(runs, key=lambda run: run[1]["dev"])
    summary = best["summary"] | {"dev": best["dev"], "seed_kept": best["seed"]}
    return Labeler.from_pretrained(str(folder)), summary, spread([{"dev": run["dev"]} | run["test"] for _, run in runs])


def folds(
    options: LabelerArguments, training_args: LabelerTrainingArguments, task: Task, output: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Cross-validate on the training rows; return the spread of the scores and the out-of-fold probabilities.

    A fold's model is chosen on a development part of the other folds' rows, never on the fold itself.
    """
    parts = np.array(fold_places(task.train, options.folds, training_args.seed))
    shares, tables = np.zeros((len(task.train), len(task.labels))), []
    for number in range(options.folds):
        folder = output / "folds" / f"fold-{number}"
        held = np.flatnonzero(parts == number)
        if not (folder / RUN_FILE).exists():
            train, dev = split([task.train[place] for place in np.flatnonzero(parts != number)], training_args.seed)
            part = replace(task, train=train, dev=dev, test=[task.train[place] for place in held])
            runtime.set_seed(training_args.seed)
            labeler, _ = fine_tune(options, for_run(training_args, folder, training_args.seed), part)
            if runtime.is_main_process():
                logits = labeler.logits([row.text for row in part.test])
                finish(folder, {"test": scores(labeler, part), "probabilities": labeler.probabilities(logits).tolist()})
        if runtime.is_main_process():
            run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
            shares[held] = run["probabilities"]
            tables.append(run["test"])
    return spread(tables), shares


def finish(folder: Path, record: dict[str, Any]) -> None:
    """Write what a run found and remove its checkpoints, which nobody will resume from."""
    files.write_json(folder / RUN_FILE, record)
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def scores(labeler: Labeler, task: Task) -> dict[str, float]:
    """Return the test scores of a labeler as plain numbers; nothing without test rows."""
    if not task.test:
        return {}
    if task.kind == "ner":
        table = tagging([row.tags for row in task.test], judge.tags(labeler, task.test))
    else:
        labels = judge.answers(labeler, task.test).labels
        table = classification([row.label for row in task.test], labels, task.labels, task.multi_label)
    return {name: value for name, value in table.items() if isinstance(value, float)}


def spread(tables: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return mean, sample standard deviation and values of each score over several runs."""
    return {
        name: {
            "mean": float(np.mean([table[name] for table in tables])),
            "sd": float(np.std([table[name] for table in tables], ddof=1)) if len(tables) > 1 else 0.0,
            "values": [table[name] for table in tables],
        }
        for name in (tables[0] if tables else ())
    }
