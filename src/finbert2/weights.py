"""A checkpoint's weights: whether all that its config names are there, and whether they are still the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from finbert2 import encoder, runtime, vocabulary
from finbert2.errors import UserError

T = TypeVar("T")
POOLER = "pooler."  # may be new: vectors are not read through it, and training a head on it is usual


def need(found: tuple[Any, dict[str, Any]], name: str, head: bool = False) -> Any:
    """Return the model of `from_pretrained(…, output_loading_info=True)`.

    Raises `UserError` if weights of its encoder, with `head` of all of it, are not in the checkpoint or of other
    shapes.
    """
    model, report = found
    prefix = f"{model.base_model_prefix}." if model is not model.base_model else ""

    def wanted(weight: str) -> bool:
        inside = weight.startswith(prefix) and not weight.removeprefix(prefix).startswith(POOLER)
        return head or inside

    missing = sorted(filter(wanted, report["missing_keys"]))
    if missing:
        raise UserError(
            f"{name} lacks {len(missing)} weights of a {model.config.model_type}, such as {missing[0]}: they would be "
            "random; name a folder that save_pretrained wrote whole, with its own config.json"
        )
    other = sorted((key, *map(tuple, shapes)) for key, *shapes in report["mismatched_keys"] if wanted(key))
    if other:
        key, there, expected = other[0]
        raise UserError(
            f"the weights of {name} do not fit its config.json: {key} is {there} in the file, {expected} by the config"
        )
    return model


def check(model: Any, name: str) -> None:
    """Raise `UserError` if sentence-transformers' module of an encoder was not read whole from a folder or Hub name.

    It does not tell what was missing, so the files, by now here, are asked once more, without their contents.
    """
    kind, options = type(model.auto_model), {"output_loading_info": True, "ignore_mismatched_sizes": True}
    need(encoder.load(kind.from_pretrained, name, device_map="meta", local_files_only=True, **options), name)
    vocabulary.check_size(model.tokenizer, model.config, name)


def widened(model: T) -> T:
    """Return a model that is in half precision in fp32 on a CPU, where autocast takes bf16 beside fp32 alone."""
    import torch

    module: Any = model
    if runtime.device() == "cpu" and any(one.dtype in (torch.float16, torch.bfloat16) for one in module.parameters()):
        module.float()
    return model


def fingerprint(name: str) -> str:
    """Return a short text that changes when the weights behind a folder or Hub name do.

    It is of the weights alone: a Hub name and a folder that it was downloaded to have the same one. Where there are
    none (a folder with an ONNX file alone) it is of the name.
    """
    folder = Path(name) if Path(name).exists() else Path(encoder.load(fetched, name))
    digest = hashlib.sha256()
    found = list(files_of(folder))
    for path in found:
        digest.update(path.read_bytes())
    if not found:
        digest.update(name.encode())
    return digest.hexdigest()[:16]


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of a model's weights, also those of sentence-transformers' modules such as 2_Dense."""
    for place in (folder, *sorted(folder.glob("[0-9]_*"))):
        yield from sorted(place.glob("*.safetensors")) or sorted(place.glob("pytorch_model*.bin"))


def fetched(name: str, **options: Any) -> str:
    """Return the folder of the cache that holds a Hub name's weights, downloaded where they are not there yet."""
    from huggingface_hub import snapshot_download

    for pattern in ("*.safetensors", "*pytorch_model*.bin"):
        folder = snapshot_download(name, allow_patterns=["config.json", pattern], **options)
        if any(files_of(Path(folder))):
            break
    return folder
