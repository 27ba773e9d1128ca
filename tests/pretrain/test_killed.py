"""Runs that are killed go on to the same weights."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import TrainerCallback

from finbert2 import training
from finbert2.pretrain import build, run
from tests.pretrain.test_run import flags, weights
from tests.surface import ROOT


class Stop(Exception):
    """Stands for a kill."""


class StopAt(TrainerCallback):
    """Raises after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        """Raise at the step, after its checkpoint of an earlier step is whole."""
        if state.global_step == self.step:
            raise Stop


@pytest.mark.parametrize("objective", ["mlm", "retromae"])
@pytest.mark.parametrize(("before", "after"), [("0", "0"), pytest.param("2", "0", marks=pytest.mark.slow)])
def test_a_killed_run_resumes_bitwise(tiny_bert, corpus_file, tmp_path, monkeypatch, objective, before, after):
    """Stopped in the middle of an epoch and started again, also with another number of loader workers, a run ends with
    the very weights of one left alone; mask schedule and batch ramp go on where they were."""
    more = ("--objective", objective, "--model_name_or_path", tiny_bert, "--max_steps", "14", "--save_steps", "4",
            "--batch_ramp_steps", "6", "--later_mask_ratios", "0.5:0.3", "--span_words", "1.5")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run.main(flags(corpus_file, whole, *more))
    workers = ("--dataloader_num_workers", before)
    build_trainer = build.build_trainer

    def build_and_stop(*parts):
        trainer = build_trainer(*parts)
        trainer.add_callback(StopAt(6))
        return trainer

    monkeypatch.setattr(build, "build_trainer", build_and_stop)
    with pytest.raises(Stop):
        run.main(flags(corpus_file, killed, *more, *workers))
    assert (killed / "checkpoint-4").is_dir()
    monkeypatch.setattr(build, "build_trainer", build_trainer)
    run.main(flags(corpus_file, killed, *more, "--dataloader_num_workers", after))
    one, other = weights(whole), weights(killed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def command(*arguments: str, processes: int = 1) -> list[str]:
    """Return the command line of `pretrain run`, under torchrun for more than one process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *(launcher if processes > 1 else []), "-m", "finbert2", "pretrain", "run", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a command: this checkout's library; threads as here, they decide the last bits."""
    return os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.mark.slow
def test_kill_9_loses_nothing_but_time(tiny_bert, corpus_file, tmp_path):
    """A process killed outright after a checkpoint goes on by the same command to the very same weights."""
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "80", "--save_steps", "5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run.main(flags(corpus_file, whole, *more))
    process = subprocess.Popen(command(*flags(corpus_file, killed, *more)), env=environment())
    while training.last_checkpoint(killed) is None and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "results.json").exists()
    run.main(flags(corpus_file, killed, *more))
    one, other = weights(whole), weights(killed)
    assert all(torch.equal(one[name], other[name]) for name in one)
