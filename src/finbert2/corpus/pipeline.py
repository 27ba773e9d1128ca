"""The corpus pipeline: datatrove's executor, filters and writers around the suite's reader and rules."""

import contextlib
import json
import os
import random
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from datatrove.data import Document, DocumentsPipeline
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from tqdm import tqdm

from finbert2 import files
from finbert2.corpus.clean import clean
from finbert2.corpus.filters import drop_reason
from finbert2.corpus.minhash import CONFIG, CharacterMinhash

VALID_BUCKETS = 10_000


class RowReader(PipelineStep):
    """Reads every `world_size`-th document, so that one large file still keeps all processes busy."""

    name = "rows"
    type = "reader"

    def __init__(self, paths: Sequence[str], field: str, keep: frozenset[int] | None) -> None:
        super().__init__()
        self.paths, self.field, self.keep = list(paths), field, keep

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield this task's documents; a sample, if one was drawn, is a set of positions."""
        for position, row in enumerate(files.read_documents(self.paths, self.field)):
            if position % world_size == rank and (self.keep is None or position in self.keep):
                rest = {name: value for name, value in row.values.items() if name != self.field}
                yield Document(text=str(row.values[self.field]), id=row.place, metadata=rest)


class CleanFilter(BaseFilter):
    """Cleans a document, then keeps it or names the one reason why not."""

    name = "clean"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Clean `doc.text` in place and judge it."""
        doc.text = clean(doc.text)
        reason = drop_reason(doc.text)
        return (False, reason) if reason else True


class Split(PipelineStep):
    """Marks each document as "train" or "valid" by the hash of its text, whatever its place."""

    name = "split"
    type = "split"

    def __init__(self, valid_fraction: float) -> None:
        super().__init__()
        self.valid_fraction = valid_fraction

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Set `metadata["_split"]`, which the writer's file name is made from."""
        for doc in data:
            bucket = zlib.crc32(doc.text.encode()) % VALID_BUCKETS
            doc.metadata["_split"] = "valid" if bucket < self.valid_fraction * VALID_BUCKETS else "train"
            yield doc


def record(self: Any, doc: Document) -> dict[str, Any]:
    """Return a document as the line that is written: its text and the fields it came with."""
    ours = ("text", "_split", "filter_reason")
    return {"text": doc.text} | {name: value for name, value in doc.metadata.items() if name not in ours}


def writer(folder: Path, name: str) -> JsonlWriter:
    """Return a writer of gzipped JSON lines whose file names are made from the document's metadata and the rank."""
    return JsonlWriter(str(folder), output_filename=f"{name}/${{rank}}.jsonl.gz", adapter=record)


def build(
    paths: Sequence[str], field: str, keep: frozenset[int] | None, output: Path, work: Path, tasks: int,
    valid_fraction: float,
) -> list[tuple[list[PipelineStep], int]]:  # fmt: skip
    """Return the stages, each a list of steps with its number of tasks, in the order they run."""
    cleaned, dropped = str(work / "cleaned"), output / "dropped"
    return [
        (
            [
                RowReader(paths, field, keep),
                CleanFilter(exclusion_writer=writer(dropped, "${filter_reason}")),
                JsonlWriter(cleaned, output_filename="${rank}.jsonl.gz"),
            ],
            tasks,
        ),
        ([JsonlReader(cleaned, add_file_path=False), CharacterMinhash(str(work / "signatures"))], tasks),
        ([MinhashDedupBuckets(str(work / "signatures"), str(work / "pairs"), config=CONFIG)], CONFIG.num_buckets),
        ([MinhashDedupCluster(str(work / "pairs"), str(work / "remove"), config=CONFIG)], 1),
        (
            [
                JsonlReader(cleaned, add_file_path=False),
                MinhashDedupFilter(str(work / "remove"), exclusion_writer=writer(dropped, "duplicate")),
                Split(valid_fraction),
                writer(output, "${_split}"),
            ],
            tasks,
        ),
    ]


def task_count(work: Path, wanted: int) -> int:
    """Return the number of tasks that an interrupted run was divided into, `wanted` if there is none.

    A document belongs to a task by its place modulo their number: with another one, some would be lost and some
    read twice beside the tasks that are done.
    """
    path = work / "tasks.json"
    if not path.exists():
        files.write_json(path, wanted)
    return int(json.loads(path.read_text(encoding="utf-8")))


def execute(stages: list[tuple[list[PipelineStep], int]], work: Path, num_proc: int) -> None:
    """Run the stages one after the other on local processes; tasks finished by an earlier, killed run are skipped."""
    total = sum(tasks for _, tasks in stages)
    with messages_to(work / "datatrove.log") as terminal, tqdm(
        total=total, desc="corpus", unit="task", file=terminal
    ) as bar, watch(work, bar):  # fmt: skip
        for number, (steps, tasks) in enumerate(stages):
            LocalPipelineExecutor(
                steps, tasks=tasks, workers=min(num_proc, tasks), logging_dir=str(work / "logs" / str(number))
            ).run()


@contextlib.contextmanager
def watch(work: Path, bar: "tqdm[Any]") -> Iterator[None]:
    """Move the bar to the number of finished tasks, twice a second."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            bar.update(len(list(work.glob("logs/*/completions/*"))) - bar.n)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        bar.update(len(list(work.glob("logs/*/completions/*"))) - bar.n)


@contextlib.contextmanager
def messages_to(path: Path) -> Iterator[IO[str]]:
    """Send what datatrove and its processes log to a file and yield the terminal.

    They write to file descriptor 2 whatever one asks for, so that is what has to be turned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    standard = os.dup(2)
    with path.open("a", encoding="utf-8") as log, os.fdopen(standard, "w", encoding="utf-8") as terminal:
        os.dup2(log.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stderr.flush()
            os.dup2(standard, 2)


def sample(count: int, limit: int, seed: int) -> frozenset[int] | None:
    """Return the positions of a random sample of `limit` of `count` documents, None for all of them."""
    return frozenset(random.Random(seed).sample(range(count), limit)) if 0 < limit < count else None
