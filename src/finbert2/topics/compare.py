"""`finbert2 topics compare`: folders of several runs → their quality side by side, seeds of one setting as a spread."""

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finbert2 import args, files, runtime
from finbert2.errors import UserError

MEASURES = (
    "n_topics", "coverage", "ami", "ari", "nmi", "ami_covered", "npmi", "topic_diversity", "silhouette",
    "clustered_dbcv", "stability_seeds", "stability_orders", "seconds", "peak_memory_gib",
)  # fmt: skip
# `titles` too: two spellings of one path are no two settings, and other titles are refused.
NOT_A_SETTING = ("titles", "output_dir", "seed", "map", "report", "bertopic", "batch_size", "stability_runs")


@dataclass
class CompareArguments:
    """Which runs."""

    runs: list[str] = args.option("folders of `topics run`")
    output_dir: str = args.option("folder for comparison.csv, comparison.md and results.json")
    seed: int = args.option("unused by the arithmetic; every command has it in its results", default=42)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Tell runs of the same titles apart by the flags they differ in; seeds alone make no row."""
    (options,) = args.parse("topics compare", __doc__ or "", argv, CompareArguments)
    args.spare_run(options.output_dir)
    started = time.perf_counter()
    found = [read_run(Path(folder)) for folder in options.runs]
    refuse_other_titles(found)
    table = rows(found)
    output = Path(options.output_dir)
    text = markdown(table)
    files.write_rows(output / "comparison.csv", table)
    files.write_text(output / "comparison.md", text)
    data = {name: entry for run in found for name, entry in run.results["data"].items()}
    results = {"rows": table, "data": data} | runtime.circumstances(options.seed, time.perf_counter() - started)
    files.write_json(output / "results.json", results)
    sys.stdout.write(text)


@dataclass(frozen=True)
class Run:
    """What a run was told and what came out."""

    folder: Path
    settings: dict[str, Any]
    results: dict[str, Any]


def read_run(folder: Path) -> Run:
    """Read `args.json` and `results.json` of a run; `UserError` if it is none or did not end."""
    for name in ("args.json", "results.json"):
        if not (folder / name).exists():
            raise UserError(f"{folder} is no finished `topics run` (no {name} there): name its --output_dir")
    settings, results = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("args.json", "results.json")
    )
    if "titles" not in settings:
        raise UserError(f"{folder} holds a run of another command: name the --output_dir of a `topics run`")
    return Run(folder, settings, results)


def refuse_other_titles(runs: Sequence[Run]) -> None:
    """Raise `UserError` if the runs are not all of the same file of titles."""
    # Fingerprints go by the path as pathlib spells it: "./mine.csv" is there as "mine.csv".
    prints = [run.results["data"][str(Path(run.settings["titles"]))]["sha256"] for run in runs]
    for run, fingerprint in zip(runs, prints, strict=True):
        if fingerprint != prints[0]:
            raise UserError(f"{run.folder} has other titles than {runs[0].folder}: compare runs of the same file")


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a row for each setting: what sets it apart, how many runs it has, mean and spread of each measure."""
    names = [n for n in runs[0].settings if n not in NOT_A_SETTING and len({str(r.settings.get(n)) for r in runs}) > 1]
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        label = ", ".join(f"{name} {run.settings.get(name)}" for name in names)
        groups[label or "all"].append(run)
    measures = [name for name in MEASURES if all(run.results.get(name) is not None for run in runs)]
    return [
        {"setting": label, "runs": len(group)}
        | {
            key: value if value is None else round(value, 4)
            for name in measures
            for key, value in spread(name, [float(run.results[name]) for run in group]).items()
        }
        for label, group in groups.items()
    ]


def spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and the standard deviation, None of a single run."""
    return {name: statistics.fmean(values), f"{name}_sd": statistics.stdev(values) if len(values) > 1 else None}


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table, the spread in brackets where a row has several runs."""
    names = [name for name in table[0] if not name.endswith("_sd") and name not in ("setting", "runs")]
    lines = ["| setting | runs | " + " | ".join(names) + " |", "| --- | --: |" + " --: |" * len(names)]
    for row in table:
        cells = [f"{row[n]:.4g}" + (f" ({row[n + '_sd']:.2g})" if row["runs"] > 1 else "") for n in names]
        lines.append(f"| {row['setting']} | {row['runs']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
