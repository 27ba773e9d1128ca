"""From dataclasses to flags: an option is spelt once, as a field, and is flag and keyword alike."""

import dataclasses
import difflib
import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import transformers
from transformers import HfArgumentParser

from finbert2 import files, runtime, uploads, usage
from finbert2.errors import UserError

# A run is the same run on another machine and by other means: these do not tell runs apart.
NOT_PART_OF_A_RUN = {
    *("output_dir", "local_rank", "logging_steps", "logging_first_step", "disable_tqdm", "report_to", "run_name"),
    *("dataloader_num_workers", "save_steps", "save_strategy", "save_total_limit", "use_cpu", "ddp_backend"),
    *("resume_from_checkpoint", "num_proc", "bf16", "push_to_hub", "hub_token", "hub_model_id", "project"),
    *("hub_private_repo", "hub_revision"),
    *("executor", "slurm_partition", "slurm_time", "ddp_timeout", "cache_dir"),
    "errors",  # what was done before the first bad line is the same
}
SECRETS = ("hub_token",)
# What a refused run leaves; tokens and contents are found again by what they are of.
BEFORE_ANY_WORK = {"args.json", "tokens", ".contents.json"}
CLAIMED: list[Path] = []  # the records that this process wrote into folders without one
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def option(help: str, default: Any = dataclasses.MISSING, factory: Any = dataclasses.MISSING) -> Any:  # noqa: A002
    """Return a dataclass field with a help line; without a default the flag is required."""
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass
class TrainingArguments(transformers.TrainingArguments):
    """HuggingFace's training arguments with the house's defaults; a stage's subclass changes a few more.

    The Trainer never pushes: it would upload the run's records with each checkpoint. `publish` is whether the finished
    folder goes up (`uploads.publish`).
    """

    takes_fsdp: ClassVar[bool] = False  # whether the stage puts a model in parts together before its export

    bf16: bool | None = option(  # type: ignore[assignment]
        "bf16 autocast; unset: wherever the device has bf16 in hardware", default=None
    )
    optim: str = option("optimizer, by transformers' names", default="adamw_torch_fused")
    logging_nan_inf_filter: bool = option("hide NaN losses from the log", default=False)
    save_total_limit: int | None = option("checkpoints kept", default=2)
    dataloader_num_workers: int = option("loader processes", default=0)
    ddp_timeout: int = option("seconds to wait for the first process, which reads and scores alone", default=86_400)
    disable_tqdm: bool | None = option("no progress bars", default=False)

    def __post_init__(self) -> None:
        """Resolve the precision; refuse a bf16 that the device would only emulate."""
        for name in ("num_train_epochs", "per_device_train_batch_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} is {getattr(self, name)}: more than 0 was expected")
        if self.learning_rate < 0:  # 0 is a rehearsal
            raise ValueError(f"--learning_rate is {self.learning_rate}: 0 or more was expected")
        if not self.takes_fsdp and self.wants_fsdp:
            raise ValueError(
                "FSDP was asked for, but only `pretrain run` shards its model: a process a GPU by NPROC=8 sh SCRIPT, "
                "each with the whole model, or docs/accelerate/deepspeed_zero1.yaml"
            )
        if self.bf16 and not runtime.has_bf16():
            raise ValueError("--bf16 was asked for, but this device has no bf16 in hardware: leave the flag out")
        if self.hub_always_push or self.hub_strategy != "every_save":
            raise ValueError("--hub_strategy and --hub_always_push: only the finished folder is uploaded, and once")
        if self.push_to_hub:
            uploads.check_name(self.hub_model_id or Path(self.output_dir or "").resolve().name)
        self.publish, self.push_to_hub = self.push_to_hub, False
        if self.bf16 is None:
            self.bf16 = runtime.has_bf16() and not self.fp16
        # transformers refuses bf16 on a machine without an accelerator unless it is told that the CPU is meant.
        self.use_cpu = self.use_cpu or runtime.device() == "cpu"
        super().__post_init__()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a checkpoint's `training_args.bin` holds: no token."""
        return self.__dict__ | dict.fromkeys(SECRETS)

    @property
    def wants_fsdp(self) -> bool:
        """Whether the flag or accelerate's configuration asks for FSDP."""
        return bool(self.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


class Parser(HfArgumentParser):
    """HuggingFace's parser, with a mistake answered in one line and a help page of one spelling a flag."""

    def format_help(self) -> str:
        """Return what `-h` prints."""
        return usage.text(self.usage or "", self.description or "", self.dataclass_types)

    def error(self, message: str) -> NoReturn:
        """Print the message and exit 2."""
        self.exit(2, f"{self.prog}: error: {message}\n(flags: {self.prog} -h)\n")


def parse(command: str, description: str, argv: list[str] | None, *types: Any) -> tuple[Any, ...]:
    """Return one instance of each dataclass in `types`, filled from `argv` (default: the process's arguments).

    Unknown and abbreviated flags are refused, and what a dataclass's `__post_init__` refuses is a usage error.
    Exits 2 with the message on a mistake, 0 after `-h`.
    """
    argv = sys.argv[1:] if argv is None else argv
    prog = f"finbert2 {command}"
    parser = Parser(
        list(types), prog=prog, usage=f"{prog} [flags]", description=description, allow_abbrev=False,
    )  # fmt: skip
    unknown = parser.parse_known_args(argv)[1]
    if unknown:
        flags = [f"--{field.name}" for kind in types for field in dataclasses.fields(kind)]
        near = difflib.get_close_matches(unknown[0], flags, n=1)
        parser.error(f"there is no flag {unknown[0]}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        return parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
    except ValueError as error:
        parser.error(str(error))


def command(main: Callable[[list[str] | None], None]) -> Callable[..., None]:
    """Wrap a verb's `main`: a `UserError` becomes its message and exit code 2, Ctrl-C exit code 130, no traceback."""

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> None:
        runtime.setup_process()
        try:
            main(argv)
            runtime.leave_process_group()
        except UserError as error:
            release()
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)
        except OSError as error:
            told = disk_message(error)
            if told is None:
                raise
            sys.stderr.write(f"error: {told}\n")
            sys.exit(2)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: the same command goes on from what this one had saved\n")
            sys.exit(130)

    return run


def disk_message(error: OSError) -> str | None:
    """Return what to say of a full disk, or of a path that may not be used as it was; None for any other error."""
    path = error.filename2 or error.filename
    if error.errno in NO_SPACE:
        return f"the disk is full ({path or error}): make room and run it again"
    if error.errno in NO_ACCESS and path:
        return f"{path} cannot be read or written ({error.strerror}): name another path, or mend this one's rights"
    return None


def as_record(*parsed: Any) -> dict[str, Any]:
    """Return the options of several dataclass instances as one flat JSON-able dictionary, secrets left out."""
    record: dict[str, Any] = {}
    for instance in parsed:
        values = instance.to_dict() if hasattr(instance, "to_dict") else dataclasses.asdict(instance)
        record |= {name: value for name, value in values.items() if name not in SECRETS}
    return json.loads(json.dumps(record, default=str))


def claim(
    output_dir: str | Path, *parsed: Any, facts: dict[str, Any] | None = None, repeats: str | None = None
) -> None:
    """Write `args.json` into `output_dir`, or refuse a folder that holds a run with other options.

    `facts` are what else makes it another run, by a name for the message: the content of a file, the rows of a step. A
    folder that holds the same run is accepted: training then resumes in it. `repeats` names the option that says how
    often the run is repeated: where that was several times, more of them go on with it. Raises `UserError` naming what
    differs.
    """
    path, record, now = Path(output_dir) / "args.json", as_record(*parsed), facts or {}
    if is_finished(output_dir) and not path.exists():
        raise UserError(f"{output_dir} holds the results of another command: choose another --output_dir")
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        then = earlier.pop("facts", {})
        more = repeats is not None and 1 < earlier.get(repeats, 1) < record[repeats]
        names = sorted((earlier.keys() & record.keys()) - NOT_PART_OF_A_RUN - ({repeats} if more else set()))
        differing = [f"--{n} was {earlier[n]!r}, is {record[n]!r}" for n in names if earlier[n] != record[n]]
        differing += [
            f"{n} was {then[n]!r}, is {now[n]!r}" for n in sorted(then.keys() & now.keys()) if then[n] != now[n]
        ]
        if differing:
            raise UserError(
                f"{output_dir} holds another run ({'; '.join(differing[:4])}): "
                "choose another --output_dir, or remove this one to start anew"
            )
    if runtime.is_main_process():
        if not path.exists():
            CLAIMED.append(path)
        files.write_json(path, record | ({"facts": now} if now else {}))


def release() -> None:
    """Take the claim back that a run made before it was refused: mended, the command is another run of this folder."""
    while CLAIMED:
        path = CLAIMED.pop()
        if path.exists() and {one.name for one in path.parent.iterdir()} <= BEFORE_ANY_WORK:
            path.unlink()


def contents(*paths: str | Path | None) -> dict[str, str]:
    """Return what `claim` is told of the files among `paths`: the beginning of each one's SHA-256."""
    there = [path for path in paths if path and Path(path).is_file()]
    return {f"the content of {path}": one["sha256"][:12] for path, one in files.fingerprint(there).items()}


def spare_input(output: str | Path, *inputs: str | Path) -> None:
    """Raise `UserError` if a command would write over what it reads."""
    if any(Path(path).exists() and Path(path).resolve() == Path(output).resolve() for path in inputs):
        raise UserError(f"--output {output} is the file that is read: name another")


def spare_run(output_dir: str | Path) -> None:
    """Raise `UserError` if a command would write over the results of the run that made its folder."""
    if (Path(output_dir) / "args.json").exists():
        raise UserError(
            f"--output_dir {output_dir} holds a run, whose results.json would be written over: name another folder"
        )


def is_finished(output_dir: str | Path) -> bool:
    """Tell whether the run in `output_dir` came to its end, that is, wrote its `results.json`."""
    return (Path(output_dir) / "results.json").exists()
