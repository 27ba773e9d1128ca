"""What the options of training do to a whole run, and options that cannot be."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from finbert2.errors import UserError
from finbert2.labeler import judge, predict, repeat, train
from finbert2.labeler.features import Task
from finbert2.labeler.fit import load_model
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments, scored

from .conftest import flags, read, refused, results, run, write_csv
from .test_options import LABELS


@pytest.mark.slow
def test_all_options_at_once_learn_over_seeds_and_folds(rows, tiny_bert, tmp_path):
    command = flags(
        tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 5, "--seeds", 2, "--folds", 2, "--r_drop", 1,
        "--fgm", 0.3, "--layer_lr_decay", 0.9, "--class_weights", "balanced", "--label_smoothing_factor", 0.05,
        "--early_stopping", 4, "--target_precision", 0.9, "--long_texts", "windows", "--max_seq_length", 16,
    )  # fmt: skip
    run(train.main, *command)
    found = results(tmp_path / "o")
    assert len(found["seeds"]["macro_f1"]["values"]) == len(found["folds"]["macro_f1"]["values"]) == 2
    assert found["seed_kept"] in (42, 43) and found["test"]["macro_f1"] in found["seeds"]["macro_f1"]["values"]
    assert found["test"]["accuracy"] > 0.7 and found["dev"] == max(found["seeds"]["dev"]["values"])
    assert not list((tmp_path / "o").rglob("checkpoint-*"))
    assert (tmp_path / "o" / "train_label_errors.jsonl").exists()
    settings = json.loads((tmp_path / "o" / "labeler.json").read_text())
    assert settings["long_texts"] == "windows" and set(settings["thresholds"]) == {"利好", "利空"}
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "随机种子" in page and "混淆矩阵" in page and "src=" not in page
    # A run that was killed after the first seed goes on with the second.
    (tmp_path / "o" / "results.json").unlink()
    kept = (tmp_path / "o" / "seeds" / "seed-42" / "run.json").stat().st_mtime_ns
    run(train.main, *command)
    assert (tmp_path / "o" / "seeds" / "seed-42" / "run.json").stat().st_mtime_ns == kept
    assert results(tmp_path / "o")["seeds"] == found["seeds"]


@pytest.mark.slow
def test_more_seeds_go_on_with_a_finished_run(rows, tiny_bert, tmp_path):
    more = ("--max_steps", 2, "--baselines", "False", "--seeds")
    values = []
    for seeds in (2, 3):
        run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", *more, seeds))
        values.append(results(tmp_path / "o")["seeds"]["macro_f1"]["values"])
    assert len(values[1]) == 3 and values[1][:2] == values[0]
    written = (tmp_path / "o" / "results.json").stat().st_mtime_ns
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", *more, 3))
    assert (tmp_path / "o" / "results.json").stat().st_mtime_ns == written


def test_several_labels_are_learnt_and_open_in_a_pipeline(tiny_bert, tmp_path):
    from transformers import pipeline

    words = {"增长": "净利润增长", "减持": "股东减持"}
    rows = [
        ("、".join(words[label] for label in chosen) + "公司公告", "|".join(chosen))
        for chosen in (["增长"], ["减持"], ["增长", "减持"]) * 24
    ]
    for name in ("train", "dev", "test"):
        write_csv(tmp_path / f"{name}.csv", [(f"{text}{n}", label) for n, (text, label) in enumerate(rows)])
    run(train.main, *flags(tiny_bert, tmp_path, tmp_path / "o", "csv", "--num_train_epochs", 10))
    found = results(tmp_path / "o")
    assert found["test"]["accuracy"] > 0.9 and found["labels"] == ["减持", "增长"] and found["tfidf"]["micro_f1"] > 0.9
    config = json.loads((tmp_path / "o" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    answers = pipeline("text-classification", str(tmp_path / "o"), top_k=None, device="cpu")([rows[2][0]])[0]
    assert {a["label"] for a in answers if a["score"] > 0.5} == {"增长", "减持"}
    (prediction,) = Labeler.from_pretrained(str(tmp_path / "o")).predict([rows[2][0]])
    assert prediction.label == "减持|增长" and prediction.score > 0.5


def test_lora_trains_adapters_and_leaves_a_whole_model(rows, tiny_bert, tmp_path):
    pytest.importorskip("peft")
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 2, "--lora_rank", 4))
    saved = load_file(tmp_path / "o" / "model.safetensors")
    assert not any("lora" in name for name in saved) and "classifier.weight" in saved
    start = load_file(f"{tiny_bert}/model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(saved[name], start[name])
    assert not torch.equal(saved["bert.encoder.layer.0.attention.self.query.weight"],
                           start["bert.encoder.layer.0.attention.self.query.weight"])  # fmt: skip
    Labeler.from_pretrained(str(tmp_path / "o")).predict(["公司"])


def test_abstaining_is_saved_and_used_by_predict(rows, tiny_bert, tmp_path):
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--max_steps", 2, "--target_precision", 0.99))
    found = results(tmp_path / "o")
    run(
        predict.main,
        "--model_name_or_path",
        tmp_path / "o",
        "--input",
        rows / "test.csv",
        "--output",
        tmp_path / "o.jsonl",
    )
    answers = read(tmp_path / "o.jsonl")
    thresholds = json.loads((tmp_path / "o" / "labeler.json").read_text())["thresholds"]
    gaps = [row["score"] - thresholds[row["label"]] for row in answers]  # of scores rounded to six digits
    assert all(row["abstained"] == (gap < 0) for row, gap in zip(answers, gaps, strict=True) if abs(gap) > 1e-5)
    assert sum(row["abstained"] for row in answers) == found.get("abstention", {"abstained": 0})["abstained"]
    run(
        predict.main, "--model_name_or_path", tmp_path / "o", "--input", rows / "test.csv", "--output",
        tmp_path / "p.jsonl", "--min_score", 1.01,
    )  # fmt: skip
    assert all(row["abstained"] for row in read(tmp_path / "p.jsonl"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--folds", 1], "--seeds 1 --folds 1: one seed or more, two folds or more (or 0)"),
        (["--target_precision", 2], "--target_precision 2.0: a share between 0 and 1 was expected"),
        (["--task", "ner", "--folds", 3], "--folds, --target_precision and --compare are for classification, not for"),
        (["--max_seq_length", 2], "--max_seq_length 2: 3 or more was expected, [CLS] and [SEP] included\n"),
        (["--max_seq_length", 3, "--task", "ner"], "--max_seq_length 3: 4 or more was expected, [CLS] and [SEP] incl"),
        (["--layer_lr_decay", 0], "--layer_lr_decay 0.0: above 0 and at most 1 was expected"),
        (["--metric_for_best_model", "f1"], "--metric_for_best_model f1: the scores of this task are accuracy, loss, "),
        (["--dropout", 1], "--dropout 1.0: 0 or more and less than 1 was expected"),
        (["--dropout", 0, "--r_drop", 1], "--r_drop compares two dropouts of a row: it does nothing at --dropout 0"),
        (["--fgm", -1], "--r_drop, --fgm, --lora_rank and --early_stopping cannot be negative"),
        (["--early_stopping", 2, "--load_best_model_at_end", "False"], "--early_stopping needs --load_best_model"),
        (
            ["--seeds", 2, "--eval_strategy", "no", "--load_best_model_at_end", "False"],
            "--seeds chooses by the development score: --eval_strategy has to be epoch or steps, not no",
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_be(rows, tiny_bert, tmp_path, capsys, more, message):
    assert message in refused(capsys, train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", *more))


@pytest.mark.parametrize(("metric", "kept"), [("loss", 42), ("macro_f1", 43)])
def test_the_seed_that_is_kept_is_the_best_by_the_metrics_own_direction(tiny_bert, tmp_path, monkeypatch, metric, kept):
    """Of a loss that is the lowest."""
    labeler = Labeler.from_pretrained(str(classifier_folder(tiny_bert, tmp_path / "model")))
    devs = iter([0.2, 0.6])
    monkeypatch.setattr(
        repeat, "fine_tune", lambda *_: (labeler, SimpleNamespace(state=SimpleNamespace(best_metric=next(devs))))
    )
    monkeypatch.setattr(repeat.training, "summary", lambda trainer: {})
    arguments = LabelerTrainingArguments(
        output_dir=str(tmp_path), metric_for_best_model=metric, use_cpu=True, report_to=[], bf16=False
    )
    task = Task("classification", LABELS, False, [], [])
    options = LabelerArguments(tiny_bert, "train.csv", seeds=2)
    _, summary, spread = repeat.seeds(options, arguments, task, tmp_path)
    assert summary["seed_kept"] == kept and spread["dev"]["values"] == [0.2, 0.6]


def test_a_training_that_was_never_scored_says_how_it_would_be():
    state = SimpleNamespace(best_metric=None, global_step=15)
    with pytest.raises(UserError) as raised:
        scored(SimpleNamespace(state=state))
    assert str(raised.value) == (
        "the training ended after 15 steps without a development score: give a smaller --eval_steps and --save_steps, "
        "or --eval_strategy epoch --save_strategy epoch"
    )


def classifier_folder(tiny_bert, folder):
    """Save an untrained classifier with its tokenizer."""
    load_model(tiny_bert, Task("classification", LABELS, False, [], [])).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def test_what_cannot_be_judged_is_refused_before_training(tiny_bert, tmp_path, capsys, monkeypatch, caplog):
    """A tagger or other labels beside a classifier, and a precision that thresholds of several labels do not aim at."""
    monkeypatch.setattr(train, "fit", None)
    write_csv(tmp_path / "train.csv", [("涨", "利好|中性"), ("跌", "利空"), ("平", "中性"), ("升", "利好")] * 5)
    rows = tmp_path / "train.csv"
    command = [
        "--model_name_or_path", tiny_bert, "--train_data", rows, "--dev_data", rows, "--output_dir", tmp_path / "o",
    ]  # fmt: skip
    assert refused(capsys, train.main, *command, "--target_precision", 0.9) == (
        "error: --target_precision is for tasks of one label a row: of several, each has its best F1's threshold\n"
    )
    load_model(tiny_bert, Task("ner", ["O", "B-ORG", "I-ORG"], False, [], [])).save_pretrained(tmp_path / "tagger")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "tagger")
    assert refused(capsys, train.main, *command, "--compare", tmp_path / "tagger") == (
        "error: this model is for ner, classification was asked of it: name another model folder\n"
    )
    load_model(tiny_bert, Task("classification", ["LABEL_0", "LABEL_1"], False, [], [])).save_pretrained(tmp_path / "x")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "x")
    assert refused(capsys, train.main, *command, "--compare", tmp_path / "x") == (
        f"error: --compare {tmp_path}/x answers LABEL_0, LABEL_1, the task's labels are 中性, 利好, 利空: every answer "
        "would be wrong; give it these names by id2label in its config.json\n"
    )
    load_model(tiny_bert, Task("classification", ["利好", "LABEL_1"], False, [], [])).save_pretrained(tmp_path / "x")
    with caplog.at_level("WARNING"):
        assert judge.opened(str(tmp_path / "x"), ["中性", "利好", "利空"]).labels == ["利好", "LABEL_1"]
    assert caplog.messages == [f"--compare {tmp_path}/x never answers 中性, 利空: such rows count as wrong"]
    assert not (tmp_path / "o").exists()
