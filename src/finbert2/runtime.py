"""The process: seed, device, precision, logging, and what a results file says of the machine."""

import contextlib
import ctypes
import functools
import importlib.metadata
import logging
import os
import platform
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "transformers", "tokenizers", "sentence-transformers", "datasets", "datatrove", "sentencepiece",
    "bertopic", "umap-learn", "hdbscan", "scikit-learn", "pymilvus", "milvus-lite", "bm25s", "numpy",
)  # fmt: skip


def setup_process() -> None:
    """Send log lines to standard error and quieten libraries that speak of their own affairs."""
    keep_freed_memory()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("finbert2", "__main__"):  # the latter is a module of ours that is run by python -m
        logging.getLogger(name).setLevel(logging.INFO if is_main_process() else logging.WARNING)
    # Set before any tokenizer is used: a forked loader worker would otherwise print a page of advice.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for name in ("transformers", "sentence_transformers", "datasets", "httpx", "umap", "numba", "pymilvus"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # one for every file it reads or writes
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


@contextlib.contextmanager
def term_as_exit() -> Iterator[None]:
    """Return a context in which a SIGTERM raises `SystemExit`: Python would end and leave what it started running.

    Ctrl-C reaches every process of a terminal, `kill` the one alone.
    """
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_main_process() -> bool:
    """Tell whether this process is the one of its group that writes files and logs."""
    return os.environ.get("RANK", "0") == "0"


def leave_process_group() -> None:
    """Take leave of the processes that a launcher started beside this one.

    Without it the threads of gloo outlive the interpreter now and then, which ends in an abort after all is written.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators."""
    import transformers

    transformers.set_seed(seed)


@functools.cache
def device() -> str:
    """Return the device that this process computes on: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@functools.cache
def has_bf16() -> bool:
    """Tell whether the device multiplies in bf16 in hardware; emulation, slower than fp32, does not count."""
    import torch

    if device() == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device() == "cpu" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags())


def autocast(enabled: bool | None = None) -> Any:
    """Return a context in which matrix products run in bf16, by default wherever the device has it in hardware."""
    import torch

    return torch.autocast(device(), dtype=torch.bfloat16, enabled=has_bf16() if enabled is None else enabled)


@contextlib.contextmanager
def inference(bf16: bool | None = None) -> Iterator[None]:
    """Return a context (or decorator) without gradients and in `autocast`'s precision, for all batches of a call.

    Until it ends autocast keeps the weights that it has cast. Under `torch.inference_mode` it would cast all of them
    anew for every batch, of BERT-base 85 million.
    """
    import torch

    with torch.no_grad(), autocast(bf16):
        yield


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Return a context (or decorator) after which torch has as many threads as before.

    UMAP and EVoC set numba's number back to that of the processors, and through OpenMP torch's with it: vectors made
    later in the process would differ in their last digits, and topics with them.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the processor's feature names as Linux gives them; empty where it does not."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split(":", 1)[1].split()) if lines else frozenset()


@functools.cache
def machine() -> dict[str, Any]:
    """Return what results were made on: processor, cores, memory in GiB, accelerator, system, Python."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor_name(),
        "cores": cores(),
        "memory_gib": round(memory, 1),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "bf16": has_bf16(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def cores() -> int:
    """Return how many cores this process may use: under Slurm or taskset not all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the processor's model name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of the suite and of the packages that its numbers depend on."""
    found = {"finbert2": importlib.metadata.version("finbert2")} if is_installed("finbert2") else {}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES if is_installed(name)}


def keep_freed_memory() -> None:
    """Let the C library keep what large tensors free for the next ones, where it is glibc.

    It would give blocks of some megabytes back to the system at once, and a step on a CPU would spend up to a quarter
    of its time having the pages of the same tensors handed out and zeroed anew.
    """
    # `pretrain run` of 4 × 256 on two cores, a few runs by hand: 6 to 35 % more tokens a second, 3 to 5 % more memory.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        if not mallopt(mmap_threshold, 2**30):
            mallopt(mmap_threshold, 2**25)  # the most that mallopt(3) promises; untouched it would now stay small


def is_installed(package: str) -> bool:
    """Tell whether a distribution of that name is installed."""
    return any(True for _ in importlib.metadata.distributions(name=package))


def peak_memory_gib() -> float:
    """Return the largest resident size that this process or a child of it has had, in GiB."""
    unit = 1 if platform.system() == "Darwin" else 1024  # getrusage counts in bytes on macOS, in KiB on Linux
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(used) * unit / 2**30, 2)


def peak_device_memory_gib() -> float | None:
    """Return the most GPU memory that this process's tensors have taken, in GiB; None where there is no GPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if device() == "cuda" else None


def circumstances(seed: int, seconds: float) -> dict[str, Any]:
    """Return the part of a `results.json` that every command writes: seed, seconds, machine, versions, memory."""
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "peak_memory_gib": peak_memory_gib(),
        "peak_device_memory_gib": peak_device_memory_gib(),
        "machine": machine(),
        "versions": versions(),
    }
