"""Training shared out among processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from finbert2.labeler import train
from tests.labeler.conftest import flags, results, run

ROOT = Path(__file__).parents[2]


def two_processes(*arguments) -> "subprocess.CompletedProcess[str]":
    """Run `labeler train` under torchrun, on CPUs."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "finbert2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(
        [sys.executable, *launcher, "labeler", "train", *map(str, arguments), "--ddp_backend", "gloo"],
        env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_equal_one(rows, tiny_bert, tmp_path):
    """Four steps of 2 × 4 rows are those of 8; DDP does not search each step for weights that it leaves out."""
    more = (
        "--dropout", 0, "--train_sampling_strategy", "random", "--max_steps", 4, "--baselines", "False",
        "--bf16", "False",
    )  # fmt: skip
    run(train.main, *flags(tiny_bert, rows, tmp_path / "one", "csv", *more, "--per_device_train_batch_size", 8))
    done = two_processes(
        *flags(tiny_bert, rows, tmp_path / "two", "csv", *more, "--per_device_train_batch_size", 4)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    assert results(tmp_path / "two")["test"] == results(tmp_path / "one")["test"]
