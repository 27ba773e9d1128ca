"""A finished run to the Hub."""

import os
from pathlib import Path
from typing import Any

from finbert2.errors import UserError

LEFT_AT_HOME = ("checkpoint-*", "checkpoint-*/**", "tokens/**", "runs/**", "*.part")


def publish(folder: Path, training_args: Any) -> str:
    """Upload a model folder, checkpoints and token cache left out, and return its address.

    The repository is `--hub_model_id`, by default the folder's name; the token comes from the client's own login or
    HF_TOKEN. Raises `UserError` if the Hub does not take it: the folder is whole, so that the upload can be repeated.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api, name = HfApi(token=training_args.hub_token or os.environ.get("HF_TOKEN")), training_args.hub_model_id
    try:
        address = api.create_repo(name or folder.name, private=training_args.hub_private_repo, exist_ok=True)
        api.upload_folder(repo_id=address.repo_id, folder_path=folder, ignore_patterns=list(LEFT_AT_HOME))
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"{folder} is whole, but the Hub did not take it ({str(error).splitlines()[0]}): check the network and "
            f"`hf auth login`, then: hf upload {name or folder.name} {folder} --exclude 'checkpoint-*' 'tokens/*'"
        ) from None
    return str(address)
