"""`finbert2 labeler predict`: texts → labels, probabilities, optional CLS vectors."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.labeler.model import BATCH_TOKENS, Labeler

CHUNK = 4096  # rows in memory at a time; enough of them for batches of equal length


@dataclass
class PredictionArguments:
    """Which model, on what, to where."""

    model_name_or_path: str = args.option("folder written by `labeler train`, or a classifier's Hub name")
    input: str = args.option("file with a text a row (.csv, .jsonl, .txt, …), or - for lines from standard input")
    output: str = args.option("file to write, .csv or .jsonl")
    text_field: str = args.option("column or field that holds the text", default="text")
    cls_vectors: str | None = args.option("also write the [CLS] vectors to this .npy file", default=None)
    cls_layer: int = args.option("layer of the vectors: 0 the embeddings, -1 the last", default=-1)
    batch_tokens: int = args.option("slots of a batch, padding included", default=BATCH_TOKENS)
    seed: int = args.option("seed of the process; labels do not depend on it", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Label texts."""
    (options,) = args.parse("labeler predict", __doc__ or "", argv, PredictionArguments)
    output = Path(options.output)
    if output.suffix not in (".csv", ".jsonl"):
        raise UserError(f"--output {output} has the suffix '{output.suffix}': name a .csv or a .jsonl file")
    runtime.set_seed(options.seed)
    labeler = Labeler.from_pretrained(options.model_name_or_path)
    rows = tqdm(read_input(options), desc="label", unit="text")
    vectors: list[Any] = []
    files.write_rows(output, label(labeler, rows, options, vectors))
    if options.cls_vectors:
        import numpy as np

        np.save(options.cls_vectors, np.concatenate(vectors) if vectors else np.zeros((0, 0)))


def read_input(options: PredictionArguments) -> Iterator[dict[str, Any]]:
    """Yield `id` and `text` of each row of the input; the id is the row's own or its line."""
    if options.input == "-":
        lines = (line.rstrip("\r\n") for line in sys.stdin)
        yield from ({"id": number, "text": line} for number, line in enumerate(lines, start=1) if line.strip())
        return
    for row in files.read_rows(options.input):
        yield {"id": row.values.get("id", row.line), "text": row.text(options.text_field)}


def label(
    labeler: Labeler, rows: Iterable[dict[str, Any]], options: PredictionArguments, vectors: list[Any]
) -> Iterator[dict[str, Any]]:
    """Yield the rows with their labels or entities, a chunk in memory at a time; collects vectors if asked for."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        texts = [row["text"] for row in chunk]
        if options.cls_vectors:
            vectors.append(labeler.cls_vectors(texts, options.cls_layer, options.batch_tokens))
        answer = entities if labeler.settings.task == "ner" else labels
        extra = answer(labeler, texts, options.batch_tokens)
        yield from (row | more for row, more in zip(chunk, extra, strict=True))


def labels(labeler: Labeler, texts: list[str], batch_tokens: int) -> list[dict[str, Any]]:
    """Return `label`, `score` and `probs` of each text."""
    return [
        {
            "label": prediction.label,
            "score": round(prediction.score, 6),
            "probs": {n: round(p, 6) for n, p in zip(labeler.labels, prediction.probabilities, strict=True)},
        }
        for prediction in labeler.predict(texts, batch_tokens)
    ]


def entities(labeler: Labeler, texts: list[str], batch_tokens: int) -> list[dict[str, Any]]:
    """Return the `entities` of each text."""
    return [{"entities": [dataclasses.asdict(e) for e in row]} for row in labeler.entities(texts, batch_tokens)]


if __name__ == "__main__":
    main()
