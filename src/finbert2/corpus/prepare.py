"""`finbert2 corpus prepare`: text files → cleaned, de-duplicated JSONL shards + what was dropped and why."""

import errno
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, files, malformed, plots, runtime
from finbert2.errors import UserError

if TYPE_CHECKING:
    from finbert2.corpus.decontaminate import Index

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SOURCES_SHOWN, SOURCES_KEPT = 12, 100


@dataclass
class CorpusArguments:
    """What to read, where to write."""

    input: list[str] = args.option(
        "files or folders of .jsonl, .csv, .tsv, .txt (also .gz, .zst), .parquet, or datasets saved by datasets"
    )
    output_dir: str = args.option("folder for train/, valid/, dropped/ and results.json")
    text_field: str = args.option("column or field that holds the text", default="text")
    source_field: str = args.option("field that names a document's source; without it, its file", default="source")
    decontaminate: list[str] = args.option(
        "evaluation files; documents with a text of theirs are dropped", factory=list
    )
    width: Literal["keep", "half", "nfkc"] = args.option(
        "full-width forms; half: letters, digits, number signs become narrow", default="keep"
    )
    errors: Literal["stop", "skip"] = args.option("what is done with lines that cannot be read", default="stop")
    valid_fraction: float = args.option("share of documents held out, chosen by hash, at least one", default=0.01)
    max_documents: int = args.option("read only a random sample of that many records (0: all)", default=0)
    shard_mb: int = args.option("largest size of a shard, in megabytes of text", default=256)
    executor: Literal["local", "slurm", "ray"] = args.option("what runs the tasks", default="local")
    slurm_partition: str = args.option("partition of --executor slurm", default="")
    slurm_time: str = args.option("time limit of a task of --executor slurm", default="04:00:00")
    num_proc: int = args.option("tasks at a time (0: one a core)", default=0)
    seed: int = args.option("seed of the sample", default=0)

    def __post_init__(self) -> None:
        """Refuse a share that is none, and Slurm without a partition."""
        if not 0 <= self.valid_fraction < 1:
            raise ValueError(f"--valid_fraction is a share from 0 to below 1, not {self.valid_fraction}")
        if self.shard_mb < 1:
            raise ValueError(f"--shard_mb is at least 1, not {self.shard_mb}")
        if self.executor == "slurm" and not self.slurm_partition:
            raise ValueError("--executor slurm needs --slurm_partition: sinfo lists them")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Clean, filter and de-duplicate a corpus."""
    (options,) = args.parse("corpus prepare", __doc__ or "", argv, CorpusArguments)
    started = time.perf_counter()
    output = Path(options.output_dir)
    from finbert2.corpus import blocks, decontaminate, plan

    plan.refuse_own_output(options.input, output)
    sources = [path.absolute() for path in blocks.sources(options.input)]
    plan.refuse_own_output(sources, output)  # a folder may hold links to where the run writes
    check_input(sources, options)
    facts = plan.facts(options.input, options.decontaminate)
    work = output.absolute() / ".work"
    if args.is_finished(output):
        args.claim(output, options, facts=facts)
        plan.remove(work)  # a kill may have left some of it
        return
    index = decontaminate.Index.read(options.decontaminate, options.text_field) if options.decontaminate else None
    # The facts are written when the run is done: until then another input is no mistake, the run begins anew.
    args.claim(output, options)
    results = run(sources, work, options, index)
    if results is None:
        log.info("corpus: the jobs are submitted; the same command, when they are done, writes results.json")
        return
    results["data"] = files.fingerprint(plan.files_of([*sources, *blocks.sources(options.decontaminate)]))
    files.write_text(output / "kept_and_dropped.svg", plots.svg(figure(results)))
    args.claim(output, options, facts=facts)
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )
    plan.remove(work)


def run(sources: Sequence[Path], work: Path, options: CorpusArguments, index: "Index | None") -> dict[str, Any] | None:
    """Run the stages and return what became of the documents, None if a cluster has still to do it."""
    from finbert2.corpus import execute, pipeline, plan

    num_proc = options.num_proc or runtime.cores()
    resources = execute.Resources(options.executor, num_proc, options.slurm_partition, options.slurm_time)
    try:
        tasks, records = plan.load_or_make(sources, work, 2 * num_proc, options, index)
        stages = pipeline.build(tasks, recipe(options, work.parent, work), bool(options.decontaminate))
        if not execute.execute(stages, work, resources):
            return None
        return summarise(work.parent, work, records)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise UserError(
            f"{error.filename or work.parent} cannot be written ({error.strerror}): make room, "
            "the same command then goes on where this one stopped"
        ) from None


def recipe(options: CorpusArguments, output: Path, work: Path) -> Any:
    """Return what the stages need to know of the options."""
    from finbert2.corpus.pipeline import Recipe

    return Recipe(
        options.text_field, options.source_field, options.errors, options.width, options.valid_fraction,
        options.shard_mb * 2**20, output, work,
    )  # fmt: skip


def check_input(sources: Sequence[Path], options: CorpusArguments) -> None:
    """Read up to the first document, so that a wrong field or an empty corpus is said before any work is done.

    Raises `UserError`.
    """
    from finbert2.corpus import blocks, reading

    skip = reading.stop if options.errors == "stop" else malformed.ignore
    for path in sources:
        for block, _ in blocks.cut(path, blocks.LARGEST_TASK, 0):
            for record in reading.read_block(block, skip):
                if reading.text_of(record, options.text_field, skip).strip():
                    return
    raise UserError(
        f"{', '.join(options.input)}: no document was found; a corpus has one text a line, as JSON or plain"
    )


def summarise(output: Path, work: Path, records: int) -> dict[str, Any]:
    """Return how many documents went in, came out by split, and were dropped by reason; write the samples."""
    from finbert2.corpus import pipeline

    counts = pipeline.totals(work)

    def total(what: str) -> int:
        return sum(count for (name, _), count in counts.items() if name == what)

    reasons = sorted({what for what, _ in counts} - {"read", "train", "valid", "skipped"})
    train, valid, read = total("train"), total("valid"), total("read")
    write_samples(output, work)
    return {
        "documents_in": read,
        "documents_out": train + valid,
        "documents_train": train,
        "documents_valid": valid,
        "documents_found": records or read,
        "sampled": (work / "sample.npy").exists(),
        "dropped": {reason: total(reason) for reason in reasons},
        "skipped": {source: count for (what, source), count in sorted(counts.items()) if what == "skipped"},
        "by_source": by_source(counts, reasons),
    }


def by_source(counts: dict[tuple[str, str], int], reasons: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return what became of the documents of each source, the largest first; the smallest are added up as "…"."""
    sizes = {source: count for (what, source), count in counts.items() if what == "read"}
    table: dict[str, dict[str, int]] = {}
    for place, source in enumerate(sorted(sizes, key=lambda name: (-sizes[name], name))):
        row = table.setdefault(source if place < SOURCES_KEPT else "…", {})
        for name, whats in (("kept", ("train", "valid")), *((reason, (reason,)) for reason in reasons)):
            row[name] = row.get(name, 0) + sum(counts.get((what, source), 0) for what in whats)
    return table


