"""What waiting OpenMP threads cost when other processes want the cores: python benchmarks/omp_wait_policy.py.

Times training steps of a 4 × 256 BERT in a process of its own under OMP_WAIT_POLICY ACTIVE-by-default and PASSIVE, on a
free machine and beside one busy process a core. Writes benchmarks/results/omp_wait_policy.json.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from pathlib import Path

from finbert2 import files, runtime

STEP = """
import time, torch
from transformers import BertConfig, BertForMaskedLM
torch.manual_seed(0)
model = BertForMaskedLM(BertConfig(vocab_size=8000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                                   intermediate_size=1024))
ids = torch.randint(0, 8000, (16, 128))
for _ in range(8):
    started = time.perf_counter()
    model(ids, labels=ids).loss.backward()
    model.zero_grad()
    print(time.perf_counter() - started)
"""


def spin() -> None:
    """Keep one core busy until the process is ended."""
    while True:
        pass


def seconds(policy: str | None) -> float:
    """Return the median seconds of a step, the first two left out."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": policy} if policy else {}
    out = subprocess.run([sys.executable, "-c", STEP], env=env, capture_output=True, text=True, check=True).stdout
    return statistics.median(float(line) for line in out.splitlines()[2:])


def main() -> None:
    """Measure the four cases and write them down."""
    table = {}
    for load in ("free", "busy"):
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
        if load == "busy":
            for other in others:
                other.start()
        table[load] = {name: round(seconds(policy), 3) for name, policy in (("default", None), ("PASSIVE", "PASSIVE"))}
        for other in others:
            if other.is_alive():
                other.terminate()
    results = {"seconds_a_step": table, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "omp_wait_policy.json", results)
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
