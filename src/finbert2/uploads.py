"""What of a run's folder goes to the Hub, and how the Hub says no."""

# What runs leave beside their result, at any depth: none of it is for others. Records name local paths; predictions,
# reports and samples hold lines of the user's texts.
LEAVINGS = (
    "checkpoint-*/*", "tokens/*", "runs/*", "work/*", "*.parts/*", "*.cache/*", "seeds/*", "folds/*", "dropped/*",
    "worst/*", "*.log", "args.json", "results.json", "*.results.json", "predictions.csv", "predictions.jsonl",
    "test_predictions.jsonl", "train_label_errors.jsonl", "parity.jsonl", "endpoint_cache.jsonl", "names_cache.json",
    "report.html", "*.part", ".*",
)  # fmt: skip
LEFT_BEHIND = [pattern for name in LEAVINGS for pattern in (name, f"*/{name}")]


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors by which the Hub's client tells that nothing was taken: refused, offline, no network."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The base class is the network library's own error: which library it is changes with the Hub's client.
    return HfHubHTTPError, HfHubHTTPError.__bases__[0], OfflineModeIsEnabled, OSError
