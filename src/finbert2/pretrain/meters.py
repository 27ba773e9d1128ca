"""How fast a run is: real tokens a second, model FLOP/s utilisation, waiting for the loader."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from finbert2.pretrain.collator import Origin

# Dense bf16 peak in TFLOP/s by NVIDIA's data sheets; the names are those that the driver gives.
PEAK_TFLOPS = {"H200": 989.5, "H100 80GB HBM3": 989.5, "H100 PCIe": 756.0, "A100": 312.0}


def peak_flops(asked: float, bf16: bool) -> float | None:
    """Return the device's peak in FLOP/s: `asked` TFLOP/s, or the known bf16 peak of this GPU, or None."""
    if asked:
        return asked * 1e12
    if not (bf16 and torch.cuda.is_available()):
        return None
    name = torch.cuda.get_device_name(0)
    return next((tflops * 1e12 for part, tflops in PEAK_TFLOPS.items() if part in name), None)


def parameters(module: torch.nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(p.numel() for p in module.parameters())


def flops_per_token(model: Any, mean_length: float, predicted: float, decoded: float = 0.0) -> float:
    """Return the FLOPs, forward and backward, of a real token: 6 · (N_enc + f · N_head) + 12 · layers · s̄ · d.

    `mean_length` is s̄ = Σℓ² / Σℓ of the documents, `predicted` the share f of tokens that the head predicts, `decoded`
    the share that RetroMAE's decoder predicts: its layer and its predictions then count as well. Embeddings are
    look-ups and do not count. What an arm computes beyond what the loss needs earns it nothing.
    """
    config, head = model.config, model.cls.predictions
    layers = config.num_hidden_layers + (1 if decoded else 0)
    weights: float = parameters(model.bert.encoder) + (parameters(model.enhanced_decoder) if decoded else 0)
    weights += (predicted + decoded) * (parameters(head.transform) + parameters(head.decoder))
    return 6 * weights + 12 * layers * mean_length * config.hidden_size


class Meter:
    """Counts what a process has trained on since the last reading."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.started = time.perf_counter()
        self.tokens = self.squares = self.predictions = self.decoded = 0
        self.waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for the loader."""
        started = time.perf_counter()
        yield
        self.waited += time.perf_counter() - started

    def count(self, origin: Origin, predictions: int, decoded: int) -> None:
        """Count a batch."""
        self.tokens += origin.tokens
        self.squares += origin.squares
        self.predictions += predictions
        self.decoded += decoded

    def read(self, model: Any, processes: int, peak: float | None) -> dict[str, float]:
        """Return tokens_per_second (all processes), loader_wait (share of the time) and, given a peak, mfu."""
        seconds = time.perf_counter() - self.started
        speed = self.tokens / seconds
        readings = {"tokens_per_second": round(speed * processes, 1), "loader_wait": round(self.waited / seconds, 4)}
        if peak and self.tokens:
            shares = (self.predictions / self.tokens, self.decoded / self.tokens)
            readings["mfu"] = round(speed * flops_per_token(model, self.squares / self.tokens, *shares) / peak, 4)
        self.reset()
        return readings
