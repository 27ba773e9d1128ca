"""Prove on three stored texts and vectors which loaders read a model folder right."""

import dataclasses
import functools
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, encoder, files, runtime
from finbert2.errors import UserError
from finbert2.retriever.onnx_export import OnnxEncoder, pooling_of, setting

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

NAME = "check.json"
TEXTS = (
    ("美联储加息对科技股的影响", True),
    ("美联储加息抬高折现率，科技股估值承压。", False),
    ("公司公告：前三季度实现营业收入12.5亿元，同比增长8.3%；归母净利润2.1亿元。" * 4, False),
)  # (text, whether it is a query)
ENOUGH = 0.999


@dataclasses.dataclass
class CheckArguments:
    """What is checked."""

    folder: str = args.option("model folder; may also be given as the first word, without the flag")
    seed: int = args.option("seed of the process", default=42)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read the folder by every loader at hand, compare with the stored vectors, print a line each; exit 1 on a miss."""
    argv = sys.argv[1:] if argv is None else argv
    argv = ["--folder", *argv] if argv and not argv[0].startswith("-") else argv
    (options,) = args.parse("retriever check", __doc__ or "", argv, CheckArguments)
    runtime.set_seed(options.seed)
    folder = Path(options.folder)
    expected = stored(folder)
    lines, missed = [], 0
    for name, (read, must) in loaders(folder).items():
        try:
            cosine = least_cosine(read(folder), expected)
        except ImportError as error:  # FlagEmbedding 1.4.2 does not import beside transformers 5.24
            lines.append(f"{'not importable':<24} {name} ({error})")
            continue
        missed += must and cosine < ENOUGH
        verdict = "right" if cosine >= ENOUGH else "WRONG" if must else "would be wrong"
        lines.append(f"{verdict:<15}{cosine:>8.4f}  {name}")
    sys.stdout.write("\n".join(lines) + "\n")
    if missed:
        sys.exit(1)


def store(model: "SentenceTransformer", folder: Path) -> None:
    """Write three texts and their vectors, in fp32, into a model folder."""
    rounded = [[round(float(value), 6) for value in vector] for vector in vectors_of(model)]
    entries = [{"text": t, "is_query": q, "vector": v} for (t, q), v in zip(TEXTS, rounded, strict=True)]
    files.write_json(folder / NAME, entries)


def vectors_of(model: "SentenceTransformer") -> "np.ndarray":
    """Return a model's vectors (texts, width) of the three texts, in fp32."""
    return encoder.encode(model, texts_of(encoder.query_prompt(model)), bf16=False)


def own_vectors(folder: Path) -> "np.ndarray":
    """Return the stored vectors (texts, width) of a folder, or the model's, where others made it and stored none."""
    if (folder / NAME).is_file():
        return stored(folder)
    return vectors_of(encoder.load_sentence_transformer(str(folder)).float())


def stored(folder: Path) -> "np.ndarray":
    """Return the stored vectors (texts, width) of a folder."""
    import numpy as np

    if not (folder / NAME).is_file():
        raise UserError(f"{folder} has no {NAME}: `finbert2 retriever train` writes it beside the model")
    entries = json.loads((folder / NAME).read_text(encoding="utf-8"))
    return np.array([entry["vector"] for entry in entries], np.float32)


def least_cosine(found: "np.ndarray", expected: "np.ndarray") -> float:
    """Return the smallest cosine of the rows of two matrices; -1 where their widths differ."""
    import numpy as np

    if found.shape != expected.shape:
        return -1.0
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(axis=1) / norms).min())


def loaders(folder: Path) -> dict[str, tuple[Callable[[Path], "np.ndarray"], bool]]:
    """Return the ways to read a folder, each with whether it has to be right.

    The last ones are mistakes that loaders are known to make: the table says what they would cost here.
    """
    pooling, other = ("mean", "cls") if pooling_of(folder) == ["mean"] else ("cls", "mean")
    vector = {"cls": "CLS vector", "mean": "mean of the tokens"}
    ways: dict[str, tuple[Callable[[Path], np.ndarray], bool]] = {
        "SentenceTransformer(folder), prompt_name='query' for queries": (by_sentence_transformers, True),
        f"AutoModel, {vector[pooling]}, normalised, prompt put before queries": (
            lambda f: by_auto_model(f, pooling, True),
            True,
        ),
    }
    if importlib.util.find_spec("FlagEmbedding"):
        ways["FlagEmbedding's FlagModel, query_instruction_for_retrieval=prompt"] = (
            lambda f: by_flag_model(f, pooling),
            True,
        )
    for file in sorted((folder / "onnx").glob("*.onnx")):
        ways[f"onnx/{file.name}, CLS vector"] = (functools.partial(by_onnx, file), "quantized" not in file.name)
    ways[f"a loader without 1_Pooling/config.json: {vector[other]}"] = (lambda f: by_auto_model(f, other, True), False)
    ways["a caller who leaves the prompt out"] = (lambda f: by_auto_model(f, pooling, False), False)
    return ways


def texts_of(prompt: str) -> list[str]:
    """Return the three texts, the prompt before the query."""
    return [prompt + text if is_query else text for text, is_query in TEXTS]


def prompt_of(folder: Path) -> str:
    """Return the query prompt that a folder's configuration names."""
    return setting(folder / "config_sentence_transformers.json", "prompts", {}).get("query") or ""


def by_sentence_transformers(folder: Path) -> "np.ndarray":
    """Return the vectors by sentence-transformers alone."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    model = encoder.load(SentenceTransformer, str(folder), device="cpu").float()
    return np.stack([model.encode(text, prompt_name="query" if is_query else None) for text, is_query in TEXTS])


def by_auto_model(folder: Path, pooling: str, with_prompt: bool) -> "np.ndarray":
    """Return the vectors by transformers alone, pooled by "cls" or "mean"."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = encoder.load(AutoTokenizer.from_pretrained, str(folder))
    model = encoder.load(AutoModel.from_pretrained, str(folder), dtype=torch.float32).eval()
    limit = setting(folder / "sentence_bert_config.json", "max_seq_length", 512)
    texts = texts_of(prompt_of(folder) if with_prompt else "")
    batch = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state  # (texts, tokens, width)
    mask = batch["attention_mask"][..., None]
    vectors = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


def by_flag_model(folder: Path, pooling: str) -> "np.ndarray":
    """Return the vectors by FlagEmbedding, pooled by "cls" or "mean"."""
    import numpy as np
    from FlagEmbedding import FlagModel

    options: dict[str, Any] = {"use_fp16": False, "devices": "cpu", "pooling_method": pooling}
    model = FlagModel(str(folder), query_instruction_for_retrieval=prompt_of(folder), **options)
    return np.stack([(model.encode_queries if is_query else model.encode)([text])[0] for text, is_query in TEXTS])


def by_onnx(file: Path, folder: Path) -> "np.ndarray":
    """Return the vectors by an ONNX file of the folder."""
    return OnnxEncoder(file).vectors(texts_of(prompt_of(folder)))


if __name__ == "__main__":
    main()
