"""What of a run's folder goes to the Hub, and the one way there."""

import logging
from pathlib import Path
from typing import Any

from finbert2 import network, runtime
from finbert2.errors import UserError, first_line

log = logging.getLogger(__name__)

# What runs leave beside their result, at any depth: none of it is for others. Records name local paths; predictions,
# reports and samples hold lines of the user's texts.
RECORDS = (
    "checkpoint-*/*", "*.parts/*", "*.cache/*", "*.log", "args.json", "training_args.bin", "results.json",
    "*.results.json", "test_predictions.jsonl", "train_label_errors.jsonl", "parity.jsonl", "endpoint_cache.jsonl",
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


def check_name(repo: str) -> None:
    """Raise `ValueError` for what cannot be a repository's name: told before a training, not after it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(f"'{repo}' cannot be a repository's name: give another by --hub_model_id ({error})") from None


def upload(
    folder: Path,
    repo: str,
    kind: str = "model",
    token: str | None = None,
    private: bool | None = None,
    revision: str = "main",
    message: str = "Upload by finbert2",
) -> str:
    """Make the repository and upload what of a whole folder is for others; return the address of the commit.

    The token is the one given, else HF_TOKEN's or the client's own login. Raises `UserError` if the Hub does not take
    it: the upload can be repeated by `hub push`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    refused: tuple[Any, ...] = (*network.refusals(), HFValidationError)
    api = HfApi(token=token)
    try:
        name = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True).repo_id
        if revision != "main":
            api.create_branch(name, repo_type=kind, branch=revision, exist_ok=True)
        return str(api.upload_folder(
            repo_id=name, folder_path=folder, repo_type=kind, revision=revision, commit_message=message,
            ignore_patterns=left_behind(kind),
        ))  # fmt: skip
    except refused as error:
        again = f"finbert2 hub push --folder {folder} --repo {repo if '/' in repo else f'OWNER/{repo}'} --kind {kind}"
        again += f" --revision {revision} --private {bool(private)}"
        raise UserError(
            f"{folder} is whole, but {repo} could not be written ({first_line(error)}): set HF_TOKEN to a token that "
            f"may write there, check the network (HF_ENDPOINT names a mirror), then: {again}"
        ) from None


def publish(folder: Path, training_args: Any) -> None:
    """Upload a finished run as `--hub_model_id`, by default its folder's name, if --push_to_hub asked for it."""
    if training_args.publish and runtime.is_main_process():
        repo = training_args.hub_model_id or folder.resolve().name
        hub = {"token": training_args.hub_token, "private": training_args.hub_private_repo}
        log.info("published at %s", upload(folder, repo, revision=training_args.hub_revision or "main", **hub))
