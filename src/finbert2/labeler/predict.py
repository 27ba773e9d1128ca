"""`finbert2 labeler predict`: texts → labels, probabilities, optional CLS vectors.

A row keeps its other columns; one that is named as one of an answer's (label, score, …) becomes `given_label`.
"""

import dataclasses
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from finbert2 import args, runtime, weights
from finbert2.errors import UserError
from finbert2.labeler import inputs
from finbert2.labeler.model import BATCH_TOKENS, SETTINGS_FILE, Labeler
from finbert2.labeler.onnx_model import FILES, FOLDER
from finbert2.labeler.parts import Parts

log = logging.getLogger(__name__)


@dataclass
class PredictionArguments:
    """Which model, on what, to where."""

    model_name_or_path: str = args.option("folder written by `labeler train`, or a classifier's Hub name")
    input: str = args.option(
        "file with a text a row (.csv, .jsonl, .txt, .parquet, …), or - for standard input's lines"
    )
    output: str = args.option("file to write, .csv, .jsonl or .parquet; a row keeps its other columns")
    csv_bom: bool = args.option("begin a .csv with the mark by which Excel knows UTF-8", default=False)
    text_field: str = args.option("column or field that holds the text", default="text")
    empty_texts: Literal["error", "abstain"] = args.option("what is done with rows without a text", default="error")
    min_score: float | None = args.option(
        "abstain below this probability, whatever thresholds the model has", default=None
    )
    cls_vectors: str | None = args.option("also write the [CLS] vectors to this .npy file", default=None)
    cls_layer: int = args.option("layer of the vectors: 0 the embeddings, -1 the last", default=-1)
    batch_tokens: int = args.option(
        "tokens of a forward pass; of a model read with padding its slots", default=BATCH_TOKENS
    )
    engine: Literal["torch", "onnx", "onnx-int8"] = args.option(
        "torch, or what `labeler export` wrote", default="torch"
    )
    seed: int = args.option("seed of the process; labels do not depend on it", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Label texts."""
    (options,) = args.parse("labeler predict", __doc__ or "", argv, PredictionArguments)
    output = Path(options.output)
    if output.suffix not in (".csv", ".jsonl", ".parquet"):
        raise UserError(f"--output {output} has the suffix '{output.suffix}': name a .csv, .jsonl or .parquet file")
    if options.csv_bom and output.suffix != ".csv":
        raise UserError(f"--csv_bom is for Excel, which opens .csv files: --output is {output}")
    args.spare_input(output, options.input)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if options.input == "-" and world > 1:
        raise UserError("standard input cannot be shared by several processes: write it to a file first")
    runtime.set_seed(options.seed)
    choose_device()
    labeler = Labeler.from_pretrained(options.model_name_or_path, options.engine)
    if labeler.settings.task == "ner" and options.min_score is not None:
        raise UserError("--min_score is for classifiers: of a tagger each entity has a score, choose by it")
    parts = Parts(output, made_from(options), rank, world)
    try:
        count = label_parts(labeler, options, parts)
        if rank == 0:
            answer = ("entities",) if labeler.settings.task == "ner" else ("label", "score", "probs", "abstained")
            vectors = Path(options.cls_vectors) if options.cls_vectors else None
            parts.join(count, ("id", "text", *answer), vectors, options.csv_bom)
        else:
            parts.leave()
    finally:
        parts.forget_if_empty()


def choose_device() -> None:
    """Take the GPU of this process's number, where there are several."""
    import torch

    if runtime.device() == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def made_from(options: PredictionArguments) -> dict[str, Any]:
    """Return what the output depends on: options, model, input. Standard input is never the same twice."""
    record = dataclasses.asdict(options) | {"model": weights.fingerprint(options.model_name_or_path)}
    if options.engine != "torch":
        graph = (Path(options.model_name_or_path) / FOLDER / FILES[options.engine]).stat()
        record["graph"] = [graph.st_size, graph.st_mtime_ns]
    settings = Path(options.model_name_or_path) / SETTINGS_FILE
    record["settings"] = settings.read_text(encoding="utf-8") if settings.exists() else ""
    if options.input == "-":
        return record | {"started": time.time_ns()}
    path = Path(options.input)
    return record | ({"bytes": path.stat().st_size, "changed": path.stat().st_mtime_ns} if path.exists() else {})


def label_parts(labeler: Labeler, options: PredictionArguments, parts: Parts) -> int:
    """Label this process's chunks of the input, but those that are done, and return the number of all chunks."""
    count = empty = 0
    with tqdm(desc="label", unit="text", disable=parts.rank > 0) as bar:
        table = parts.output.suffix == ".csv"
        rows = inputs.read_texts(options.input, options.text_field, options.empty_texts, table)
        for number, chunk in enumerate(inputs.chunks(rows)):
            count = number + 1
            empty += sum(not row["text"] for row in chunk)
            if parts.is_mine(number) and not parts.is_done(number):
                parts.write(number, *label(labeler, chunk, options))
            bar.update(len(chunk))
    if empty:
        log.warning("labeler: %d rows have no text and were abstained from", empty)
    return count


def label(
    labeler: Labeler, chunk: list[dict[str, Any]], options: PredictionArguments
) -> tuple[list[dict[str, Any]], np.ndarray | None]:
    """Return the rows with their labels or entities, and the [CLS] vectors if asked for (0 without a text)."""
    places = [place for place, row in enumerate(chunk) if row["text"]]
    texts = [chunk[place]["text"] for place in places]
    answer = entities if labeler.settings.task == "ner" else labels
    blank: dict[str, Any] = {"label": "", "score": 0.0, "probs": {}, "abstained": True}
    extra = [{"entities": []} if labeler.settings.task == "ner" else blank for _ in chunk]
    answers, found = answer(labeler, texts, options)
    for place, more in zip(places, answers, strict=True):
        extra[place] = more
    vectors = None
    if found is not None:
        vectors = np.zeros((len(chunk), found.shape[1]), dtype=np.float32)
        vectors[places] = found
    return [row | more for row, more in zip(chunk, extra, strict=True)], vectors


def labels(
    labeler: Labeler, texts: list[str], options: PredictionArguments
) -> tuple[list[dict[str, Any]], np.ndarray | None]:
    """Return `label`, `score`, `probs` and `abstained` of each text, and vectors if asked for, from one forward."""
    labeler.require("classification")
    layer = options.cls_layer if options.cls_vectors else None
    logits, vectors = labeler.logits_and_vectors(texts, layer, options.batch_tokens)
    rows = [
        {
            "label": prediction.label,
            "score": round(prediction.score, 6),
            "probs": {n: round(p, 6) for n, p in zip(labeler.labels, prediction.probabilities, strict=True)},
            "abstained": prediction.abstained if options.min_score is None else prediction.score < options.min_score,
        }
        for prediction in labeler.decide(logits)
    ]
    return rows, vectors if options.cls_vectors else None


def entities(
    labeler: Labeler, texts: list[str], options: PredictionArguments
) -> tuple[list[dict[str, Any]], np.ndarray | None]:
    """Return the `entities` of each text, and vectors if asked for; a tagger reads texts in other units than [CLS]."""
    rows = [{"entities": [dataclasses.asdict(e) for e in row]} for row in labeler.entities(texts, options.batch_tokens)]
    if not options.cls_vectors:
        return rows, None
    return rows, labeler.cls_vectors(texts, options.cls_layer, options.batch_tokens)


if __name__ == "__main__":
    main()
