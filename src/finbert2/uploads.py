"""What of a run's folder goes to the Hub, and how the Hub says no."""

# What runs leave beside their result, at any depth: none of it is for others. Records name local paths; predictions,
# reports and samples hold lines of the user's texts.
RECORDS = (
    "checkpoint-*/*", "*.parts/*", "*.cache/*", "*.log", "args.json", "results.json", "*.results.json",
    "test_predictions.jsonl", "train_label_errors.jsonl", "parity.jsonl", "endpoint_cache.jsonl", "names_cache.json",
    "report.html", "*.part", ".*",
)  # fmt: skip
# Folders and files of a run by names that other people's data may have: in a data set they are data, but for those
# that `corpus prepare` makes at its top.
OF_MODELS = (
    "tokens/*", "runs/*", "work/*", "seeds/*", "folds/*", "dropped/*", "worst/*", "predictions.csv",
    "predictions.jsonl",
)  # fmt: skip
AT_THE_TOP = ["dropped/*"]


def left_behind(kind: str) -> list[str]:
    """Return the patterns of what stays when a "model" or a "dataset" goes up."""
    names = RECORDS + OF_MODELS if kind == "model" else RECORDS
    return [pattern for name in names for pattern in (name, f"*/{name}")] + AT_THE_TOP


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors by which the Hub's client tells that nothing was taken: refused, offline, no network."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The base class is the network library's own error: which library it is changes with the Hub's client.
    return HfHubHTTPError, HfHubHTTPError.__bases__[0], OfflineModeIsEnabled, OSError
