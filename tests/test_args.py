import dataclasses
import errno
import hashlib
import importlib
import json
import logging
import pickle

import pytest

from finbert2 import args, runtime
from finbert2.errors import UserError


@dataclasses.dataclass
class Options:
    """Of a made-up command."""

    train_data: list[str] = args.option("files")
    threshold: float = args.option("rate", default=0.1)
    name: str | None = args.option("name", default=None)
    share: float = args.option("share", default=0.5)
    tags: list[str] = args.option("tags", factory=lambda: ["a"])

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError(f"--share is between 0 and 1, not {self.share}")


@dataclasses.dataclass
class Repeated:
    """Of a made-up command that repeats itself."""

    seeds: int = args.option("how often", default=1)


def parse(*argv, kinds=(Options,)):
    return args.parse("stage verb", "Does it.", list(argv), *kinds)


def refused(capsys, *argv, kinds=(Options,)) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse(*argv, kinds=kinds)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def training(folder, **options):
    return args.TrainingArguments(output_dir=str(folder), **options)


def test_fields_are_flags(capsys):
    assert parse("--train_data", "a", "b", "--threshold", "1e-3", "--name", "x") == (
        Options(["a", "b"], 1e-3, "x", 0.5, ["a"]),
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--train_dat", "a"], "the following arguments are required: --train_data/--train-data"),
        (["--train_data", "a", "--treshold", "1"], "there is no flag --treshold; did you mean --threshold?"),
        (["--train_data", "a", "--thresh", "1"], "there is no flag --thresh; did you mean --threshold?"),
        (["--train_data", "a", "--zzz"], "there is no flag --zzz"),
        (["--train_data", "a", "--share", "1.5"], "--share is between 0 and 1, not 1.5"),
        (["--train_data", "a", "--share", "half"], "argument --share: invalid float value: 'half'"),
        (["--train_data", "a", "--name"], "argument --name: expected one argument"),
    ],
)
def test_a_mistaken_flag_is_one_line(capsys, argv, message):
    assert refused(capsys, *argv) == f"finbert2 stage verb: error: {message}\n(flags: finbert2 stage verb -h)\n"


def test_help_names_every_flag_with_its_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse("-h")
    shown = capsys.readouterr().out
    assert stopped.value.code == 0 and "Does it." in shown
    assert all(f"--{field.name}" in shown and field.metadata["help"] in shown for field in dataclasses.fields(Options))


@pytest.fixture
def no_bf16(monkeypatch):
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)


@pytest.mark.parametrize("value", ["True", "true", "1"])
def test_bf16_that_would_be_emulated_is_refused(capsys, tmp_path, no_bf16, value):
    argv = ["--train_data", "a", "--output_dir", str(tmp_path), "--bf16", value]
    assert refused(capsys, *argv, kinds=(Options, args.TrainingArguments)) == (
        "finbert2 stage verb: error: --bf16 was asked for, but this device has no bf16 in hardware: "
        "leave the flag out\n(flags: finbert2 stage verb -h)\n"
    )


def test_bf16_follows_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "has_bf16", lambda: True)
    assert training(tmp_path).bf16 is True and training(tmp_path, bf16=False).bf16 is False
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    assert training(tmp_path).bf16 is False


