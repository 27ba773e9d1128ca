"""Two processes, on CPUs by gloo: data parallelism, and FSDP, where each keeps half of the model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForMaskedLM

from finbert2 import runtime
from finbert2.pretrain import run
from tests.pretrain.test_killed import command, environment
from tests.pretrain.test_run import flags, weights
from tests.surface import ROOT

# Accelerate has FSDP on accelerators alone: the processes say that they are GPUs'.
ON_CPUS = """
import sys
from accelerate import state
from accelerate.utils import DistributedType

plain = state.AcceleratorState.__init__
def init(self, *args, **kwargs):
    state.PartialState(True)
    state.PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    plain(self, *args, **kwargs)
state.AcceleratorState.__init__ = init

from finbert2 import runtime
from finbert2.pretrain import run

runtime.has_bf16 = lambda: True
run.main(sys.argv[1:])
"""


def pretrain(script: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run `pretrain run` in two processes as accelerate does by docs/accelerate/fsdp.yaml."""
    config = yaml.safe_load((ROOT / "docs" / "accelerate" / "fsdp.yaml").read_text(encoding="utf-8"))["fsdp_config"]
    asked = {name.upper(): str(value) for name, value in config.items()} | settings
    script.write_text(ON_CPUS, encoding="utf-8")
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    return subprocess.run(
        [*launched, *arguments, "--ddp_backend", "gloo"], env=environment() | asked | {"ACCELERATE_USE_FSDP": "true"},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def results(folder: Path) -> dict:
    """Return a run's results."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "retromae"])
def test_two_processes_equal_one(tiny_bert, corpus_file, tmp_path, objective):
    """Two gloo processes of two rows each take the steps of one process of four."""
    more = ("--objective", objective, "--model_name_or_path", tiny_bert, "--max_steps", "3")
    if objective == "retromae":
        more += ("--bag_of_words_weight", "0.1", "--cls_words_weight", "0.5")
    one, two = tmp_path / "one", tmp_path / "two"
    run.main(flags(corpus_file, one, *more, "--per_device_train_batch_size", "4"))
    arguments = flags(corpus_file, two, *more, "--ddp_backend", "gloo")
    done = subprocess.run(
        command(*arguments, processes=2), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [json.loads((f / "results.json").read_text(encoding="utf-8"))["curve"]["loss"] for f in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    worst = max((weights(one)[name] - weights(two)[name]).abs().max().item() for name in weights(one))
    assert worst < 1e-4
    assert "find_unused_parameters" not in done.stderr  # DDP's warning of a search at each step that finds nothing


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "retromae"])
def test_equals_one_process_and_resumes(tiny_bert, corpus_file, tmp_path, objective):
    """The export and the checkpoints are whole, a run that goes on from half of its steps ends in the same weights."""
    more = (
        "--objective", objective, "--model_name_or_path", tiny_bert, "--max_steps", "4", "--save_steps", "2",
        "--valid_data", str(corpus_file), "--eval_strategy", "steps", "--eval_steps", "2", "--average_last", "2",
    )  # fmt: skip
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    run.main(flags(corpus_file, one, *more, "--per_device_train_batch_size", "4"))
    done = pretrain(tmp_path / "fsdp.py", *flags(corpus_file, two, *more))
    assert done.returncode == 0, done.stderr
    assert (two / "checkpoint-2" / "optimizer_0").is_dir()  # in parts: it was FSDP
    assert results(one)["curve"]["loss"] == pytest.approx(results(two)["curve"]["loss"], rel=1e-4)
    for measures in ("valid_before", "valid"):
        assert results(one)[measures]["loss_per_token"] == pytest.approx(results(two)[measures]["loss_per_token"], 1e-4)
    worst = max((weights(one)[name] - weights(two)[name]).abs().max().item() for name in weights(one))
    assert worst < 1e-4
    _, report = AutoModelForMaskedLM.from_pretrained(two / "checkpoint-4", output_loading_info=True)
    assert not report["missing_keys"]

    shutil.copytree(two, killed)
    shutil.rmtree(killed / "checkpoint-4")
    (killed / "results.json").unlink()
    done = pretrain(tmp_path / "fsdp.py", *flags(corpus_file, killed, *more))
    assert done.returncode == 0, done.stderr
    assert all(torch.equal(weights(two)[name], weights(killed)[name]) for name in weights(two))


@pytest.mark.slow
def test_computes_in_bf16(tiny_bert, corpus_file, tmp_path, monkeypatch):
    """The loss of the first step is that of one process in bf16, and not that in fp32."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: True)
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "1")
    for bf16 in ("False", "True"):
        run.main(flags(corpus_file, tmp_path / bf16, *more, "--per_device_train_batch_size", "4", "--bf16", bf16))
    done = pretrain(tmp_path / "fsdp.py", *flags(corpus_file, tmp_path / "two", *more, "--bf16", "True"))
    assert done.returncode == 0, done.stderr
    high, low, two = (results(tmp_path / name)["curve"]["loss"][0] for name in ("False", "True", "two"))
    assert two == pytest.approx(low, rel=1e-6)
    assert two != pytest.approx(high, rel=1e-6)


@pytest.mark.slow
def test_a_compiled_model_is_saved_and_exported_by_its_own_names(tiny_bert, corpus_file, tmp_path):
    """Under FSDP the Trainer holds the compiled model alone."""
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "2", "--save_steps", "1")
    run.main(flags(corpus_file, tmp_path / "one", *more, "--per_device_train_batch_size", "4"))
    compiled = ("--torch_compile", "True", "--torch_compile_backend", "eager")
    done = pretrain(tmp_path / "fsdp.py", *flags(corpus_file, tmp_path / "two", *more, *compiled))
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys() == weights(tmp_path / "two" / "checkpoint-1").keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "more", "told"),
    [
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, [], "FSDP works here by its second version, every process load"),
        ({}, ["--new_rows_steps", "2"], "--new_rows_steps and --frozen_encoder_steps are not for FSDP: leave them out"),
    ],
)
def test_what_would_do_harm_is_refused(tiny_bert, corpus_file, tmp_path, settings, more, told):
    """Weights that one process alone has loaded; a frozen part, since its gradients pass by the hooks."""
    arguments = flags(corpus_file, tmp_path / "run", "--model_name_or_path", tiny_bert, "--max_steps", "2", *more)
    done = pretrain(tmp_path / "fsdp.py", *arguments, **settings)
    assert done.returncode == 1  # torchrun's own; the processes exit 2
    assert f"error: {told}" in done.stderr


def test_is_for_several_gpus(tiny_bert, corpus_file, tmp_path, capsys):
    """A process by itself, or CPUs, have nothing to share a model out among."""
    with pytest.raises(SystemExit):
        run.main(flags(corpus_file, tmp_path / "run", "--model_name_or_path", tiny_bert, "--fsdp"))
    assert (
        "--fsdp shares a model out among GPUs, a process each: NPROC=8 sh FinBERT2/pretrain/" in capsys.readouterr().err
    )


@pytest.mark.parametrize("more", [["--save_only_model"], ["--optim", "adafactor"]])
def test_what_fsdp_cannot_do_is_refused(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys, more):
    """Transformers refuses the one, a factored second moment of half a weight is the other: each by a traceback."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(SystemExit):
        run.main(flags(corpus_file, tmp_path / "run", "--model_name_or_path", tiny_bert, *more))
    assert "error: --save_only_model and --optim adafactor are not for FSDP, whose" in capsys.readouterr().err
