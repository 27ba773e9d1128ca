"""`finbert2 hub push`: a finished folder → a model or a data set on the Hub, with its card."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finbert2 import args, cards, runtime
from finbert2.errors import UserError
from finbert2.uploads import left_behind, upload

DATA = (".jsonl", ".csv", ".parquet", ".gz", ".zst")
NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class PushArguments:
    """What goes where."""

    folder: str = args.option("finished folder: a model, or the output of `corpus prepare` and other data")
    repo: str = args.option("name on the Hub, owner/name; made if it is not there")
    kind: Literal["model", "dataset"] = args.option("what the folder is", default="model")
    private: bool = args.option("only you and your organisation see it, if it is new", default=True)
    revision: str = args.option("branch", default="main")
    message: str = args.option("commit message", default="Upload by finbert2 hub push")
    dry_run: bool = args.option(
        "only list what would go up and what stays, with sizes; needs no network", default=False
    )
    seed: int = args.option("seed of the process; nothing is drawn here", default=42)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Check the folder, see that it has a card, upload it; the token comes from HF_TOKEN or `hf auth login`."""
    (options,) = args.parse("hub push", __doc__ or "", argv, PushArguments)
    runtime.set_seed(options.seed)
    folder = Path(options.folder)
    if not NAME.fullmatch(options.repo):
        raise UserError(f"--repo {options.repo!r} is no name on the Hub: owner/name is expected")
    check(folder, options.kind)
    if options.dry_run:
        sys.stdout.write(listing(folder, options.kind))
        return
    if options.kind == "dataset" and not (folder / "README.md").exists():
        cards.write_data(folder, options.repo.split("/")[1], data_of(folder))
    address = upload(
        folder, options.repo, options.kind, private=options.private, revision=options.revision, message=options.message
    )
    sys.stdout.write(f"{address}\n")


def check(folder: Path, kind: str) -> None:
    """Raise `UserError` for a folder that is not a whole model, or holds no data."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "results.json" not in names and any(name.startswith("checkpoint-") for name in names):
        raise UserError(f"{folder} holds a run that has not ended: run its command again until results.json is there")
    if kind == "model":
        missing = [name for name in ("config.json", "model.safetensors", "README.md") if name not in names]
        if missing:
            raise UserError(
                f"{folder} has no {' and no '.join(missing)}: push what a training of this suite wrote, "
                "or a tokenizer together with the checkpoint that it was grown for"
            )
    elif not data_of(folder):
        raise UserError(
            f"{folder} holds no data ({', '.join(DATA)}) but what stays behind (docs/publishing.md): "
            "name another folder or --kind model"
        )


def data_of(folder: Path) -> list[Path]:
    """Return the files of data that go up, in sorted order."""
    return [path for path in going_up(folder, "dataset") if path.suffix in DATA]


def going_up(folder: Path, kind: str) -> list[Path]:
    """Return the files that are uploaded, in sorted order."""
    from huggingface_hub.utils import filter_repo_objects

    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [folder / name for name in filter_repo_objects(names, ignore_patterns=left_behind(kind))]


def listing(folder: Path, kind: str) -> str:
    """Return a line a file: whether it goes up or stays, its bytes, its name; the sums at the end."""
    up, sums, lines = set(going_up(folder, kind)), {"goes up": 0, "stays": 0}, []
    if kind == "dataset" and not (folder / "README.md").exists():
        lines.append(f"goes up {'':>15} README.md, a card that is written first\n")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        fate, size = "goes up" if path in up else "stays", path.stat().st_size
        sums[fate] += size
        lines.append(f"{fate:7} {size:>15,} {path.relative_to(folder)}\n")
    return "".join([*lines, *(f"{fate:7} {size:>15,} bytes in all\n" for fate, size in sums.items())])


if __name__ == "__main__":
    main()