def test_a_claimed_folder_takes_the_same_run_again(tmp_path):
    args.claim(tmp_path, Options(["a"]), training(tmp_path))
    record = json.loads((tmp_path / "args.json").read_text())
    assert (record["train_data"], record["share"], record["learning_rate"]) == (["a"], 0.5, 5e-5)
    args.claim(tmp_path, Options(["a"]), training(tmp_path, save_steps=3, logging_steps=1, dataloader_num_workers=2))
    assert not args.is_finished(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    assert args.is_finished(tmp_path)


def test_a_claimed_folder_refuses_another_run(tmp_path):
    args.claim(tmp_path, Options(["a"]))
    before = (tmp_path / "args.json").read_bytes()
    with pytest.raises(UserError) as raised:
        args.claim(tmp_path, Options(["b"], share=0.25, name="x"))
    assert str(raised.value) == (
        f"{tmp_path} holds another run (--name was None, is 'x'; --share was 0.5, is 0.25; "
        "--train_data was ['a'], is ['b']): choose another --output_dir, or remove this one to start anew"
    )
    assert (tmp_path / "args.json").read_bytes() == before


def test_more_repeats_go_on_with_a_repeated_run(tmp_path):
    args.claim(tmp_path, Repeated(2), repeats="seeds")
    args.claim(tmp_path, Repeated(5), repeats="seeds")
    assert json.loads((tmp_path / "args.json").read_text())["seeds"] == 5
    for fewer in (4, 1):
        with pytest.raises(UserError, match=f"--seeds was 5, is {fewer}"):
            args.claim(tmp_path, Repeated(fewer), repeats="seeds")
    args.claim(tmp_path / "once", Repeated(1), repeats="seeds")
    with pytest.raises(UserError, match="--seeds was 1, is 2"):
        args.claim(tmp_path / "once", Repeated(2), repeats="seeds")


@pytest.mark.parametrize(("made", "kept"), [("tokens", False), (".contents.json", False), ("checkpoint-5", True)])
def test_a_refused_run_leaves_its_folder_to_the_mended_command(tmp_path, capsys, made, kept):
    @args.command
    def main(argv):
        args.claim(tmp_path, Options([argv]))
        (tmp_path / made).mkdir(exist_ok=True)
        raise UserError("the model is none")

    for _ in range(2):  # the second time the record was there before
        with pytest.raises(SystemExit):
            main("a")
        assert (tmp_path / "args.json").exists() == kept
    assert capsys.readouterr().err == "error: the model is none\n" * 2


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    args.claim(tmp_path / "x", Options(["a"]))
    assert not (tmp_path / "x").exists()


def test_secrets_are_written_nowhere(tmp_path):
    args.claim(tmp_path, Options(["a"]), training(tmp_path, hub_token="hf_geheim"))
    written = (tmp_path / "args.json").read_text()
    assert "hf_geheim" not in written and "hub_token" not in written and '"train_data"' in written
    told = training(tmp_path, hub_token="hf_geheim")
    assert b"hf_geheim" not in pickle.dumps(told)  # the Trainer writes it so into each checkpoint
    assert told.hub_token == "hf_geheim" and pickle.loads(pickle.dumps(told)).hub_token is None


@pytest.mark.parametrize(
    ("raised", "code", "shown"),
    [
        (UserError("a.csv line 3 has no label: add one"), 2, "error: a.csv line 3 has no label: add one\n"),
        (KeyboardInterrupt(), 130, "interrupted: the same command goes on from what this one had saved\n"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "o/a.npy"), 2,
            "error: the disk is full (o/a.npy): make room and run it again\n",
        ),
        (
            OSError(errno.EACCES, "Permission denied", "o"), 2,
            "error: o cannot be read or written (Permission denied): name another path, or mend this one's rights\n",
        ),
        (
            OSError(errno.EISDIR, "Is a directory", "o/.a.csv.x.part", None, "o/a.csv"), 2,
            "error: o/a.csv cannot be read or written (Is a directory): name another path, or mend this one's rights\n",
        ),
    ],
)  # fmt: skip
def test_a_command_ends_with_a_message_and_a_code(capsys, raised, code, shown):
    @args.command
    def main(argv=None):
        raise raised

    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == code and capsys.readouterr().err == shown


def test_a_bug_keeps_its_traceback_and_a_good_end_its_arguments():
    seen = []

    @args.command
    def main(argv=None):
        """Do."""
        seen.append(argv)
        return 1 / len(argv)

    main(["x"])
    with pytest.raises(ZeroDivisionError):
        main([])
    assert seen == [["x"], []] and main.__doc__ == "Do."
    assert logging.getLogger("finbert2").level == logging.INFO


