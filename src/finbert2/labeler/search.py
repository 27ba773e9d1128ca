"""`finbert2 labeler search`: labelled texts → the best options of training, by Optuna on the development part."""

import json
import logging
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.labeler.features import Task
from finbert2.labeler.fit import fine_tune, for_run
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments, need_metric, need_score, scored
from finbert2.labeler.train import contents, read_task


@dataclass
class SearchArguments:
    """How long to search, and where."""

    trials: int = args.option("trainings to try", default=20)
    lowest_rate: float = args.option("lowest learning rate tried", default=1e-5)
    highest_rate: float = args.option("highest learning rate tried", default=5e-4)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.trials < 1 or not 0 < self.lowest_rate <= self.highest_rate:
            raise ValueError("--trials is 1 at least, --lowest_rate above 0 and no higher than --highest_rate")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Search the options of training. The test file is not read, only the development part chooses."""
    options, training_args, search = args.parse(
        "labeler search", __doc__ or "", argv, LabelerArguments, LabelerTrainingArguments, SearchArguments
    )
    if options.test_data or options.seeds > 1 or options.folds or options.target_precision or options.compare:
        raise UserError(
            "--test_data, --seeds, --folds, --target_precision and --compare have no place in a search: name them when "
            "training with what was found"
        )
    if training_args.publish:
        raise UserError("--push_to_hub: a search keeps no model; train with what it finds, and push that")
    if training_args.world_size > 1:
        raise UserError("a search trains in one process, each trial after another: start it without torchrun")
    need_score(training_args, "a search")
    optuna = require_optuna()
    started = time.perf_counter()
    output = Path(training_args.output_dir)
    task = read_task(options, training_args.seed)
    need_metric(training_args, task.kind, task.multi_label)
    args.claim(output, options, training_args, search, facts=contents(options))
    direction = "maximize" if training_args.greater_is_better else "minimize"
    study = run(optuna, output, search, direction, lambda trial: score(trial, options, training_args, task, search))
    best = study.best_trial
    flags = " ".join(f"--{name} {value}" for name, value in best.params.items())
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    results = {
        "best": best.params, "dev": best.value, "flags": flags,
        "trials": [{"params": trial.params, "dev": trial.value} for trial in done],
        "data": files.fingerprint(path for path in (options.train_data, options.dev_data) if path),
    }  # fmt: skip
    results |= runtime.circumstances(training_args.seed, time.perf_counter() - started)
    files.write_json(output / "results.json", results)
    sys.stdout.write(json.dumps({"dev": best.value, "flags": flags}, ensure_ascii=False) + "\n")


def require_optuna() -> Any:
    """Return the module `optuna`, or raise `UserError` saying how to get it."""
    try:
        import optuna
    except ImportError:
        raise UserError("labeler search needs optuna, which is not installed: pip install 'finbert2[search]'") from None
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def run(optuna: Any, output: Path, search: SearchArguments, direction: str, objective: Any) -> Any:
    """Return the study after all its trials; those in the output folder are not made again.

    Each trial's sampler has a seed of its own: what is tried next depends on the finished trials alone.
    """
    output.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(output / "trials.log"))
    study = optuna.create_study(
        direction=direction, study_name="labeler", storage=optuna.storages.JournalStorage(backend), load_if_exists=True
    )
    while (done := sum(trial.state.name == "COMPLETE" for trial in study.trials)) < search.trials:
        study.sampler = optuna.samplers.TPESampler(seed=done, n_startup_trials=5)
        study.optimize(objective, n_trials=1)
    return study


def score(
    trial: Any, options: LabelerArguments, training_args: LabelerTrainingArguments, task: Task, search: SearchArguments
) -> float:
    """Return the development score of a training with the options that a trial suggests."""
    folder = Path(training_args.output_dir or "") / "trial"
    shutil.rmtree(folder, ignore_errors=True)  # of a trial that was killed
    mine = for_run(training_args, folder, training_args.seed)
    mine.learning_rate = trial.suggest_float("learning_rate", search.lowest_rate, search.highest_rate, log=True)
    mine.label_smoothing_factor = trial.suggest_categorical("label_smoothing_factor", [0.0, 0.05, 0.1])
    mine.layer_lr_decay = trial.suggest_categorical("layer_lr_decay", [1.0, 0.95, 0.9, 0.8])
    if mine.dropout != 0:  # without dropout there are no two to compare
        mine.r_drop = trial.suggest_categorical("r_drop", [0.0, 1.0, 3.0])
    runtime.set_seed(mine.seed)
    _, trainer = fine_tune(options, mine, task)
    shutil.rmtree(folder)
    return scored(trainer)


if __name__ == "__main__":
    main()
