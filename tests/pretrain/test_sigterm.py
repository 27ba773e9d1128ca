"""SIGTERM while a run trains: a checkpoint, exit code 143, and the same command goes on."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from finbert2 import training
from finbert2.pretrain import run
from finbert2.pretrain.callbacks import StopOnSignal
from tests.pretrain.test_callbacks import At, spoil, stopped_with, with_callback
from tests.pretrain.test_run import flags, weights


def test_sigterm_saves_and_stops_and_the_same_command_goes_on(tiny_bert, corpus_file, tmp_path, monkeypatch, caplog):
    """Exit code 143, a whole checkpoint of that step, and in the end the weights of a run left alone."""
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "8")
    run.main(flags(corpus_file, tmp_path / "whole", *more))
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        with_callback(patch, At(3, lambda model: os.kill(os.getpid(), signal.SIGTERM)))
        stopped_with(143, flags(corpus_file, tmp_path / "stopped", *more))
    assert signal.getsignal(signal.SIGTERM) is before
    step = training.step_of(training.last_checkpoint(tmp_path / "stopped"))
    assert step in (3, 4)  # the callback that sends it may come after the one that looks
    assert not (tmp_path / "stopped" / "results.json").exists()
    run.main(flags(corpus_file, tmp_path / "stopped", *more))
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loader_that_gets_the_signal_too_still_feeds_the_last_step(tiny_bert, corpus_file, tmp_path, monkeypatch):
    """A launcher sends it to every process of its group."""

    def everyone(model):
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    with_callback(monkeypatch, At(3, everyone))
    output = tmp_path / "out"
    stopped_with(143, flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "30",
                            "--dataloader_num_workers", "1"))  # fmt: skip
    assert training.step_of(training.last_checkpoint(output)) in (3, 4)


@pytest.mark.parametrize(("seconds", "looked_at"), [(60.0, [1, 2, 3, 4]), (2.0, [1, 3]), (1e-3, [1])])
def test_slow_steps_have_the_processes_agree_on_sigterm_more_often(monkeypatch, seconds, looked_at):
    """Within seconds, and not ten steps: torchrun kills half a minute after the signal. The slowest one decides."""
    stop, looks = StopOnSignal(), []
    monkeypatch.setattr(stop, "greatest", lambda known: looks.append(step) or [0.0, seconds])
    two = SimpleNamespace(world_size=2, device="cpu")
    for step in range(1, 5):
        assert not stop.agreed(two, step)
    assert looks == looked_at
    monkeypatch.setattr(stop, "greatest", lambda known: [1.0, seconds])
    assert stop.agreed(two, 11)


def test_damaged_weights_are_not_saved_on_sigterm_either(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """The signal's checkpoint is looked at like every other one."""

    class SpoilAndStop(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step == 2:
                spoil(model)
                os.kill(os.getpid(), signal.SIGTERM)

    with_callback(monkeypatch, SpoilAndStop())
    before, output = signal.getsignal(signal.SIGTERM), tmp_path / "out"
    try:
        stopped_with(2, flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "9"))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "after step 3 bert.embeddings.LayerNorm.weight holds numbers that are none" in capsys.readouterr().err
    assert not list(output.glob("checkpoint-*"))
