"""What is uploaded, what stays, and what is refused; the Hub is a stand-in that keeps what it is given."""

import functools
import json
import types
from unittest import mock

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import filter_repo_objects

from finbert2 import cards, uploads
from finbert2.errors import UserError
from finbert2.hub import push
from finbert2.labeler import train
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.pretrain.options import PretrainingTrainingArguments
from finbert2.retriever.options import RetrieverTrainingArguments


class Hub:
    """Takes the calls of `HfApi`."""

    calls: dict = {}
    refuses = False

    def __init__(self, token=None):
        Hub.calls["token"] = token

    def create_repo(self, repo, **options):
        """Make a repository."""
        if Hub.refuses:
            raise HfHubHTTPError("401 Unauthorized", response=mock.MagicMock())
        Hub.calls["repo"] = (repo, options)
        return types.SimpleNamespace(repo_id=repo if "/" in repo else f"me/{repo}")

    def create_branch(self, repo, **options):
        """Make a branch."""
        Hub.calls["branch"] = options["branch"]

    def upload_folder(self, folder_path, ignore_patterns, **options):
        """Note what goes up."""
        names = [str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file()]
        Hub.calls["uploads"] = Hub.calls.get("uploads", 0) + 1
        Hub.calls["upload"] = (sorted(filter_repo_objects(names, ignore_patterns=ignore_patterns)), options)
        return "https://hub/commit/1"


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    """Put the stand-in in place of the Hub."""
    Hub.calls, Hub.refuses = {}, False
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)


