"""`finbert2 labeler export`: labeler → ONNX in fp32 and dynamic int8, compared with torch."""

import json
import logging
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.labeler.model import Engine, Labeler
from finbert2.labeler.onnx_model import FILES, FOLDER, require_onnxruntime

INPUTS = ("input_ids", "attention_mask")  # one segment: the model fills in the zeros of token_type_ids
OPSET = 18
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
    require_onnxruntime()
    folder = Path(options.model_name_or_path)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: the graphs are written into the model's own, save it first")
    labeler = Labeler.from_pretrained(str(folder))
    texts = PROBE
    if options.texts:
        texts = [row.text(options.text_field) for row in files.read_rows(options.texts)]
    (folder / FOLDER).mkdir(exist_ok=True)
    to_onnx(labeler, folder, folder / FOLDER / FILES["onnx"])
    engines: list[Engine] = ["onnx"]
    if options.int8:
        quantise(folder / FOLDER / FILES["onnx"], folder / FOLDER / FILES["onnx-int8"])
        engines.append("onnx-int8")
    found = {engine: compare(labeler, Labeler.from_pretrained(str(folder), engine), texts) for engine in engines}
    for engine in engines:
        found[engine]["bytes"] = (folder / FOLDER / FILES[engine]).stat().st_size
    results = {"engines": found, "texts": len(texts)}
    results |= runtime.circumstances(options.seed, time.perf_counter() - started)
    files.write_json(folder / FOLDER / "results.json", results)
    sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")


def to_onnx(labeler: Labeler, folder: Path, path: Path) -> None:
    """Write the graph of the labeler in `folder` to `path`, batch and length left open, weights inside the file."""
    import torch

    # The fused attention would be taken apart with a check for NaN in every layer.
    model = type(labeler.model).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    batch = labeler.tokenizer(PROBE[:2], return_tensors="pt", padding=True)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=labeler.settings.max_seq_length)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, kwargs={name: batch[name] for name in INPUTS}, f=str(path), input_names=INPUTS,
            output_names=["logits"], dynamic_shapes=dict.fromkeys(INPUTS, shape), opset_version=OPSET, dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
    fuse(path, model.config)


def fuse(path: Path, config: Any) -> None:
    """Rewrite a BERT's graph with ONNX Runtime's kernels for GELU and layer norm, which it does not find itself."""
    if config.model_type != "bert":
        return
    from onnxruntime.transformers import optimizer

    graph = optimizer.optimize_model(
        str(path), "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=0
    )
    graph.save_model_to_file(str(path))


def quantise(path: Path, output: Path) -> None:
    """Write the graph with its matrix products in int8: weights ahead, activations as they come.

    Weights keep seven of eight bits: without VNNI, AVX2 adds two products in 16 bits, which could overflow.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it advises a step that changes nothing here, by the root logger
    try:
        quantize_dynamic(
            str(path), str(output), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)


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
