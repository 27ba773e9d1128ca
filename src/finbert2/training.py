"""What every training run shares around HuggingFace's Trainer: progress line, resuming, loss curve."""

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from finbert2 import args, plots, runtime
from finbert2.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_A_STEP = "rows a step (NPROC × NNODES × --per_device_train_batch_size × --gradient_accumulation_steps)"
STATE = "trainer_state.json"  # the last file of a checkpoint
RATES = ("scheduler.pt", "latest")  # how the learning rate goes on; DeepSpeed writes the second, beside its own states
# What the progress line shows of a log entry: its name, and how.
SHOWN = (
    ("loss", "loss ", ".4f", ""),
    ("tokens_per_second", "", ",.0f", " tokens/s"),
    ("mfu", "MFU ", ".1%", ""),
    ("loader_wait", "waiting ", ".0%", ""),
)


class ProgressLine(TrainerCallback):
    """One progress bar with the latest loss beside it, instead of the bar and a line a log entry."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Open the bar at the step that the run starts or resumes at."""
        if runtime.is_main_process():
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.name, unit="step")

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Show the loss, and the speed where a stage measures it."""
        if self.bar is not None and logs and "loss" in logs:
            shown = [
                f"{before}{format(float(logs[name]), form)}{after}"
                for name, before, form, after in SHOWN
                if name in logs
            ]
            self.bar.set_postfix_str(", ".join(shown))

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


class LossBeforeCheckpoint(TrainerCallback):
    """Has a loss logged before the first checkpoint: a run gone on with from there knows the mean of its rest alone."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look after a step."""
        self.look(state, control)

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look after an epoch."""
        self.look(state, control)

    def look(self, state: TrainerState, control: TrainerControl) -> None:
        """Have the loss logged if a checkpoint is, or may be, next and there is none yet."""
        if (control.should_save or control.should_evaluate) and not losses(state)[0]:
            control.should_log = True


def train(trainer: Trainer, name: str) -> int:
    """Train behind one progress bar, from `starting_point`, and return the step it went on from, 0 for a new run."""
    trainer.remove_callback(ProgressCallback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(ProgressLine(name))
    trainer.add_callback(LossBeforeCheckpoint)  # after those that ask for a checkpoint
    checkpoint = starting_point(trainer.args)
    step = made_steps(checkpoint) if checkpoint else 0
    whole = trainer.args
    if checkpoint and is_own(checkpoint, whole) and is_over(checkpoint):
        trainer.args = copy.copy(whole)  # it would make one more step, or a whole epoch after an early stop
        trainer.args.num_train_epochs, trainer.args.max_steps = 0.0, -1
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.args = whole
    return step


def is_over(checkpoint: str) -> bool:
    """Tell whether a checkpoint is the one of the last step, or of the evaluation at which early stopping stopped."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
    patience: Any = state.stateful_callbacks.get("EarlyStoppingCallback") or {"args": {}, "attributes": {}}
    waited = patience["attributes"].get("early_stopping_patience_counter", 0)
    return state.global_step >= state.max_steps or 0 < patience["args"].get("early_stopping_patience", 0) <= waited


def starting_point(training_args: TrainingArguments) -> str | None:
    """Return `--resume_from_checkpoint`, else the newest whole checkpoint in the output folder, or None.

    A run that began from another folder's checkpoint goes on, by the same command, from its own newer ones. Raises
    `UserError` if the one that was named is not there or not whole.
    """
    given = training_args.resume_from_checkpoint
    own = last_checkpoint(training_args.output_dir or "")
    if not given:
        return with_state(own, training_args)
    if not is_whole(Path(given)):
        found = f"its {STATE} is missing or cut off" if Path(given).is_dir() else "there is no such folder"
        raise UserError(
            f"--resume_from_checkpoint {given} is no whole checkpoint ({found}): name a folder checkpoint-STEP of a "
            "run, or leave the flag out: the same command goes on from the newest one by itself"
        )
    elsewhere = not is_own(given, training_args)
    return with_state(own if own and elsewhere and made_steps(own) > made_steps(given) else given, training_args)