@pytest.fixture
def model(tmp_path):
    """A finished training's folder, with what it leaves beside its result."""
    for name in (
        "config.json", "model.safetensors", "README.md", "tokenizer.json", "labeler.json", "results.json", "args.json",
        "mlm.log", "training_args.bin", "checkpoint-5/model.safetensors", "tokens/ids.npy", "onnx/model.onnx",
        "runs/1/events",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    return tmp_path


def call(*argv):
    """Run the command."""
    push.main([str(word) for word in argv])


def refused(capsys, *argv):
    """Return the message of a command that has to end with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        call(*argv)
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip()


def test_a_model_goes_up_without_what_its_training_left(model, capsys):
    call("--folder", model, "--repo", "me/FinBERT2-mine", "--revision", "v1")
    assert capsys.readouterr().out == "https://hub/commit/1\n"
    assert Hub.calls["repo"] == ("me/FinBERT2-mine", {"repo_type": "model", "private": True, "exist_ok": True})
    assert Hub.calls["branch"] == "v1"
    names, options = Hub.calls["upload"]
    assert names == [
        "README.md",
        "config.json",
        "labeler.json",
        "model.safetensors",
        "onnx/model.onnx",
        "tokenizer.json",
    ]
    assert options == {
        "repo_id": "me/FinBERT2-mine", "repo_type": "model", "revision": "v1",
        "commit_message": "Upload by finbert2 hub push",
    }  # fmt: skip


def test_a_rehearsal_lists_what_would_go_up_and_asks_nobody(model, capsys):
    Hub.refuses = True
    (model / "args.json").write_text("x" * 1234, encoding="utf-8")
    call("--folder", model, "--repo", "me/x", "--dry_run", "True")
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.replace("goes up", "up").splitlines()]
    assert ["stays", "1,234 args.json"] in shown and ["up", "2 onnx/model.onnx"] in shown
    assert ["stays", "2 checkpoint-5/model.safetensors"] in shown and len(shown) == 15
    assert shown[-2:] == [["up", "12 bytes in all"], ["stays", "1,246 bytes in all"]] and "upload" not in Hub.calls


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_records_and_texts_stay_at_any_depth(model, kind):
    """Of a data set what may be data by its name goes up, but for the `dropped` of `corpus prepare`."""
    data = [
        "data/dropped/a.csv", "data/folds/0.csv", "evaluate/predictions.jsonl", "evaluate/runs/a.trec",
        "evaluate/worst/a.html", "predictions.csv", "predictions.jsonl", "seeds/seed-1/model.safetensors",
    ]  # fmt: skip
    for name in (
        *data,
        "evaluate/args.json", "evaluate/results.json", "evaluate/report.html", "parity.jsonl",
        "mined.jsonl.results.json", "mined.jsonl.cache/0.npy", "train_label_errors.jsonl", "dropped/too_short.jsonl",
        "onnx/results.json", ".work/plan.json", "train/.0.jsonl",
    ):  # fmt: skip
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text("/home/me", encoding="utf-8")
    (model / "train").mkdir(exist_ok=True)
    (model / "train" / "0.jsonl").write_text("{}", encoding="utf-8")
    call("--folder", model, "--repo", "me/x", "--kind", kind)
    assert Hub.calls["upload"][0] == sorted([
        "README.md", "config.json", "labeler.json", "model.safetensors", "onnx/model.onnx", "tokenizer.json",
        "train/0.jsonl", *([*data, "runs/1/events", "tokens/ids.npy"] if kind == "dataset" else []),
    ])  # fmt: skip


def test_a_card_names_no_path_of_the_checkpoint(tmp_path):
    start = tmp_path / "mine" / "retromae"
    start.mkdir(parents=True)
    for name, told in ((str(start), "retromae"), ("hfl/rbt3", "hfl/rbt3")):
        cards.write(tmp_path, "fin", "use", [], {"model_name_or_path": name}, {})
        card = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert f"| model_name_or_path | {told} |" in card and str(tmp_path) not in card


def test_data_gets_a_card_that_names_no_path(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "0.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (tmp_path / "dropped").mkdir()
    (tmp_path / "dropped" / "table.jsonl").write_text('{"text": "b"}\n', encoding="utf-8")
    record = {"documents_in": 9, "documents_out": 1, "dropped": {"too_short": 8}, "data": {"/home/me/x.jsonl": {}}}
    (tmp_path / "results.json").write_text(json.dumps(record), encoding="utf-8")
    call("--folder", tmp_path, "--repo", "me/corpus", "--kind", "dataset", "--dry_run", "True")
    assert "README.md, a card that is written first" in capsys.readouterr().out
    assert not (tmp_path / "README.md").exists()
    call("--folder", tmp_path, "--repo", "me/corpus", "--kind", "dataset", "--private", "false")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: zh\n") and "# corpus" in card and "/home/me" not in card
    assert "| documents_in | 9 |" in card and "| dropped: too_short | 8 |" in card and "| 0.jsonl | 14 | " in card
    assert "table.jsonl" not in card
    assert Hub.calls["upload"][0] == ["README.md", "train/0.jsonl"] and Hub.calls["repo"][1]["private"] is False


def test_what_is_refused(model, tmp_path, capsys):
    assert refused(capsys, "--folder", model, "--repo", "mine") == (
        "error: --repo 'mine' is no name on the Hub: owner/name is expected"
    )
    (model / "README.md").unlink()
    assert refused(capsys, "--folder", model, "--repo", "me/x").startswith(
        f"error: {model} has no README.md: push what"
    )
    (model / "results.json").unlink()
    assert refused(capsys, "--folder", model, "--repo", "me/x") == (
        f"error: {model} holds a run that has not ended: run its command again until results.json is there"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "parity.jsonl").write_text("{}", encoding="utf-8")
    assert refused(capsys, "--folder", empty, "--repo", "me/x", "--kind", "dataset").startswith(
        f"error: {empty} holds no data"
    )


def test_a_hub_that_says_no_is_told_with_the_way_out(model, capsys):
    Hub.refuses = True
    told = (
        f"{model} is whole, but {{}} could not be written (401 Unauthorized): set HF_TOKEN to a token that may write "
        "there, check the network (HF_ENDPOINT names a mirror), then: finbert2 hub push "
        f"--folder {model} --repo {{}} --kind model --revision main --private {{}}"
    )
    assert refused(capsys, "--folder", model, "--repo", "me/x") == "error: " + told.format("me/x", "me/x", True)
    with pytest.raises(UserError) as error:
        uploads.publish(model, PretrainingTrainingArguments(output_dir=str(model), push_to_hub=True))
    assert str(error.value) == told.format(model.name, f"OWNER/{model.name}", False)


@pytest.mark.parametrize("name", ["我的任务", "a--b"])
def test_a_name_that_the_hub_cannot_have_is_told_before_the_training(model, tmp_path, name, capsys):
    """The default is the folder's name."""
    with pytest.raises(ValueError, match=f"'{name}' cannot be a repository's name: give another by --hub_model_id"):
        LabelerTrainingArguments(output_dir=str(tmp_path / name), push_to_hub=True)
    LabelerTrainingArguments(output_dir=str(tmp_path / name), push_to_hub=True, hub_model_id="me/mine")
    monkey = functools.partial(huggingface_hub.hf_api.HfApi, endpoint="http://127.0.0.1:9")
    with mock.patch.object(huggingface_hub, "HfApi", monkey):  # the real client, which looks before it calls
        assert f"me/{name} could not be written (" in refused(capsys, "--folder", model, "--repo", f"me/{name}")


@pytest.mark.parametrize("kind", [PretrainingTrainingArguments, LabelerTrainingArguments, RetrieverTrainingArguments])
def test_a_trainer_never_pushes(kind, tmp_path):
    """It would upload args.json and training_args.bin with each checkpoint."""
    wish = kind(output_dir=str(tmp_path), push_to_hub=True)
    assert (wish.push_to_hub, wish.publish) == (False, True) and not kind(output_dir=str(tmp_path)).publish


def test_a_finished_training_goes_up_once_and_whole(tiny_bert, tmp_path, caplog):
    rows = [f"公司公告第{number}号{'增长' if number % 2 else '减持'},{number % 2}" for number in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    argv = [
        "--model_name_or_path", tiny_bert, "--train_data", str(tmp_path / "train.csv"), "--output_dir",
        str(tmp_path / "mine"), "--num_train_epochs", "2", "--report_to", "none", "--disable_tqdm", "True",
    ]  # fmt: skip
    wish = ["--push_to_hub", "True", "--hub_token", "hf_x", "--hub_private_repo", "True"]
    train.main(argv + wish)
    assert (tmp_path / "mine" / "checkpoint-2" / "training_args.bin").exists()
    names, options = Hub.calls["upload"]
    assert Hub.calls["uploads"] == 1 and {"README.md", "config.json", "model.safetensors", "labeler.json"} <= set(names)
    assert not any("args" in name or "checkpoint" in name or "results" in name for name in names)
    assert (Hub.calls["token"], options["repo_id"], options["revision"]) == ("hf_x", "me/mine", "main")
    assert Hub.calls["repo"] == ("mine", {"repo_type": "model", "private": True, "exist_ok": True})
    assert "published at https://hub/commit/1" in caplog.text
    train.main(argv)
    assert Hub.calls["uploads"] == 1
    train.main(argv + wish)  # of a finished run: what failed before, or was not asked for
    assert Hub.calls["uploads"] == 2


@pytest.mark.parametrize("offline", [False, True])
def test_a_connection_that_is_refused_is_one_message(model, capsys, monkeypatch, offline):
    """The real client against a port where nobody listens, and off line."""
    real = functools.partial(huggingface_hub.hf_api.HfApi, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "HfApi", real)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    message = refused(capsys, "--folder", model, "--repo", "me/x")
    assert message.startswith(f"error: {model} is whole, but me/x could not be written (")
