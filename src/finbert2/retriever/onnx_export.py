"""ONNX files of a model folder, in fp32 and dynamic int8, where sentence-transformers and TEI look for them."""

import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import encoder
from finbert2.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

log = logging.getLogger(__name__)
FP32, INT8 = "onnx/model.onnx", "onnx/model_quantized.onnx"


def need() -> None:
    """Raise `UserError` where the packages of ONNX are not installed."""
    import importlib.util

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'finbert2[onnx]'")


def wrapped(model: Any) -> "torch.nn.Module":
    """Return an encoder as a module from ids, mask and types, each (texts, tokens), to `last_hidden_state`."""
    import torch

    class Hidden(torch.nn.Module):
        """The encoder with the inputs and the output that TEI and sentence-transformers name."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> torch.Tensor:
            return self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    return Hidden().eval()


def export(folder: str | Path, quantise: bool = True) -> list[Path]:
    """Write `onnx/model.onnx` and, by dynamic quantisation of the weights to int8, `onnx/model_quantized.onnx`.

    Inputs are `input_ids`, `attention_mask`, `token_type_ids`, int64 (texts, tokens), of any size; the output is
    `last_hidden_state` (texts, tokens, width): pooling and normalising stay with the loader, as in every folder of
    optimum's. Returns the files written.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    need()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators of packages that nobody uses here
    warnings.filterwarnings("ignore", message=".*The axis name.*")
    folder = Path(folder)
    tokenizer = encoder.load(AutoTokenizer.from_pretrained, str(folder))
    model = encoder.load(AutoModel.from_pretrained, str(folder), attn_implementation="sdpa", add_pooling_layer=False)
    batch = tokenizer(["加息", "美联储加息对科技股的影响"], padding=True, return_tensors="pt")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    batch.setdefault("token_type_ids", torch.zeros_like(batch["input_ids"]))
    texts, tokens = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=2, max=512)
    (folder / "onnx").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".onnx.") as part:
        whole = Path(part) / "model.onnx"
        torch.onnx.export(
            wrapped(model.float()), tuple(batch[name] for name in names), str(whole), input_names=names,
            output_names=["last_hidden_state"], dynamo=True, external_data=False, verbose=False,
            dynamic_shapes={name: {0: texts, 1: tokens} for name in names},
        )  # fmt: skip
        written = [whole]
        if quantise:
            written.append(quantised(whole, Path(part) / "model_quantized.onnx"))
        return [path.replace(folder / "onnx" / path.name) for path in written]


def quantised(source: Path, target: Path) -> Path:
    """Write a model whose matrix products are int8: weights with a scale a channel, activations scaled as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it recommends a step that it does itself
    quantize_dynamic(
        source, target, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1},
    )  # fmt: skip
    return target


def setting(path: Path, name: str, default: Any) -> Any:
    """Return a value of one of a model folder's JSON files."""
    return json.loads(path.read_text(encoding="utf-8")).get(name, default) if path.exists() else default


class OnnxEncoder:
    """The `Encoder` of an exported file in a model folder with CLS pooling, longest texts first."""

    def __init__(self, path: str | Path, batch_size: int = 32, threads: int = 0) -> None:
        import onnxruntime
        from transformers import AutoTokenizer

        need()
        if not Path(path).is_file():
            raise UserError(f"{path} does not exist: `finbert2 retriever export` writes it into a model folder")
        folder = Path(path).parents[1]
        if not setting(folder / "1_Pooling" / "config.json", "pooling_mode_cls_token", True):
            raise UserError(f"{path} is read by its CLS vector, but {folder} pools otherwise: name the folder instead")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self.tokenizer = encoder.load(AutoTokenizer.from_pretrained, str(folder))
        self.batch_size = batch_size
        self.prompt = setting(folder / "config_sentence_transformers.json", "prompts", {}).get("query") or ""
        longest = setting(folder / "sentence_bert_config.json", "max_seq_length", 512)
        self.limit = min(self.tokenizer.model_max_length, longest, 512)

    def encode(self, texts: Sequence[str], is_query: bool = False, show_progress: bool = False) -> "np.ndarray":
        """Return unit CLS vectors (texts, width) in float32; queries get the folder's prompt."""
        import numpy as np

        texts = [self.prompt + text for text in texts] if is_query else list(texts)
        ids = encoder.tokenised(self.tokenizer, texts, self.limit)
        order = sorted(range(len(texts)), key=lambda place: -len(ids[place]))
        found: list[Any] = [None] * len(texts)
        with encoder.progress(len(texts), show_progress) as bar:
            for places in encoder.batches(order, [len(one) for one in ids], self.batch_size, encoder.TOKENS[False]):
                batch = self.tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="np")
                feed = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
                feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
                hidden = self.session.run(["last_hidden_state"], feed)[0][:, 0]
                for place, vector in zip(places, hidden / np.linalg.norm(hidden, axis=1, keepdims=True), strict=True):
                    found[place] = vector
                bar.update(len(places))
        return np.stack(found) if found else np.zeros((0, 0), np.float32)
