"""The mean of a run's last checkpoints (stochastic weight averaging at its simplest), kept if it is better."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from finbert2 import training

WEIGHTS = "model.safetensors"


def last_checkpoints(output_dir: str | Path, count: int) -> list[Path]:
    """Return the newest `count` checkpoints that hold their weights in one file, the oldest first."""
    found = [path for path in training.whole_checkpoints(output_dir) if (path / WEIGHTS).exists()]
    return found[-count:]


def mean_weights(checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Return the mean of the checkpoints' weights, in fp32."""
    total: dict[str, torch.Tensor] = {}
    for path in checkpoints:
        for name, value in load_file(path / WEIGHTS).items():
            total[name] = total.get(name, 0) + value.float() / len(checkpoints)
    return total