def write_samples(output: Path, work: Path) -> None:
    """Write up to 50 dropped documents for each reason into `dropped/<reason>.jsonl`, for a person to read."""
    from finbert2.corpus import dedup, pipeline, shards

    merged = shards.Samples(pipeline.SHOWN)
    for path in sorted((work / "samples").glob("*.json")):
        for reason, rows in json.loads(path.read_text(encoding="utf-8")).items():
            for row in rows:
                merged.add(reason, row["place"], row["text"])
    for reason in merged.heaps:
        files.write_rows(output / "dropped" / f"{reason}.jsonl", merged.rows(reason))
    texts: dict[str, dict[str, str]] = {}
    for path in sorted((work / "shown").glob("*.json")):
        texts |= json.loads(path.read_text(encoding="utf-8"))
    shown = json.loads((work / "verdicts" / "shown.json").read_text(encoding="utf-8"))
    for reason in dedup.REASONS.values():
        pairs = [(texts[str(late)], texts[str(early)]) for early, late in shown[reason]]
        rows = [late | {"kept_place": early["place"], "kept_text": early["text"]} for late, early in pairs]
        if rows:
            files.write_rows(output / "dropped" / f"{reason}.jsonl", rows)


def figure(results: dict[str, Any]) -> Any:
    """Return the figure of what became of the documents: by reason, and the share kept and dropped of each source."""
    rows = {reason: {"documents": n} for reason, n in {"kept": results["documents_out"], **results["dropped"]}.items()}
    table = results["by_source"]
    if len(table) < 2:
        return plots.bars(rows, x="documents")
    shares = {}
    for source, row in list(table.items())[:SOURCES_SHOWN]:
        shares[source] = {name: count for name, count in row.items() if count}
    return plots.stacked(
        {"all": {name: row["documents"] for name, row in rows.items()}, **shares}, x="share of documents"
    )


if __name__ == "__main__":
    main()
