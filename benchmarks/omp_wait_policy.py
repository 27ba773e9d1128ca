"""How long waiting OpenMP threads should spin before they sleep: python benchmarks/omp_wait_policy.py.

Times training steps of a packed 4 × 256 BERT in a process of its own, alone and beside a second one that does the same
on the same cores, with OpenMP's default, with threads that sleep at once (OMP_WAIT_POLICY=PASSIVE), and with other spin
counts. Writes benchmarks/results/omp_wait_policy.json: seconds of the clock a step, median of --rounds processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from finbert2 import files, runtime

STEP = """
import statistics, time
import numpy as np, torch
from transformers import BertConfig
from finbert2 import attention, runtime
from finbert2.attention import Segments
from finbert2.pretrain.model import BertForMaskedLM

random = np.random.default_rng(0)
config = BertConfig(vocab_size=21128, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                    intermediate_size=1024)
torch.manual_seed(0)
model = BertForMaskedLM._from_config(config, attn_implementation=attention.register())
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
seconds = []
for _ in range(8):
    segments = Segments(random.integers(30, 300, 15))
    tokens = int(segments.lengths.sum())
    ids = torch.from_numpy(random.integers(0, 21128, (1, tokens)))
    masked = torch.arange(0, tokens, 7)
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=runtime.has_bf16()):
        model(ids, torch.from_numpy(segments.positions())[None], segments, masked, ids[0, masked]).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - started)
print(statistics.median(seconds[2:]))
"""
POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "2000": {"GOMP_SPINCOUNT": "2000"},
    "10000": {"GOMP_SPINCOUNT": "10000"},
    "100000": {"GOMP_SPINCOUNT": "100000"},
}


def seconds(policy: dict[str, str], processes: int) -> float:
    """Return the mean over `processes`, run at once, of their median seconds of a step."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    env = {name: value for name, value in os.environ.items() if name not in names} | policy
    running = [
        subprocess.Popen([sys.executable, "-c", STEP], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return statistics.mean(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Measure every policy, alone and beside another, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = {
        name: {
            label: round(statistics.median(seconds(policy, count) for _ in range(options.rounds)), 3)
            for label, count in (("alone", 1), ("two at once", 2))
        }
        for name, policy in POLICIES.items()
    }
    results = {"seconds_a_step": table, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "omp_wait_policy.json", results)
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
