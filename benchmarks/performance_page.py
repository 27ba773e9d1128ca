"""Write docs/performance.md and its figures from benchmarks/results: python benchmarks/performance_page.py.

Every section (performance_sections.py) reads one results file, says where and how it was measured, and shows the ratio
to the peers; a file that is not there has none. `make bench DATA=…` runs the benchmarks before.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plan
from performance_sections import SECTIONS, Row, Section, cores

from finbert2 import files, plots

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE, FIGURES = (
    ROOT / "benchmarks" / "results",
    ROOT / "docs" / "performance.md",
    ROOT / "pics" / "performance",
)
PEERS = ("torch", "transformers", "sentence-transformers", "datatrove", "bertopic", "pymilvus")


def table(head: Row, rows: list[Row]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def where(found: Any) -> str:
    """Return the hardware and the versions of a results file."""
    parts = found if isinstance(found, list) else [found] if "machine" in found else list(found.values())
    return " · ".join(dict.fromkeys(hardware(part["machine"], part["versions"]) for part in parts))


def hardware(machine: dict[str, Any], versions: dict[str, str]) -> str:
    """Return one machine and its versions."""
    device = machine["accelerator"] or f"{cores(machine)} of {machine['processor']}"
    return f"{device}; " + ", ".join(f"{name} {versions[name]}" for name in PEERS if name in versions)


def render(name: str, make: Callable[[Any], Section]) -> str:
    """Return a section of the page, and draw its figure."""
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    section = make(found)
    parts = [f"## {section.title}", section.text, table(section.head, section.rows)]
    if section.bars:
        figure = FIGURES / f"{name}.svg"
        files.write_text(figure, plots.svg(plots.bars(section.bars, section.unit)))
        parts.append(f"![{section.title}](../{figure.relative_to(ROOT)})")
    return "\n\n".join([*filter(None, parts), f"`benchmarks/results/{name}.json`; {where(found)}."])


def on_paper() -> str:
    """Return the plan for FinBERT2's own size."""
    measured = json.loads((RESULTS / "corpus_throughput.json").read_text(encoding="utf-8"))
    rate = plan.corpus_rate(measured)
    of_it = " and ".join(f"{share:.0%} on {gpus}" for gpus, share in plan.SCALING.items() if gpus > 1)
    return "\n\n".join([
        "## The real thing, on paper",
        f"Computed by `benchmarks/plan.py`, not measured: H100s or H200s at {plan.PEAK / 1e12:.0f} TFLOP/s dense bf16 "
        f"and {plan.UTILISATION:.0%} of it used, of that {of_it}, {plan.GPU_HOUR:.2f} dollars a GPU-hour, "
        f"{plan.CORE_HOUR:.2f} a core-hour. "
        "So much of it a BERT-base step of 20,000 tokens used on one H100 (above); public runs of BERTs of this size "
        "reach 24 % (8 × A100, HuggingFace; H100, ModernBERT's code). Larger steps and `--torch_compile` were not "
        "measured there.",
        f"**Pretraining on {plan.TOKENS / 1e9:.0f} G tokens**: `NPROC=8 sh FinBERT2/pretrain/run_mlm.sh --train_data "
        "/shared/corpus/train --bf16 true`, with `NNODES`, `NODE_RANK` and `MASTER_ADDR` on more machines; data "
        "parallel by NCCL.",
        table(("model", "GPUs", "hours", "dollars", "tokens per second and GPU"), plan.pretraining()),
        f"**A corpus of 200 GB**, cleaned and de-duplicated at the measured {rate:.2f} MB per CPU-second (all steps "
        "above but `decontaminate`, which has a flag of its own): `finbert2 corpus prepare --executor slurm "
        "--slurm_partition cpu --num_proc 64`, datatrove's executor. A task holds its own part alone; `choose`, one "
        "task, holds all verified pairs and one byte a document.",
        table(("cores", "hours", "dollars"), plan.corpus(rate)),
        "**100 M passages** embedded, indexed and searched: one `finbert2 retriever index --corpus FILE --uri "
        "http://milvus:19530` a GPU, each with its own file of passages; rows go in by their id, so all write to one "
        "collection. A Milvus cluster holds the graph and answers `finbert2 retriever search --uri …`.",
        table(("what", "how much"), plan.passages()),
    ])  # fmt: skip


def main() -> None:
    """Write the page."""
    opening = (
        "# What it costs\n\nWritten by `python benchmarks/performance_page.py`. `make bench DATA=…` measures again; "
        "the arms of datatrove, text-dedup and the original need `benchmarks/run_all.py DATA --peers … --original …`, "
        "the topics' peers `pip install -e '.[bench]'`. "
        "Arms are measured in turn, medians shown; a single round is marked where the record counts rounds. "
        "CPU-seconds come from a shared machine: trust the ratios."
    )
    FIGURES.mkdir(parents=True, exist_ok=True)
    measured = {name: make for name, make in SECTIONS.items() if (RESULTS / f"{name}.json").exists()}
    page = [opening, *(render(name, make) for name, make in measured.items()), on_paper()]
    files.write_text(PAGE, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
