import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

from finbert2.labeler import evaluate, features, packed, train
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.labeler.trainer import Order
from tests.labeler.conftest import examples, flags, refused, results, run, write_csv


def test_a_plain_task_is_learnt_and_measured_beside_the_baselines(classifier):
    found = results(classifier)
    assert found["test"]["accuracy"] == found["tfidf"]["accuracy"] == 1.0 and found["majority"]["accuracy"] == 0.5
    assert (found["n_train"], found["n_dev"], found["n_test"], found["steps"]) == (40, 12, 20, 40)
    assert found["loss_last"] < found["loss_first"] and found["labels"] == ["利好", "利空"]
    assert len(found["data"]) == 3 and found["seed"] == 42


def test_the_folder_is_complete_and_has_a_card(classifier):
    names = {path.name for path in classifier.iterdir() if path.is_file()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "labeler.json", "args.json", "loss.svg"} <= names
    card = (classifier / "README.md").read_text(encoding="utf-8")
    assert 'pipeline("text-classification", "o")' in card and "| learning_rate | 0.005 |" in card
    assert card.startswith(
        "---\nlanguage: zh\nlibrary_name: transformers\ntags:\n- finance\n- text-classification\nmetrics:\n- f1\n"
        "- accuracy\n---\n"
    )
    assert "| measure | value |\n| --- | --- |\n| test macro_f1 | 1 |\n| test accuracy | 1 |\n" in card


def test_transformers_opens_the_classifier(classifier, rows):
    from transformers import pipeline

    texts = [text for text, _ in examples(20, 2)]
    answers = [answer["label"] for answer in pipeline("text-classification", str(classifier), device="cpu")(texts)]
    labeler = Labeler.from_pretrained(str(classifier))
    assert answers == [p.label for p in labeler.predict(texts)] == [label for _, label in examples(20, 2)]


def last_state(folder) -> dict:
    states = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(states[-1].read_text(encoding="utf-8"))


def test_the_best_epoch_is_kept_not_the_last(rows, tiny_bert, tmp_path, monkeypatch):
    # A score that is best in the second of four epochs, whatever the model does; the loss goes on falling.
    scores = iter([0.2, 0.9, 0.5, 0.4])
    honest = features.text_scorer

    def rigged(*arguments):
        score = honest(*arguments)
        return lambda output: score(output) | {"macro_f1": next(scores)}

    monkeypatch.setattr(features, "text_scorer", rigged)
    kept = flags(tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 4, "--save_total_limit", 4)
    run(train.main, *kept)
    state = last_state(tmp_path / "o")
    assert (state["best_metric"], state["best_global_step"]) == (0.9, 10) and results(tmp_path / "o")["dev"] == 0.9
    losses = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    assert losses[-1] < losses[1]
    saved = load_file(tmp_path / "o" / "model.safetensors")
    assert same(saved, load_file(tmp_path / "o" / "checkpoint-10" / "model.safetensors"))
    assert not same(saved, load_file(tmp_path / "o" / "checkpoint-20" / "model.safetensors"))


@pytest.mark.parametrize(("kind", "name"), [("classifier", "macro_f1"), ("tagger", "f1")])
def test_the_saved_folder_has_the_best_score_of_the_log(kind, name, rows, sentences, request, tmp_path):
    folder = request.getfixturevalue(kind)
    data = rows / "dev.csv" if kind == "classifier" else sentences / "dev.txt"
    run(evaluate.main, "--model_name_or_path", folder, "--test_data", data, "--output_dir", tmp_path)
    state = last_state(folder)
    best = max(entry[f"eval_{name}"] for entry in state["log_history"] if f"eval_{name}" in entry)
    assert state["best_metric"] == best == pytest.approx(results(tmp_path)["test"][name])


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_the_same_command_again_does_nothing(classifier, rows, tiny_bert, monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "train", None)
    before = (classifier / "results.json").read_bytes()
    command = flags(tiny_bert, rows, classifier, "csv", "--num_train_epochs", 8)
    run(train.main, *command)
    assert (classifier / "results.json").read_bytes() == before
    message = refused(capsys, train.main, *command, "--seed", 7, "--learning_rate", "1e-3")
    assert message == (
        f"error: {classifier} holds another run (--learning_rate was 0.005, is 0.001; --seed was 42, is 7): "
        "choose another --output_dir, or remove this one to start anew\n"
    )


