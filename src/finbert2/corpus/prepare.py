"""`finbert2 corpus prepare`: text files → cleaned, de-duplicated JSONL shards + what was dropped and why."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finbert2 import args, files, plots, runtime
from finbert2.errors import UserError


@dataclass
class CorpusArguments:
    """What to read, where to write."""

    input: list[str] = args.option("files or folders of .jsonl, .csv, .tsv, .txt (also .gz, .zst), or saved datasets")
    output_dir: str = args.option("folder for train/, valid/, dropped/ and results.json")
    text_field: str = args.option("column or field that holds the text", default="text")
    valid_fraction: float = args.option("share of documents held out, chosen by hash", default=0.01)
    max_documents: int = args.option("read only a random sample of that many documents (0: all)", default=0)
    num_proc: int = args.option("processes (0: one a core)", default=0)
    seed: int = args.option("seed of the sample", default=0)

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.valid_fraction < 1:
            raise ValueError(f"--valid_fraction is a share from 0 to below 1, not {self.valid_fraction}")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Clean, filter and de-duplicate a corpus."""
    (options,) = args.parse("corpus prepare", __doc__ or "", argv, CorpusArguments)
    started = time.perf_counter()
    output = Path(options.output_dir)
    count = count_documents(options.input, options.text_field)
    args.claim(output, options)
    if args.is_finished(output):
        return
    from finbert2.corpus import pipeline

    num_proc = options.num_proc or runtime.machine()["cores"]
    keep = pipeline.sample(count, options.max_documents, options.seed)
    paths = [str(Path(path).absolute()) for path in options.input]
    stages = pipeline.build(
        paths,
        options.text_field,
        keep,
        output,
        output / ".work",
        tasks=pipeline.task_count(output / ".work", 2 * num_proc),
        valid_fraction=options.valid_fraction,
    )
    pipeline.execute(stages, output / ".work", num_proc)
    results = summarise(output, len(keep) if keep else count)
    results |= {"documents_found": count, "sampled": keep is not None}
    figure = plots.bars(
        {reason: {"documents": n} for reason, n in {"kept": results["documents_out"], **results["dropped"]}.items()},
        x="documents",
    )
    files.write_text(output / "kept_and_dropped.svg", plots.svg(figure))
    shutil.rmtree(output / ".work")
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )


def count_documents(paths: list[str], field: str) -> int:
    """Read the whole input once, so that a bad line is named before any work is done; return the number of documents.

    Raises `UserError` if there is none.
    """
    count = sum(1 for _ in files.read_documents(paths, field))
    if not count:
        raise UserError(f"{', '.join(paths)}: no document was found; a corpus has one text a line, as JSON or plain")
    return count


def summarise(output: Path, documents_in: int) -> dict[str, Any]:
    """Return how many documents went in, came out by split, and were dropped by reason, from the files written."""

    def count(folder: Path) -> int:
        return sum(1 for path in sorted(folder.glob("*.jsonl.gz")) for _ in files.read_lines(path))

    dropped = {folder.name: count(folder) for folder in sorted((output / "dropped").glob("*"))}
    train, valid = count(output / "train"), count(output / "valid")
    return {
        "documents_in": documents_in,
        "documents_out": train + valid,
        "documents_train": train,
        "documents_valid": valid,
        "dropped": dropped,
    }


if __name__ == "__main__":
    main()
