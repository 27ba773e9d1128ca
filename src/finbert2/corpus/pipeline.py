"""The steps of the corpus pipeline and the stages they make: item by item, reader → cleaning → sketches → shards."""

import functools
import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from finbert2 import files
from finbert2.corpus import decontaminate, dedup, reading
from finbert2.corpus.blocks import Block
from finbert2.corpus.clean import clean
from finbert2.corpus.filters import MAX_CHARACTERS, drop_reason
from finbert2.corpus.shards import SOURCE, CleanedReader, CleanedWriter, Samples, ShardWriter
from finbert2.corpus.split import Hashes, HoldOut, Split

SHOWN = 50  # documents of each reason that a person is shown
# Sources counted by name, in a task and in all: an address for each document would otherwise make as many counters.
SOURCES_IN_A_TASK, SOURCES_IN_ALL, REST = 1_000, 10_000, "…"


@dataclass(frozen=True)
class Recipe:
    """What the stages need to know of a run: the command's options, and its folders."""

    text_field: str
    source_field: str
    errors: str
    width: str
    valid_fraction: float
    shard_bytes: int
    output: Path
    work: Path


@dataclass(frozen=True)
class Stage:
    """Steps that one task after the other runs through."""

    name: str
    steps: list[PipelineStep]
    tasks: int


class Reader(PipelineStep):
    """Reads the blocks of a task."""

    name, type = "blocks", "reader"

    def __init__(self, tasks: list[list[Block]], recipe: Recipe) -> None:
        super().__init__()
        self.tasks, self.recipe = tasks, recipe

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield documents; what cannot be read stops the run, or is counted with `--errors skip`."""
        sample = self.recipe.work / "sample.npy"
        wanted = np.load(sample) if sample.exists() else None
        unreadable, sources = Samples(SHOWN), Sources(SOURCES_IN_A_TASK)
        skip = reading.stop if self.recipe.errors == "stop" else functools.partial(self.count, unreadable)
        for block in self.tasks[rank]:
            file = Path(block.path).name
            for record in reading.read_block(block, skip, wanted):
                text = reading.text_of(record, self.recipe.text_field, skip)
                if text.strip():
                    yield self.document(record, text, file, sources)
        unreadable.save(self.recipe.work / "samples" / f"read-{rank:05d}.json")

    def count(self, samples: Samples, reason: str, message: str) -> None:
        """Count a record that cannot be read, and keep its message as an example."""
        self.stat_update(f"skipped\t{reason}")
        samples.add(f"unreadable_{reason}", message, "")

    def document(self, record: reading.Record, text: str, file: str, sources: "Sources") -> Document:
        """Return a record as a document; its source is what it says or the file it came from."""
        metadata = {name: value for name, value in record.values.items() if name != self.recipe.text_field}
        named = metadata.get(self.recipe.source_field)
        source = sources.counted(named if isinstance(named, str) and named else file)
        self.stat_update(f"read\t{source}")
        return Document(text=text, id=record.place, metadata=metadata | {SOURCE: source})


class Sources:
    """The sources that are counted by name, up to `most`; all others are counted together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.names: set[str] = set()

    def counted(self, source: str) -> str:
        """Return the name that a source is counted by."""
        if source not in self.names and len(self.names) >= self.most:
            return REST
        self.names.add(source)
        return source


class Verdicts(PipelineStep):
    """A step that keeps a document or drops it for one reason, counts both by source, and keeps examples."""

    type = "filter"

    def __init__(self, samples: Path) -> None:
        super().__init__()
        self.samples = samples

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield the documents that are kept."""
        dropped = Samples(SHOWN)
        judge = self.judge(rank)
        for number, doc in enumerate(data):
            with self.track_time():
                reason = judge(number, doc)
            if reason:
                self.stat_update(f"{reason}\t{doc.metadata[SOURCE]}")
                dropped.add(reason, doc.id, doc.text)
            else:
                yield doc
        dropped.save(self.samples / f"{self.name}-{rank:05d}.json")

    @abstractmethod
    def judge(self, rank: int) -> Callable[[int, Document], str | None]:
        """Return the function that says of a task's n-th document why it is dropped, None if it is not."""


