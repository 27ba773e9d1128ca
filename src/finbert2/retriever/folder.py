"""The model folder in the classic sentence-transformers layout, which every loader reads alike.

sentence-transformers 6 writes new class paths and `pooling_mode`; older versions, text-embeddings-inference and vLLM
then fail or fall back to mean pooling. The classic layout loads with the right pooling in all of them.
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers

from finbert2 import encoder, files
from finbert2.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def check(model: "SentenceTransformer", name: str) -> None:
    """Raise `UserError` for a model that the classic layout cannot hold."""
    kinds = [type(module).__name__ for module in model]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise UserError(
            f"{name} is made of {', '.join(kinds)}: Transformer, Pooling and Normalize can be trained here; "
            "start from a plain BERT folder or such a model"
        )


def save(model: "SentenceTransformer", output_dir: str | Path, instruction: str) -> None:
    """Write weights, tokenizer, pooling, prompts into `output_dir`; `modules.json` comes last."""
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    transformer: Any = model[0]
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".model.") as part:
        transformer.auto_model.save_pretrained(part)
        encoder.save_tokenizer(transformer.tokenizer, part)
        files.write_json(Path(part) / "1_Pooling/config.json", pooling_config(model[1]))
        lengths = {"max_seq_length": model.max_seq_length, "do_lower_case": False}
        files.write_json(Path(part) / "sentence_bert_config.json", lengths)
        files.write_json(Path(part) / "config_sentence_transformers.json", prompts_config(instruction))
        for path in sorted(Path(part).iterdir()):
            if path.is_dir():
                shutil.rmtree(output_dir / path.name, ignore_errors=True)
            path.replace(output_dir / path.name)
    (output_dir / "2_Normalize").mkdir(exist_ok=True)
    files.write_json(output_dir / "modules.json", MODULES)


def pooling_config(pooling: Any) -> dict[str, Any]:
    """Return a pooling module's options by their long-standing names."""
    config = pooling.get_config_dict()
    mode = config["pooling_mode"]
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    return {
        "word_embedding_dimension": config["embedding_dimension"],
        **{name: value in modes for name, value in POOLING.items()},
        "include_prompt": True,
    }


def prompts_config(instruction: str) -> dict[str, Any]:
    """Return the file that tells loaders which text goes before a query."""
    import sentence_transformers
    import torch

    return {
        "__version__": {
            "sentence_transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
            "pytorch": torch.__version__,
        },
        "prompts": {"query": instruction, "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
