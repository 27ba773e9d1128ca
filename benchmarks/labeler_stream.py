"""Memory and speed of labelling many short rows: python benchmarks/labeler_stream.py [--rows 1000000].

Runs `finbert2 labeler predict` on titles, in a process of its own, at a tenth of the rows and at all of them: memory
that does not grow between the two would not grow further. The model is small (2 layers × 128) with random weights.
Writes benchmarks/results/labeler_stream.json.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import random_model

from finbert2 import files, runtime

TITLES = Path(__file__).parents[1] / "Fin-Topicmodel" / "sample_titles.csv"


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    titles = [str(row.require("title")) for row in files.read_rows(TITLES)]
    runs = {}
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model"
        random_model.labeler(model, "tiny", titles, 3, 64, vocabulary=4000)
        for rows in (options.rows // 10, options.rows):
            runs[str(rows)] = measure(model, titles, rows, Path(temporary))
            print(rows, runs[str(rows)], flush=True)
    results = {"rows": runs, "machine": runtime.machine(), "versions": runtime.versions()}
    files.write_json(Path(__file__).parent / "results" / "labeler_stream.json", results)


def measure(model: Path, titles: list[str], rows: int, folder: Path) -> dict[str, float]:
    """Return seconds, CPU seconds, rows a second and the peak memory (GiB) of labelling `rows` rows."""
    source, output = folder / "in.csv", folder / "out.csv"
    chance = random.Random(0)
    with source.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        file.writelines(f'{number},"{chance.choice(titles).replace(chr(34), "")}{number}"\n' for number in range(rows))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "finbert2", "labeler", "predict", "--model_name_or_path", str(model), "--input",
         str(source), "--output", str(output)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    with output.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == rows + 1
    cpu = used.ru_utime + used.ru_stime
    return {
        "seconds": round(time.perf_counter() - started, 1), "cpu_seconds": round(cpu, 1),
        "rows_per_cpu_second": round(rows / cpu, 1), "peak_memory_gib": round(used.ru_maxrss / 2**20, 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