class Clean(Verdicts):
    """Cleans documents and drops those not worth reading."""

    name = "clean"

    def __init__(self, width: str, samples: Path) -> None:
        super().__init__(samples)
        self.width = width

    def judge(self, rank: int) -> Callable[[int, Document], str | None]:
        """Clean a document in place and return why it is dropped."""

        def cleaned(number: int, doc: Document) -> str | None:
            if len(doc.text) > MAX_CHARACTERS:
                return "too_long"
            doc.text = clean(doc.text, self.width)
            return drop_reason(doc.text)

        return cleaned


class Decontaminate(Verdicts):
    """Drops documents that contain evaluation texts."""

    name = "decontaminate"

    def __init__(self, index: Path, samples: Path) -> None:
        super().__init__(samples)
        self.index = index

    def judge(self, rank: int) -> Callable[[int, Document], str | None]:
        """Load the index and return the function that looks documents up in it."""
        index = decontaminate.Index.load(self.index)
        return lambda number, doc: "evaluation_text" if index.contaminates(doc.text) else None


class Deduplicate(PipelineStep):
    """Drops the documents that `Choose` gave up, and writes down those that a person is shown with their partners."""

    name, type = "duplicates", "filter"

    def __init__(self, sketches: Path, verdicts: Path, samples: Path) -> None:
        super().__init__()
        self.sketches, self.verdicts, self.samples = sketches, verdicts, samples

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield the documents that stay."""
        verdicts = np.load(self.verdicts / f"{rank:05d}.npy")
        first, last = dedup.first_numbers(self.sketches)[rank : rank + 2].tolist()
        shown = dedup.shown_numbers(self.verdicts, first, last)
        texts = {}
        for number, (doc, verdict) in enumerate(zip(data, verdicts.tolist(), strict=True)):
            if number in shown:
                texts[shown[number]] = {"place": doc.id, "text": doc.text}
            if verdict == dedup.KEPT:
                yield doc
            else:
                self.stat_update(f"{dedup.REASONS[verdict]}\t{doc.metadata[SOURCE]}")
        files.write_json(self.samples / f"{rank:05d}.json", texts)


def build(tasks: list[list[Block]], recipe: Recipe, decontaminates: bool) -> list[Stage]:
    """Return the stages in the order they run."""
    work, count, share = recipe.work, len(tasks), recipe.valid_fraction
    cleaned, sketches, samples = work / "cleaned", work / "sketches", work / "samples"
    candidates, judged, verdicts = work / "candidates", work / "judged", work / "verdicts"
    hashes = work / "hashes"
    checks: list[PipelineStep] = [Decontaminate(work / "evaluation.npz", samples)] if decontaminates else []
    return [
        Stage(
            "clean",
            [
                Reader(tasks, recipe), Clean(recipe.width, samples), *checks, dedup.Sketches(sketches),
                Hashes(hashes), CleanedWriter(cleaned),
            ],
            count,
        ),
        Stage("candidates", [dedup.Candidates(sketches, candidates)], count),
        Stage("judge", [dedup.Judge(sketches, candidates, judged)], count),
        Stage("choose", [dedup.Choose(sketches, judged, verdicts, SHOWN), HoldOut(hashes, verdicts, share)], 1),
        Stage(
            "write",
            [
                CleanedReader(cleaned), Deduplicate(sketches, verdicts, work / "shown"), Split(share, hashes),
                ShardWriter(recipe.output, recipe.shard_bytes),
            ],
            count,
        ),
    ]  # fmt: skip


def totals(work: Path) -> dict[tuple[str, str], int]:
    """Return what the steps counted, by (what, source), from the statistics that datatrove keeps of each task."""
    found: dict[tuple[str, str], int] = {}
    sources = Sources(SOURCES_IN_ALL)
    for path in sorted((work / "logs").glob("*/stats/*.json")):
        for step in json.loads(path.read_text(encoding="utf-8")):
            for label, value in step["stats"].items():
                if "\t" in label:
                    what, source = label.split("\t", 1)
                    source = source if what == "skipped" else sources.counted(source)
                    count = value["total"] if isinstance(value, dict) else value
                    found[what, source] = found.get((what, source), 0) + int(count)
    return found
