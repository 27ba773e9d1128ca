"""ONNX files of a model folder, in fp32 and dynamic int8, where sentence-transformers and TEI look for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import encoder, onnx_graph
from finbert2.errors import UserError
from finbert2.retriever.folder import POOLING

if TYPE_CHECKING:
    import numpy as np
    import torch

FP32, INT8 = "onnx/model.onnx", "onnx/model_quantized.onnx"


def wrapped(model: Any) -> "torch.nn.Module":
    """Return an encoder as a module from ids, mask and types, each (texts, tokens), to `last_hidden_state`.

    Types are left out of its call where it knows none, as DistilBERT and ModernBERT.
    """
    import inspect

    import torch

    typed = "token_type_ids" in inspect.signature(model.forward).parameters

    class Hidden(torch.nn.Module):
        """The encoder with the inputs and the output that TEI and sentence-transformers name."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> torch.Tensor:
            types = {"token_type_ids": token_type_ids} if typed else {}
            return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state

    return Hidden().eval()


def export(folder: str | Path, quantise: bool = True) -> list[Path]:
    """Write `onnx/model.onnx` and, by dynamic quantisation of the weights to int8, `onnx/model_quantized.onnx`.

    Inputs are `input_ids`, `attention_mask`, `token_type_ids`, int64 (texts, tokens), of any size; the output is
    `last_hidden_state` (texts, tokens, width): pooling and normalising stay with the loader, as in every folder of
    optimum's. Who feeds `tokens_wanted` gets so many of each text's tokens only. Returns the files written.
    Raises `UserError` for what is no folder, say a Hub name, and for a model that does not pool by its CLS vector.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: the files go into a model's onnx/; download it and name its folder")
    check_pooling(folder)
    onnx_graph.need()
    tokenizer = encoder.load(AutoTokenizer.from_pretrained, str(folder))
    model = encoder.load(AutoModel.from_pretrained, str(folder), attn_implementation="eager")
    batch = tokenizer(["加息", "美联储加息对科技股的影响"], padding=True, return_tensors="pt")
    batch.setdefault("token_type_ids", torch.zeros_like(batch["input_ids"]))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    names = [Path(name).name for name in (FP32, INT8)]
    return onnx_graph.export(
        wrapped(model.float()), model.config, inputs, "last_hidden_state", 512, onnx_graph.ALL, folder / "onnx", names,
        quantise,
    )  # fmt: skip


def setting(path: Path, name: str, default: Any) -> Any:
    """Return a value of one of a model folder's JSON files."""
    return json.loads(path.read_text(encoding="utf-8")).get(name, default) if path.exists() else default


def check_pooling(folder: Path) -> None:
    """Raise `UserError` unless a folder pools by the CLS vector."""
    modes = pooling_of(folder)
    if modes != ["cls"]:
        raise UserError(
            f"{folder} pools by {', '.join(modes)}: ONNX files are read by the CLS vector here; use the folder itself"
        )


def pooling_of(folder: Path) -> list[str]:
    """Return how a folder pools, in sentence-transformers' old spelling or its new one.

    Without a configuration it is a plain BERT, which is read by its CLS vector.
    """
    path = folder / "1_Pooling" / "config.json"
    old = [mode for name, mode in POOLING.items() if setting(path, name, False)]
    modes = setting(path, "pooling_mode", old or "mean") if path.exists() else "cls"
    return [modes] if isinstance(modes, str) else modes


class OnnxEncoder:
    """The `Encoder` of an exported file in a model folder with CLS pooling, longest texts first."""

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        from transformers import AutoTokenizer

        if not Path(path).is_file():
            raise UserError(f"{path} does not exist: `finbert2 retriever export` writes it into a model folder")
        folder = Path(path).parents[1]
        check_pooling(folder)
        self.session = onnx_graph.session(Path(path), threads)
        self.inputs = {one.name for one in self.session.get_inputs()}
        self.optional = {one.name for one in self.session.get_overridable_initializers()}
        self.tokenizer = encoder.load(AutoTokenizer.from_pretrained, str(folder))
        self.prompts = setting(folder / "config_sentence_transformers.json", "prompts", {})
        longest = setting(folder / "sentence_bert_config.json", "max_seq_length", 512)
        self.limit = min(self.tokenizer.model_max_length, longest, 512)

    def encode(self, texts: Sequence[str], is_query: bool = False, show_progress: bool = False) -> "np.ndarray":
        """Return unit CLS vectors (texts, width) in float32; queries and documents get the folder's prompt for them."""
        prompt = self.prompts.get("query" if is_query else "document") or ""
        return self.vectors([prompt + text for text in texts], show_progress)

    def vectors(self, texts: Sequence[str], show_progress: bool = False) -> "np.ndarray":
        """Return the same of texts as they are."""
        import numpy as np

        ids = encoder.tokenised(self.tokenizer, list(texts), self.limit)
        lengths = [len(one) for one in ids]
        found: list[Any] = [None] * len(texts)
        with encoder.progress(len(texts), show_progress) as bar:
            for places in encoder.padded_batches(lengths, encoder.TOKENS[False], unmasked=True):
                batch = self.tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="np")
                feed = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
                if "token_type_ids" in self.inputs:
                    feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
                if onnx_graph.WANTED in self.optional:  # not in the files of others, nor in those of before
                    feed[onnx_graph.WANTED] = np.ones(1, np.int64)
                hidden = self.session.run(["last_hidden_state"], feed)[0][:, 0]
                for place, vector in zip(places, hidden / np.linalg.norm(hidden, axis=1, keepdims=True), strict=True):
                    found[place] = vector
                bar.update(len(places))
        return np.stack(found) if found else np.zeros((0, 0), np.float32)
