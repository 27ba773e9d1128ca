"""`finbert2 labeler export`: labeler → ONNX in fp32 and dynamic int8, compared with torch."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import args, files, onnx_graph, runtime
from finbert2.errors import UserError
from finbert2.labeler.model import Engine, Labeler
from finbert2.labeler.onnx_model import FILES, FOLDER
from finbert2.labeler.packed import is_tagger

PROBE = ["公司前三季度净利润同比增长。", "股东拟减持不超过2%的股份，市场情绪偏弱，成交清淡。", "涨"]


@dataclass
class ExportArguments:
    """Which labeler."""

    model_name_or_path: str = args.option("folder written by `labeler train`; the graphs go into its folder onnx")
    texts: str | None = args.option("file of texts to compare the engines on (default: three sentences)", default=None)
    text_field: str = args.option("column or field that holds the text", default="text")
    int8: bool = args.option("also write the dynamically quantised graph", default=True)
    seed: int = args.option("recorded; nothing here is drawn", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Export a labeler."""
    (options,) = args.parse("labeler export", __doc__ or "", argv, ExportArguments)
    started = time.perf_counter()
    onnx_graph.need()
    folder = Path(options.model_name_or_path)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: the graphs are written into the model's own, save it first")
    labeler = Labeler.from_pretrained(str(folder))
    texts = PROBE
    if options.texts:
        texts = [row.text(options.text_field) for row in files.read_rows(options.texts)]
    export(labeler, folder, options.int8)
    engines: list[Engine] = ["onnx", "onnx-int8"] if options.int8 else ["onnx"]
    found = {engine: compare(labeler, Labeler.from_pretrained(str(folder), engine), texts) for engine in engines}
    for engine in engines:
        found[engine]["bytes"] = (folder / FOLDER / FILES[engine]).stat().st_size
    results = {"engines": found, "texts": len(texts), "data": files.fingerprint(filter(None, [options.texts]))}
    results |= runtime.circumstances(options.seed, time.perf_counter() - started)
    files.write_json(folder / FOLDER / "results.json", results)
    sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")


def export(labeler: Labeler, folder: Path, int8: bool) -> None:
    """Write the graphs of the labeler in `folder`; one segment, the model fills in the zeros of token_type_ids."""
    import torch

    model = type(labeler.model).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    longest = labeler.settings.max_seq_length
    batch = labeler.tokenizer(PROBE[:2], return_tensors="pt", padding=True, truncation=True, max_length=longest)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    wanted = onnx_graph.ALL if is_tagger(model) else 1
    names = list(FILES.values())
    onnx_graph.export(model, model.config, inputs, "logits", longest, wanted, folder / FOLDER, names, int8)


def compare(labeler: Labeler, other: Labeler, texts: list[str]) -> dict[str, Any]:
    """Return the largest difference of a probability and the share of equal labels (or tags) of two engines."""
    if labeler.settings.task == "ner":
        one, two = (x.tag([list(text) for text in texts]) for x in (labeler, other))
        pairs = [(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x[0], y[0], strict=True)]
        gaps = [abs(a - b) for x, y in zip(one, two, strict=True) for a, b in zip(x[1], y[1], strict=True)]
        return {"equal": float(np.mean([a == b for a, b in pairs])), "largest_gap": float(max(gaps))}
    first, second = labeler.predict(texts), other.predict(texts)
    gap = np.abs(np.array([p.probabilities for p in first]) - np.array([p.probabilities for p in second])).max()
    return {
        "equal": float(np.mean([a.label == b.label for a, b in zip(first, second, strict=True)])),
        "largest_gap": float(gap),
    }


if __name__ == "__main__":
    main()