def test_a_run_is_another_run_when_its_data_changed(tmp_path):
    path, options = tmp_path / "train.csv", Options(["train.csv"])
    path.write_text("text,label", encoding="utf-8")
    args.claim(tmp_path / "run", options, facts=args.contents(str(path), None, "nobody/no-file"))
    args.claim(tmp_path / "run", options, facts=args.contents(str(path)))
    path.write_text("text,labels", encoding="utf-8")
    with pytest.raises(UserError) as error:
        args.claim(tmp_path / "run", options, facts=args.contents(str(path)))
    before, after = (hashlib.sha256(text).hexdigest()[:12] for text in (b"text,label", b"text,labels"))
    assert str(error.value) == (
        f"{tmp_path / 'run'} holds another run (the content of {path} was '{before}', is '{after}'): "
        "choose another --output_dir, or remove this one to start anew"
    )


def test_what_is_read_is_not_written_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}", encoding="utf-8")
    args.spare_input(tmp_path / "b.jsonl", str(path), "-")
    with pytest.raises(UserError) as error:
        args.spare_input(tmp_path / "." / "a.jsonl", str(path))
    assert str(error.value) == f"--output {path} is the file that is read: name another"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", -1.0, "0 or more"), ("num_train_epochs", 0.0, "more than 0"),
        ("per_device_train_batch_size", 0, "more than 0"),
    ],
)  # fmt: skip
def test_numbers_that_train_nothing_are_refused(tmp_path, name, value, expected):
    with pytest.raises(ValueError) as error:
        training(tmp_path, **{name: value})
    assert str(error.value) == f"--{name} is {value}: {expected} was expected"


def test_processes_wait_a_day_for_the_first(tmp_path):
    """By default NCCL ends a run whose barrier takes half an hour: some GB of text, or the scores of a large test."""
    assert training(tmp_path, report_to="none").ddp_timeout_delta.days == 1


@pytest.mark.parametrize("options", [{"fsdp": True}, {}])
def test_fsdp_is_refused_before_anything_is_trained(options, tmp_path, monkeypatch):
    """By a flag, or by accelerate's configuration: where the stage exports from one process, after the last step."""
    if not options:
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="^FSDP was asked for, but only `pretrain run` shards its model: a process a"):
        training(tmp_path, **options)


@pytest.mark.parametrize("options", [{"hub_strategy": "checkpoint"}, {"hub_always_push": True}])
def test_uploads_on_the_way_are_refused(options, tmp_path):
    with pytest.raises(ValueError, match="^--hub_strategy and --hub_always_push: only the finished folder is uploaded"):
        training(tmp_path, **options)


MEASURING = {
    "labeler.evaluate": ("--model_name_or_path", "m", "--test_data", "t.csv"),
    "pretrain.evaluate": ("--model_name_or_path", "m", "--valid_data", "v.jsonl"),
    "retriever.evaluate": ("--data", "d"),
    "tokenizer.evaluate": ("--tokenizers", "t", "--texts", "x.txt"),
    "topics.compare": ("--runs", "r"),
    "topics.update": ("--model_dir", "m", "--titles", "t.csv"),
}


@pytest.mark.parametrize("verb", MEASURING)
def test_a_run_keeps_its_results_when_it_is_measured_in_its_own_folder(verb, tmp_path, capsys):
    args.claim(tmp_path, Options(["a"]))
    command = importlib.import_module(f"finbert2.{verb}").main
    with pytest.raises(SystemExit) as stopped:
        command([*MEASURING[verb], "--output_dir", str(tmp_path)])
    assert stopped.value.code == 2 and capsys.readouterr().err == (
        f"error: --output_dir {tmp_path} holds a run, whose results.json would be written over: name another folder\n"
    )


def test_a_folder_with_the_results_of_another_command_is_no_finished_run(tmp_path):
    """An evaluation's, say: training there said that nothing was to do."""
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="holds the results of another command: choose another --output_dir"):
        args.claim(tmp_path, Options(["a"]))
    assert not (tmp_path / "args.json").exists()
