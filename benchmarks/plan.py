"""The real thing on paper: hours, money and memory at FinBERT2's own size, from assumptions and measurements.

FLOPs of a step by the usual count: 6 a parameter and token in training and 2 in inference, 12·layers·width·s for the
attention of a token that sees s others (a third of that in inference), the head for masked tokens alone.
"""

import statistics
from dataclasses import dataclass
from typing import Any

TOKENS, MEAN_CONTEXT, MASKED = 32e9, 300, 0.15
PEAK, UTILISATION, SCALING = 989e12, 0.23, {1: 1.0, 8: 0.95, 64: 0.85}  # H100 or H200, dense bf16
GPU_HOUR, CORE_HOUR = 3.0, 0.04  # US dollars, the order of what clouds ask
VOCABULARY = 34_932


@dataclass(frozen=True)
class Shape:
    """A BERT."""

    layers: int
    width: int

    @property
    def parameters(self) -> float:
        """Return the weights of the layers."""
        return 12 * self.layers * self.width**2

    def training(self) -> float:
        """Return the FLOPs of a token of masked-language-model training."""
        head = VOCABULARY * self.width + self.width**2
        return 6 * (self.parameters + MASKED * head) + 12 * self.layers * self.width * MEAN_CONTEXT

    def inference(self, context: float) -> float:
        """Return the FLOPs of a token of encoding."""
        return 2 * self.parameters + 4 * self.layers * self.width * context


SHAPES = {"base": Shape(12, 768), "large": Shape(24, 1024)}


def hours(flops: float, gpus: int) -> float:
    """Return the hours of so many GPUs."""
    return flops / (PEAK * UTILISATION * gpus * SCALING[gpus]) / 3600


def pretraining() -> list[tuple[str, ...]]:
    """Return rows: model, GPUs, hours, dollars, tokens per second and GPU."""
    rows = []
    for name, shape in SHAPES.items():
        for gpus in SCALING:
            spent = hours(TOKENS * shape.training(), gpus)
            rate = TOKENS / spent / 3600 / gpus
            rows.append((name, str(gpus), f"{spent:,.1f}", f"{spent * gpus * GPU_HOUR:,.0f}", f"{rate / 1e6:.2f} M"))
    return rows


def corpus_rate(measured: dict[str, Any]) -> float:
    """Return the megabytes a CPU-second of a preparation without `--decontaminate`, from the medians of its steps."""
    runs = measured["cpu_seconds_of_each_run"]
    return measured["megabytes"] / sum(
        statistics.median(run[step] for run in runs) for step in runs[0] if step != "decontaminate"
    )


def corpus(mb_per_core_second: float, gigabytes: float = 200) -> list[tuple[str, ...]]:
    """Return rows: cores, hours, dollars of preparing so large a corpus at the measured rate."""
    seconds = gigabytes * 1e3 / mb_per_core_second
    return [
        (str(cores), f"{seconds / cores / 3600:,.1f}", f"{seconds / 3600 * CORE_HOUR:,.0f}") for cores in (16, 64, 256)
    ]


def passages(count: float = 1e8, tokens: float = 150, width: int = 768) -> list[tuple[str, str]]:
    """Return rows: what, how much, for embedding, indexing and searching so many passages."""
    spent = {gpus: hours(count * tokens * SHAPES["base"].inference(tokens), gpus) for gpus in (1, 8)}
    raw = count * width * 4 / 1e9  # `retriever index` makes a FLOAT_VECTOR field
    return [
        ("embedding, base, bf16", f"{spent[1]:.1f} hours on one GPU, {spent[8]:.1f} on 8"),
        (f"vectors alone, {width} numbers in fp32", f"{raw:,.0f} GB on disk"),
        ("query nodes' memory: the vectors and a graph of 32 links", f"{raw + count * 32 * 4 / 1e9:,.0f} GB"),
    ]
