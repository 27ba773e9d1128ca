"""Model cards: what a folder holds and how it was made, for people and for the Hub."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finbert2 import files

RECIPE = (
    "model_name_or_path", "objective", "task", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
    "max_seq_length", "mask_ratio", "train_group_size", "temperature", "query_instruction", "query_max_len",
    "passage_max_len", "bf16", "base_model", "num_added_tokens", "embedding_init", "seed",
)  # fmt: skip


def write(
    folder: Path, title: str, use: str, tags: Sequence[str], options: Mapping[str, Any], results: Mapping[str, Any]
) -> None:
    """Write `README.md` into a model folder: its tags, how to load it, its recipe, data and metrics.

    `use` is a line of Python, `options` the run's options, `results` what its `results.json` holds: those of a `test`
    come first.
    """
    tested = {f"test {name}": value for name, value in results.get("test", {}).items()}
    metrics = {name: value for name, value in (tested | dict(results)).items() if isinstance(value, int | float)}
    named = [f"- {name.removeprefix('macro_')}" for name in ("macro_f1", "f1", "accuracy") if f"test {name}" in tested]
    data = results.get("data", {})
    lines = [
        "---", "language: zh", "library_name: transformers", "tags:", "- finance", *(f"- {tag}" for tag in tags),
        *(["metrics:", *named] if named else []),
        "---", "", f"# {title}", "", "Made with [FinBERT2](https://github.com/valuesimplex/FinBERT).", "",
        "```python", use, "```", "",
        "| option | value |", "| --- | --- |",
        *(f"| {name} | {told(name, options[name])} |" for name in RECIPE if options.get(name) is not None), "",
        "| measure | value |", "| --- | --- |", *(f"| {name} | {value:.6g} |" for name, value in metrics.items()), "",
        *data_table(data), "",
    ]  # fmt: skip
    files.write_text(folder / "README.md", "\n".join(lines))


def told(name: str, value: Any) -> Any:
    """Return an option as a card tells it: of a checkpoint's folder the name alone."""
    if name in ("model_name_or_path", "base_model") and value and Path(value).is_dir():
        return Path(value).resolve().name
    return value


def write_data(folder: Path, title: str, held: Sequence[Path]) -> None:
    """Write `README.md` into a folder of data: the files `held`, and what `results.json`, if any, says of them."""
    path = folder / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    counts = {name: value for name, value in results.items() if isinstance(value, int)}
    counts |= {f"dropped: {reason}": count for reason, count in results.get("dropped", {}).items()}
    lines = [
        "---", "language: zh", "tags:", "- finance", "---", "", f"# {title}", "",
        "Made with [FinBERT2](https://github.com/valuesimplex/FinBERT).", "",
        "| measure | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in counts.items()), "",
        *data_table(files.fingerprint(held)), "",
    ]  # fmt: skip
    files.write_text(folder / "README.md", "\n".join(lines))


def data_table(data: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table of files, by name alone: where they lay is nobody's business."""
    rows = (f"| {Path(name).name} | {entry['bytes']} | {entry['sha256'][:16]}… |" for name, entry in data.items())
    return ["| data | bytes | SHA-256 |", "| --- | --- | --- |", *rows]
