"""The quickstart: check the data, run every step through its script, write results and report; resumes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finbert2 import args, encoder, files, runtime
from finbert2.errors import UserError
from finbert2.quickstart import inventory, plan, report, schedule
from finbert2.quickstart.inventory import Inventory
from finbert2.quickstart.plan import Step

ROOT = Path(__file__).resolve().parents[3]
SEED = 42


@dataclass
class QuickstartArguments:
    """Where to write, and from which checkpoint to start."""

    output_dir: str = args.option(
        "folder for every artefact, results.json and report.html", default="outputs/quickstart"
    )
    model: str = args.option("checkpoint to start from (default: the variable MODEL; none: from scratch)", default="")

    def __post_init__(self) -> None:
        """Take the checkpoint from the environment if no flag names one; of a folder the whole path, as steps move."""
        self.model = self.model or os.environ.get("MODEL", "")
        if self.model and from_the_user(self.model).is_dir():
            self.model = str(from_the_user(self.model))


def from_the_user(path: str) -> Path:
    """Return a path as the user meant it: `quickstart.sh` leaves the folder that it was called from."""
    return (Path(os.environ.get("FINBERT2_CALLED_FROM", "")) / path).resolve()


@args.command
def main(argv: list[str] | None = None) -> None:
    """Run every stage on the sample data or on a folder: `sh quickstart.sh [DATA_DIR] [flags]`."""
    argv = sys.argv[1:] if argv is None else argv
    folder, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else (None, argv)
    (options,) = args.parse("quickstart", main.__doc__ or "", flags, QuickstartArguments)
    if not (ROOT / "quickstart.sh").exists():
        raise UserError(
            "the quickstart runs the scripts of a clone of the repository: clone it and run sh quickstart.sh"
        )
    folder = str(from_the_user(folder)) if folder else None
    found = inventory.data_folder(Path(folder)) if folder else inventory.sample_data(ROOT)
    if options.model:
        need_bert(options.model)
    output = Path(options.output_dir).resolve()
    begin(output, found, options.model)
    prepare_samples(found, output)
    if not options.model:
        os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is needed from the Hub, so nothing shall be asked of it
    steps = plan.steps(found, output, ROOT, options.model or None)
    with runtime.term_as_exit():
        seconds, whole = schedule.run_all(steps, output, start, check, lambda step: report.of_step(step.name, output))
    results = report.collect(output, found, seconds) | runtime.circumstances(SEED, whole)
    results["peak_memory_gib"] = max(results["peak_memory_gib"], peak_memory_gib(steps))
    files.write_json(output / "results.json", results)
    files.write_text(output / "report.html", report.page(output, results, folder))
    sys.stdout.write(report.table(results) + f"\nreport: {output / 'report.html'}\n")


def need_bert(name: str) -> None:
    """Raise `UserError` now, and not after corpus and tokenizer, for a checkpoint that is none or another kind."""
    from transformers import AutoConfig

    kind = encoder.load(AutoConfig.from_pretrained, name).model_type
    if kind != "bert":
        raise UserError(f"{name} is a '{kind}' model: a BERT checkpoint was expected")


def peak_memory_gib(steps: Sequence[Step]) -> float:
    """Return the most memory that a step's results tell of: those kept from an interrupted run are in no child."""
    written = [step.output / step.results for step in steps if step.results.endswith(".json")]
    return max(
        (json.loads(path.read_text(encoding="utf-8")).get("peak_memory_gib", 0.0) for path in written), default=0.0
    )


def begin(output: Path, found: Inventory, model: str) -> None:
    """Go on with the run in `output` if it is this one; set another one aside, so that nothing is lost."""
    code = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")) + sorted(ROOT.glob("*/**/*.sh")):
        if not {".venv", "outputs"} & set(path.relative_to(ROOT).parts):
            code.update(path.read_bytes())
    key = {"data": inventory.fingerprint(found), "model": model, "code": code.hexdigest()[:16]}
    state = output / "quickstart.json"
    if state.exists() and json.loads(state.read_text(encoding="utf-8")) != key:
        number = next(n for n in range(1, 10_000) if not output.with_name(f"{output.name}-{n}").exists())
        os.replace(output, output.with_name(f"{output.name}-{number}"))
        sys.stderr.write(f"an earlier run with other data or code was moved to {output.name}-{number}\n")
    files.write_json(state, key)


def prepare_samples(found: Inventory, output: Path) -> None:
    """Write the samples of training rows and titles that the steps read."""
    size = plan.scale_of(found)
    for name, one in found.retrieval.items():
        if one.rows:
            inventory.write_sample(one.rows, size.retrieval_rows, SEED, plan.training_rows(output, name))
    if found.titles:
        inventory.write_title_sample(found.titles, size.titles, SEED, plan.sampled_titles(output))


def script_of(step: Step) -> list[str]:
    """Return the words that start a step."""
    if step.script.endswith(".sh"):
        return ["sh", str(ROOT / step.script)]
    return [sys.executable, "-m", "finbert2", *step.script.split()]


def log_of(step: Step) -> Path:
    """Return the file that takes what a step prints."""
    return step.output / f"{step.name.rsplit('/', 1)[-1]}.log"


def start(step: Step, place: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a step: its progress goes to the terminal, what it prints into a log beside its results.

    Beside another step (`place` 0 or 1) it gets its share of the cores, and a line of the terminal of its own.
    """
    step.output.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"FINBERT2_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")}
    if place is not None:
        share = str(max(1, runtime.machine()["cores"] // schedule.PLACES))
        env |= {"TQDM_POSITION": str(place), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)}
    with log_of(step).open("w", encoding="utf-8") as file:
        return subprocess.Popen([*script_of(step), *step.flags], stdout=file, env=env)


def check(step: Step, code: int) -> None:
    """Raise `UserError`, naming the step, its command and its log, if it did not end well."""
    if code:
        raise UserError(
            f"the step '{step.name}' ended with exit code {code}; its message stands above. It was: "
            f"{' '.join(script_of(step))} {' '.join(step.flags)}. Mend the cause and run the same command again"
        )
    if not schedule.is_done(step):
        raise UserError(f"the step '{step.name}' wrote no {step.output / step.results}: see {log_of(step)}")
