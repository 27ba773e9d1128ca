"""A finished run to the Hub."""

import os
from pathlib import Path
from typing import Any

from finbert2.errors import UserError, first_line
from finbert2.uploads import left_behind, refusals


def publish(folder: Path, training_args: Any) -> str:
    """Upload a model folder, what the run left beside the model left out, and return its address.

    The repository is `--hub_model_id`, by default the folder's name; the token comes from the client's own login or
    HF_TOKEN. Raises `UserError` if the Hub does not take it: the folder is whole, so that the upload can be repeated.
    """
    from huggingface_hub import HfApi

    api, name = HfApi(token=training_args.hub_token or os.environ.get("HF_TOKEN")), training_args.hub_model_id
    try:
        address = api.create_repo(name or folder.name, private=training_args.hub_private_repo, exist_ok=True)
        api.upload_folder(repo_id=address.repo_id, folder_path=folder, ignore_patterns=left_behind("model"))
    except refusals() as error:
        raise UserError(
            f"{folder} is whole, but the Hub did not take it ({first_line(error)}): check the network and "
            f"`hf auth login`, then: finbert2 hub push --folder {folder} --repo {name or f'OWNER/{folder.name}'}"
        ) from None
    return str(address)
