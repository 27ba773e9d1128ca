"""`finbert2 topics predict`: new titles + saved model → topics."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.topics import vectors
from finbert2.topics.model import TopicModel, load_model
from finbert2.topics.titles import Titles, read_titles

if TYPE_CHECKING:
    import numpy as np

ANSWER = ("topic", "similarity", "words")  # columns that a title gets


@dataclass(kw_only=True)
class NewTitles:
    """Which titles, by which topics."""

    model_dir: str = args.option("folder of a `topics run` or `topics update`")
    titles: str = args.option("file of titles (.csv, .jsonl, .parquet)")
    title_column: str | None = args.option("column of the titles; unset: title, else metadata", default=None)
    model_name_or_path: str | None = args.option("where the encoder of the run lies now, if it has moved", default=None)
    embeddings: str | None = args.option("vectors of the titles (.npy), if the run was given vectors", default=None)
    batch_size: int = args.option("titles encoded at a time", default=64)
    seed: int = args.option("seed of the process; topics do not depend on it", default=42)


@dataclass(kw_only=True)
class PredictArguments(NewTitles):
    """Which titles, by which topics, and where the answer goes."""

    output: str = args.option("file for the rows with their topics (.csv, .jsonl or .parquet)")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Give each title the topic whose centre it is nearest to, or -1."""
    (options,) = args.parse("topics predict", __doc__ or "", argv, PredictArguments)
    runtime.set_seed(options.seed)
    if Path(options.output).suffix not in (".csv", ".jsonl", ".json", ".parquet"):
        raise UserError(f"--output {options.output}: name a .csv, .jsonl or .parquet file")
    args.spare_input(options.output, options.titles)
    model = load_model(Path(options.model_dir), options.model_name_or_path)
    titles = read_titles(options.titles, options.title_column)
    labels, similarity = model.predict(titles.unique, encode(model, titles, options))
    write(Path(options.output), titles, rows(model, titles, labels, similarity))
    inside = int((labels[titles.place] >= 0).sum())
    sys.stdout.write(f"{inside} of {len(titles.texts)} titles have a topic; see {options.output}\n")


def encode(model: TopicModel, titles: Titles, options: NewTitles) -> "np.ndarray | None":
    """Return the vectors of the distinct titles as the model's space wants them, None where words alone decide.

    Raises `UserError` if vectors are missing, given where the model wants none, or of another width.
    """
    if options.embeddings and (model.encoder or model.space.mean is None):
        raise UserError(f"{options.model_dir} was not fitted on given vectors: leave --embeddings out")
    if model.space.mean is None:
        return None
    if model.encoder:
        return vectors.encode(model.encoder["name"], titles.unique, options.batch_size)
    if not options.embeddings:
        raise UserError(f"{options.model_dir} was fitted on given vectors: give those of the titles by --embeddings")
    found = vectors.read_vectors(options.embeddings, titles.rows_in_file, titles.first_in_file())
    if found.shape[1] != len(model.space.mean):
        raise UserError(f"{options.embeddings} has vectors of {found.shape[1]}, the topics of {len(model.space.mean)}")
    return found


def rows(model: TopicModel, titles: Titles, labels: "np.ndarray", similarity: "np.ndarray") -> Iterator[dict[str, Any]]:
    """Yield the file's own columns with the topic, the similarity to its centre, and its words.

    A column of the file that is called as one of these three becomes `given_…`.
    """
    for row, place in zip(titles.rows, titles.place, strict=True):
        label = int(labels[place])
        words = " ".join(model.topics[label].words[:5]) if label >= 0 else ""
        found = {"topic": label, "similarity": round(float(similarity[place]), 4), "words": words}
        yield files.beside(row.values, ANSWER) | found


def write(path: Path, titles: Titles, found: Iterable[dict[str, Any]]) -> None:
    """Write the titles' rows; a CSV has every column that one of them has, JSON lines keep each as it is."""
    blank = files.beside(dict.fromkeys(titles.columns()), ANSWER) if path.suffix == ".csv" else {}
    files.write_rows(path, (blank | row for row in found))


if __name__ == "__main__":
    main()
