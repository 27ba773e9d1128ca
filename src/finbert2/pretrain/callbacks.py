"""What watches over a run: losses that are no numbers, a polite end, parameters that wait at the start."""

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from finbert2 import training
from finbert2.errors import UserError
from finbert2.pretrain.packing import EpochSampler

log = logging.getLogger(__name__)


class LossWatch(TrainerCallback):
    """Stops a run whose loss is no number, names the batch, and lets no damaged checkpoint be written.

    A loss is looked at one batch late, when the device has worked it out anyway, and at once before a checkpoint and at
    the end.
    """

    def __init__(self, output_dir: str) -> None:
        self.output_dir = output_dir
        self.unseen: tuple[str, torch.Tensor] | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Warn of a run that would be over before its learning rate has come up."""
        warmup = args.get_warmup_steps(state.max_steps)
        if warmup > state.max_steps / 2:
            log.warning(
                "the learning rate rises for %d steps, the run has %d: give --warmup_steps 0.1, a share of the run",
                warmup, state.max_steps,
            )  # fmt: skip

    def add(self, batch: str, loss: torch.Tensor) -> None:
        """Note the loss of a batch; look at the one before it."""
        self.check()
        self.unseen = batch, loss

    def check(self) -> None:
        """Raise `UserError` if the loss noted last is no number."""
        if self.unseen is not None and not torch.isfinite(self.unseen[1]):
            raise UserError(f"the loss of {self.unseen[0]} is {float(self.unseen[1])}: {self.advice()}")
        self.unseen = None

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Look before a checkpoint."""
        if control.should_save:
            self.look(state, model)

    def on_epoch_end(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Look before an epoch's checkpoint."""
        if control.should_save:
            self.look(state, model)

    def on_train_end(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Look before the model is exported."""
        self.look(state, model)

    def look(self, state: TrainerState, model: Any) -> None:
        """Raise `UserError` if the last loss or the weights are damaged."""
        self.check()
        damaged = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
        if damaged:
            raise UserError(
                f"after step {state.global_step} {damaged[0]} holds numbers that are none ({len(damaged)} tensors in "
                f"all): {self.advice()}"
            )

    def advice(self) -> str:
        """Return what is left and what to do."""
        good = training.last_checkpoint(self.output_dir)
        return (
            f"training stopped; the last good checkpoint is {good or 'none yet'}. Lower --learning_rate or "
            "--max_grad_norm, or lengthen --warmup_steps, in another --output_dir"
        )


class EpochKeeper(TrainerCallback):
    """Tells the sampler its epoch: the Trainer reaches through two wrappers, a run resumed on many ranks has three."""

    sampler: EpochSampler | None = None

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Set the epoch that begins, or that the run resumes in."""
        if self.sampler is not None:
            self.sampler.set_epoch(int(state.epoch or 0))


def leave_sigterm_to_the_run(worker: int) -> None:
    """Let a loader's worker outlive the signal, which torchrun and a terminal's group send to it too.

    The steps to the checkpoint need its batches; it ends with the run.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class StopOnSignal(TrainerCallback):
    """On SIGTERM: a checkpoint after the step, then the end; the same command goes on from there."""

    # Each look at the other processes waits for the device; torchrun kills half a minute after the signal.
    MOST_STEPS, SECONDS = 10, 5.0

    def __init__(self) -> None:
        self.received = self.stopped = False
        self.looked_at, self.next_look, self.clock = 0, 0, 0.0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take the signal."""
        self.before = signal.signal(signal.SIGTERM, self.take)
        self.looked_at = self.next_look = state.global_step
        self.clock = time.perf_counter()

    def take(self, number: int, frame: Any) -> None:
        """Note that the signal came."""
        self.received = True

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop if the signal came, on all processes at the same step."""
        if self.agreed(args, state.global_step):
            control.should_save = control.should_training_stop = self.stopped = True

    def agreed(self, args: Any, step: int) -> bool:
        """Tell whether any process got the signal; the slowest says in how many steps to look again."""
        if args.world_size == 1:
            return self.received
        if step < self.next_look:
            return False
        now = time.perf_counter()
        known = [float(self.received), (now - self.clock) / max(1, step - self.looked_at)]
        received, seconds = self.greatest(torch.tensor(known, device=args.device))
        self.looked_at, self.clock = step, now
        self.next_look = step + min(self.MOST_STEPS, max(1, int(self.SECONDS / seconds)))
        return bool(received)

    def greatest(self, known: torch.Tensor) -> list[float]:
        """Return the greatest of each value over all processes."""
        torch.distributed.all_reduce(known, op=torch.distributed.ReduceOp.MAX)
        return known.tolist()

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Give the signal back."""
        signal.signal(signal.SIGTERM, self.before)


Share = Callable[[str, torch.nn.Parameter], "torch.Tensor | bool"]


class HoldBack(TrainerCallback):
    """For the first steps only chosen parameters, or rows of them, learn; the rest stays as it was, bit by bit.

    `share(name, parameter)` is True for what learns, False for what waits, or a mask that is broadcast over the
    gradient. Gradients are zeroed, not switched off: data-parallel training counts on one for every parameter.
    """

    def __init__(self, steps: int, share: Share) -> None:
        self.steps, self.share = steps, share
        self.hooks: list[Any] = []

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, optimizer: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Zero the gradients of what waits, and its weight decay."""
        if state.global_step >= self.steps:
            return
        for name, parameter in model.named_parameters():
            share = self.share(name, parameter)
            if share is not True:
                self.hooks.append(parameter.register_hook(lambda grad, share=share: grad * share))
        for group in optimizer.param_groups:  # kept in the group, and so in the checkpoint
            group.setdefault("own_weight_decay", group["weight_decay"])
            group["weight_decay"] = 0.0

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Let everything learn after the last of the steps."""
        if state.global_step < self.steps or not self.hooks:
            return
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()
        for group in optimizer.param_groups:
            group["weight_decay"] = group.pop("own_weight_decay")


def only_new_rows(first_new: int) -> Share:
    """Return the share of `HoldBack` that lets the embeddings and output biases of ids from `first_new` on learn."""

    def share(name: str, parameter: torch.nn.Parameter) -> "torch.Tensor | bool":
        if not name.endswith(("word_embeddings.weight", "predictions.bias", "predictions.decoder.bias")):
            return False
        rows = torch.arange(len(parameter), device=parameter.device) >= first_new
        return rows.view(-1, *[1] * (parameter.dim() - 1))

    return share


def only_decoder(prefix: str) -> Share:
    """Return the share of `HoldBack` that lets only RetroMAE's decoder learn."""
    return lambda name, parameter: name.startswith(prefix)