def test_other_rows_are_another_run(classifier, rows, tiny_bert, tmp_path, capsys):
    """What the list of probable label errors invites to: rows mended, the same command again."""
    shutil.copytree(rows, tmp_path / "rows")
    shutil.copytree(classifier, tmp_path / "o")
    record = json.loads(
        (tmp_path / "o" / "args.json").read_text(encoding="utf-8").replace(str(rows), str(tmp_path / "rows"))
    )
    (tmp_path / "o" / "args.json").write_text(json.dumps(record), encoding="utf-8")
    command = flags(tiny_bert, tmp_path / "rows", tmp_path / "o", "csv", "--num_train_epochs", 8)
    run(train.main, *command)
    write_csv(tmp_path / "rows" / "train.csv", examples(40, 9))
    message = refused(capsys, train.main, *command)
    assert message.startswith(
        f"error: {tmp_path / 'o'} holds another run (the content of {tmp_path / 'rows' / 'train.csv'} was '"
    )


class Stop(TrainerCallback):
    """Ctrl-C in the middle of the third epoch."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 12:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="plain"),
        pytest.param(
            ["--early_stopping", 2, "--r_drop", 1, "--fgm", 0.3, "--layer_lr_decay", 0.9],
            id="options", marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    more, rows, tiny_bert, tmp_path, monkeypatch, capsys
):
    command = {name: flags(tiny_bert, rows, tmp_path / name, "csv", "--num_train_epochs", 5, *more) for name in "ab"}
    run(train.main, *command["a"])
    with monkeypatch.context() as patched:
        original = Trainer.train
        patched.setattr(Trainer, "train", lambda self, **kw: (self.add_callback(Stop()), original(self, **kw)))
        with pytest.raises(SystemExit) as stopped:
            run(train.main, *command["b"])
    assert stopped.value.code == 130 and "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "b" / "results.json").exists() and not (tmp_path / "b" / "model.safetensors").exists()
    with monkeypatch.context() as patched:
        patched.setattr(LabelerTrainingArguments, "world_size", 2)  # rows would be met again
        assert refused(capsys, train.main, *command["b"]) == (
            f"error: {tmp_path / 'b'} holds another run (rows a step (NPROC × NNODES × --per_device_train_batch_size × "
            "--gradient_accumulation_steps) was 8, is 16): choose another --output_dir, or remove this one to start "
            "anew\n"
        )
    run(train.main, *command["b"])
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert same(one, two) and results(tmp_path / "a")["test"] == results(tmp_path / "b")["test"]
    steps = results(tmp_path / "b")["steps"]
    assert last_state(tmp_path / "b")["global_step"] == steps == results(tmp_path / "a")["steps"]
    assert steps == 25 if not more else steps > 12


@pytest.mark.parametrize("order", ["group_by_length", "random"])
def test_an_epoch_that_a_run_is_resumed_in_goes_on_in_its_order(order, rows, tiny_bert, tmp_path, monkeypatch):
    """In the middle of the second one, where rows were met again and others not at all."""
    met, collate = [], packed.Collator.__call__
    monkeypatch.setattr(packed.Collator, "__call__", lambda self, batch: met.append(ids(batch)) or collate(self, batch))
    command = flags(
        tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 2, "--train_sampling_strategy", order,
        "--load_best_model_at_end", "False", "--eval_strategy", "no", "--save_strategy", "steps", "--save_steps", 7,
        "--baselines", "False",
    )  # fmt: skip
    run(train.main, *command)
    first, weights = met[:], load_file(tmp_path / "o" / "model.safetensors")
    assert len(first) == 10 and sorted(sum(first[:5], [])) == sorted(sum(first[5:], [])) and first[:5] != first[5:]
    shutil.rmtree(tmp_path / "o" / "checkpoint-10")
    (tmp_path / "o" / "results.json").unlink()
    met.clear()
    run(train.main, *command)
    assert met == first[7:] and same(weights, load_file(tmp_path / "o" / "model.safetensors"))


def ids(batch) -> list[list[int]]:
    return [row["input_ids"] for row in batch]


@pytest.mark.parametrize("batch", [8, None])
def test_processes_share_one_order(batch):
    """Whatever random numbers each has used, on a CPU for its dropout: rows came twice and others not at all."""
    orders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        orders.append([list(Order(range(40), batch, 42, lambda epoch=epoch: epoch)) for epoch in (0, 1)])
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1] and sorted(orders[0][1]) == list(range(40))


@pytest.mark.parametrize("more", [["--num_train_epochs", 9, "--early_stopping", 1], ["--max_steps", 7]])
def test_a_run_that_is_killed_after_its_last_step_makes_no_other(more, rows, tiny_bert, tmp_path, monkeypatch):
    """Stopped early, or in the middle of an epoch: the Trainer itself would go on."""
    command = flags(tiny_bert, rows, tmp_path / "o", "csv", "--baselines", "False", *more)
    with monkeypatch.context() as patched:
        patched.setattr(train.judge, "judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            run(train.main, *command)
    before, saved = last_state(tmp_path / "o"), load_file(tmp_path / "o" / "model.safetensors")
    assert before["global_step"] < before["max_steps"] if "--early_stopping" in more else before["global_step"] == 7
    run(train.main, *command)
    assert results(tmp_path / "o")["steps"] == last_state(tmp_path / "o")["global_step"] == before["global_step"]
    assert same(saved, load_file(tmp_path / "o" / "model.safetensors"))
    assert f"| {more[0].strip('-')} | {more[1]}" in (tmp_path / "o" / "README.md").read_text(encoding="utf-8")


def test_without_development_rows_a_tenth_is_held_out(rows, tiny_bert, tmp_path):
    run(
        train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--dev_data", "", "--max_steps", 2),
        "--baselines", "False", "--max_test_samples", 4, "--max_train_samples", 20,
    )  # fmt: skip
    # 40 rows of 12 texts: a tenth of each class is 2, its groups are of 1 to 6 equal texts
    found = results(tmp_path / "o")
    assert (found["n_train"], found["n_dev"], found["n_test"], found["steps"]) == (20, 2, 4, 2)
    assert "tfidf" not in found and "majority" not in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dev.csv": "text,label\n甲,中性\n"},
            "{folder}/dev.csv has labels that the training data has not: '中性' (1 rows); "
            "training knows 利好, 利空: correct the labels, add rows with them to the training file, or put its "
            "labels.csv beside the file",
        ),
        (
            {"train.csv": "text,label\n甲,1\n乙,1\n"},
            "the training data has one label only (1): a classifier needs two or more",
        ),
        (
            {"test.csv": "text,label\n甲,利好\n,利空\n"},
            "{folder}/test.csv line 3 has '' for 'text': a text was expected; fill or drop the row",
        ),
    ],
)
def test_bad_data_is_told_before_anything_is_written(rows, tiny_bert, tmp_path, capsys, change, message):
    shutil.copytree(rows, tmp_path / "d")
    for name, content in change.items():
        (tmp_path / "d" / name).write_text(content, encoding="utf-8")
    told = refused(capsys, train.main, *flags(tiny_bert, tmp_path / "d", tmp_path / "o"))
    assert told == f"error: {message.format(folder=tmp_path / 'd')}\n" and not (tmp_path / "o").exists()


def test_a_model_that_is_not_there(rows, tmp_path, capsys):
    message = refused(capsys, train.main, *flags(tmp_path / "no", rows, tmp_path / "o"))
    assert message == (
        f"error: {tmp_path / 'no'} is not a model folder (no config.json there; found: no such folder): name a folder "
        "written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base\n"
    )
