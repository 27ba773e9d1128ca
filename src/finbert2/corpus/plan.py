"""The division of a run's work, made once and kept; what the run was made from, and beginning it anew."""

import datetime
import json
import logging
import random
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import arrow, files
from finbert2.corpus import blocks
from finbert2.errors import UserError

if TYPE_CHECKING:
    from finbert2.corpus.decontaminate import Index
    from finbert2.corpus.prepare import CorpusArguments

log = logging.getLogger(__name__)

WRITTEN = ("train", "valid", "dropped", ".work")
OURS = re.compile(r"(train|valid)/\.?\d{5,}-\d{3,}\.jsonl\.gz(\.part)?|dropped/[a-z_0-9]+\.jsonl")


def refuse_own_output(paths: Sequence[str | Path], output: Path) -> None:
    """Raise `UserError` if a run would read what it writes: it would find another input each time it goes on."""
    output = output.resolve()
    for path in paths:
        source = Path(path).resolve()
        if source.is_dir() and output.is_relative_to(source):
            raise UserError(
                f"--output_dir {output} lies in --input {path}: the run would read what it writes; "
                "choose a folder outside of it"
            )
        if any(source.is_relative_to(output / name) for name in WRITTEN):
            raise UserError(f"--input {path} lies where the run writes, in {output}: choose another --output_dir")


def facts(inputs: Sequence[str], evaluation: Sequence[str]) -> dict[str, str]:
    """Return what `args.claim` is told of the input and the evaluation files: how many, how large, and how new."""
    named = [("--input", path) for path in inputs] + [("--decontaminate", path) for path in evaluation]
    return {f"{flag} {path}": described(state(blocks.sources([path])).values()) for flag, path in named}


def state(sources: Iterable[Path]) -> dict[str, list[int]]:
    """Return size and time of change of each file of the sources: hashing a corpus would take as long as reading it."""
    return {str(path.absolute()): [path.stat().st_size, path.stat().st_mtime_ns] for path in files_of(sources)}


def files_of(sources: Iterable[Path]) -> list[Path]:
    """Return the files of the sources, those of saved datasets among them."""
    return [path for source in sources for path in (arrow.data_files(source) if source.is_dir() else [source])]


def described(states: Iterable[list[int]]) -> str:
    """Return the sizes and times of some files in the words of a message."""
    sizes, times = zip(*states, strict=True)
    newest = datetime.datetime.fromtimestamp(max(times) // 10**9, datetime.timezone.utc)
    count = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
    return f"{count} of {sum(sizes):,} bytes, changed {newest:%Y-%m-%d %H:%M:%S} UTC"


def load_or_make(
    sources: Sequence[Path], work: Path, at_least: int, options: "CorpusArguments", index: "Index | None"
) -> tuple[list[list[blocks.Block]], int]:
    """Return the blocks of each task and the number of records, 0 if they were not counted; made once, then kept.

    A killed run goes on with the division it began with, whatever the number of processes now. An input or evaluation
    file that has changed since makes another corpus, and what is there without a plan is of no known one: both go.
    """
    path = work / "plan.json"
    made_from = {"input": state(sources), "evaluation": state(blocks.sources(options.decontaminate))}
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if {name: stored.get(name) for name in made_from} == made_from:
            return [[blocks.Block(**block) for block in task] for task in stored["tasks"]], stored["records"]
        log.info("corpus: the input has changed since the run was interrupted, so it begins anew")
    clear(work.parent)
    tasks, records = blocks.divide(sources, at_least, count=options.max_documents > 0)
    if 0 < options.max_documents < records:
        files.write_array(work / "sample.npy", sample(records, options.max_documents, options.seed))
    if index:
        index.save(work / "evaluation.npz")
    stored_tasks = [[asdict(block) for block in task] for task in tasks]
    files.write_json(path, made_from | {"tasks": stored_tasks, "records": records})
    return tasks, records


def clear(output: Path) -> None:
    """Remove what an earlier run wrote, and no file of another name."""
    remove(output / ".work")
    for path in (path for name in WRITTEN for path in (output / name).glob("*")):
        if OURS.fullmatch(path.relative_to(output).as_posix()):
            path.unlink()


def remove(work: Path) -> None:
    """Remove a run's working folder, its plan first: whatever a kill leaves of it is then not gone on with."""
    (work / "plan.json").unlink(missing_ok=True)
    if work.exists():
        shutil.rmtree(work)


def sample(count: int, limit: int, seed: int) -> Any:
    """Return the sorted numbers (limit,) of a random sample of `limit` of `count` records."""
    import numpy as np

    return np.array(sorted(random.Random(seed).sample(range(count), limit)), dtype=np.int64)