def with_state(checkpoint: str | None, training_args: TrainingArguments) -> str | None:
    """Return the checkpoint; raise `UserError` if optimizer and learning rate would begin anew from it."""
    over = checkpoint and is_own(checkpoint, training_args) and is_over(checkpoint)
    if not checkpoint or over or any((Path(checkpoint) / name).exists() for name in RATES):
        return checkpoint
    raise UserError(
        f"{checkpoint} holds weights alone, as --save_only_model wants it: no run goes on from there as it would have. "
        "Start another by --model_name_or_path, in another --output_dir, or remove this folder to start anew"
    )


def is_own(checkpoint: str, training_args: TrainingArguments) -> bool:
    """Tell whether a checkpoint lies in the run's own folder."""
    return Path(checkpoint).resolve().parent == Path(training_args.output_dir or "").resolve()


def need_one_gpu(training_args: TrainingArguments, script: str) -> None:
    """Raise `UserError` for one process with several GPUs: DataParallel would cut texts laid end to end into pieces."""
    if training_args.n_gpu > 1:
        raise UserError(
            f"{training_args.n_gpu} GPUs are visible to one process: NPROC={training_args.n_gpu} sh {script}, or "
            "choose one by CUDA_VISIBLE_DEVICES"
        )


def rows_a_step(training_args: TrainingArguments) -> int:
    """Return how many rows all processes take in a step."""
    return training_args.world_size * training_args.train_batch_size * training_args.gradient_accumulation_steps


def step_facts(training_args: TrainingArguments) -> dict[str, int]:
    """Return what `args.claim` is told of a step: the Trainer counts a resumed run's place in the data by steps.

    Nothing of a finished run, which is not gone on with.
    """
    done = args.is_finished(training_args.output_dir or "")
    return {} if done else {ROWS_A_STEP: rows_a_step(training_args)}


def made_steps(checkpoint: str) -> int:
    """Return the step that a checkpoint was written at, whatever its folder is called."""
    return TrainerState.load_from_json(str(Path(checkpoint) / STATE)).global_step


def last_checkpoint(output_dir: str | Path) -> str | None:
    """Return the newest whole checkpoint of a run that was interrupted, or None."""
    whole = whole_checkpoints(output_dir)
    return str(whole[-1]) if whole else None


def whole_checkpoints(output_dir: str | Path) -> list[Path]:
    """Return a run's whole checkpoints, the oldest first; a copy under another name, checkpoint-9-backup, is none."""
    found = [path for path in Path(output_dir).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return [path for path in sorted(found, key=lambda path: step_of(str(path))) if is_whole(path)]


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written to its end: `trainer_state.json` is the last of it.

    Where that is missing or ends early, a kill or a full disk cut the checkpoint off.
    """
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def step_of(checkpoint: str) -> int:
    """Return the step at which a checkpoint was written."""
    return int(checkpoint.rpartition("-")[2])


def losses(state: TrainerState) -> tuple[list[int], list[float]]:
    """Return the logged training losses as (steps, losses)."""
    logged = [entry for entry in state.log_history if "loss" in entry]
    return [int(entry["step"]) for entry in logged], [float(entry["loss"]) for entry in logged]


def first_and_last(values: Sequence[float]) -> tuple[float, float]:
    """Return the means of the first and the last twentieth of logged losses, at least one of each."""
    count = max(1, round(0.05 * len(values)))
    return sum(values[:count]) / count, sum(values[-count:]) / count


def summary(trainer: Trainer) -> dict[str, Any]:
    """Return loss_first, loss_last, the steps made and the whole curve, as `results.json` holds them."""
    steps, values = losses(trainer.state)
    over_all = [entry["train_loss"] for entry in trainer.state.log_history if "train_loss" in entry]
    first, last = first_and_last(values or over_all[-1:])  # a run shorter than the logging has only its mean
    curve = {"step": steps, "loss": values}
    return {"loss_first": first, "loss_last": last, "steps": trainer.state.global_step, "curve": curve}


def curve(trainer: Trainer) -> "Figure":
    """Return the figure of the training loss by step."""
    return plots.lines({"loss": losses(trainer.state)}, x="step", y="training loss")
