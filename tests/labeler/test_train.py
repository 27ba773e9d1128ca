import csv
import io
import json
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

from finbert2.errors import UserError
from finbert2.labeler import evaluate, features, inputs, packed, predict, train
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.labeler.trainer import Order

from ..conftest import TEXTS

GOOD, BAD = "净利润增长超过预期", "股东减持情绪偏弱"
COMPANIES, PEOPLE = ["公司", "央行", "银行"], ["分析师", "股东"]


def examples(count: int, seed: int) -> list[tuple[str, str]]:
    """Rows whose label a single word tells, one in two."""
    texts = random.Random(seed).choices(TEXTS, k=count)
    return [(f"{text[:20]}{GOOD if n % 2 else BAD}", "利好" if n % 2 else "利空") for n, text in enumerate(texts)]


def tagged(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """Sentences of companies and people in between plain words."""
    chance, sentences = random.Random(seed), []
    for _ in range(count):
        line = []
        for kind, names in (
            ("", ["前三季度"]),
            ("ORG", COMPANIES),
            ("", ["净利润增长"]),
            ("PER", PEOPLE),
            ("", ["。"]),
        ):
            word = chance.choice(names)
            tags = [f"B-{kind}"] + [f"I-{kind}"] * (len(word) - 1) if kind else ["O"] * len(word)
            line += zip(word, tags, strict=True)
        sentences.append(line)
    return sentences


def write_csv(path, rows):
    files = io.StringIO()
    csv.writer(files).writerows([("text", "label"), *rows])
    path.write_text(files.getvalue(), encoding="utf-8")
    return path


def write_conll(path, sentences):
    path.write_text("\n".join("".join(f"{c} {t}\n" for c, t in sentence) for sentence in sentences), encoding="utf-8")
    return path


def run(command, *argv):
    command([str(word) for word in argv])


def refused(capsys, command, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(command, *argv)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def results(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def flags(model, folder, output, suffix="csv", *more):
    return [
        "--model_name_or_path", model, "--train_data", folder / f"train.{suffix}",
        "--dev_data", folder / f"dev.{suffix}", "--test_data", folder / f"test.{suffix}", "--output_dir", output,
        "--learning_rate", "5e-3", "--per_device_train_batch_size", 8, "--disable_tqdm", "True", "--report_to", "none",
        "--logging_steps", 2, "--warmup_steps", 0, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for name, count, seed in (("train", 40, 0), ("dev", 12, 1), ("test", 20, 2)):
        write_csv(folder / f"{name}.csv", examples(count, seed))
    return folder


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    for name, count, seed in (("train", 40, 0), ("dev", 30, 1), ("test", 15, 2)):  # dev has every name
        write_conll(folder / f"{name}.txt", tagged(count, seed))
    return folder


@pytest.fixture(scope="module")
def classifier(rows, tiny_bert, tmp_path_factory):
    output = tmp_path_factory.mktemp("classifier") / "o"
    run(train.main, *flags(tiny_bert, rows, output, "csv", "--num_train_epochs", 8))
    return output


@pytest.fixture(scope="module")
def tagger(sentences, tiny_bert, tmp_path_factory):
    output = tmp_path_factory.mktemp("tagger") / "o"
    run(train.main, *flags(tiny_bert, sentences, output, "txt", "--task", "ner", "--num_train_epochs", 8))
    return output


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
    assert (state["best_metric"], state["best_global_step"]) == (0.9, 10)
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
    [[], ["--early_stopping", 2, "--r_drop", 1, "--fgm", 0.3, "--layer_lr_decay", 0.9]],
    ids=["plain", "options"],
)
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


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "txt"])
@pytest.mark.parametrize("written", ["csv", "jsonl"])
def test_predictions_of_files(classifier, tmp_path, suffix, written):
    rows = examples(5, 3)
    lines = {
        "csv": "text,id\n" + "".join(f"{text},n{n}\n" for n, (text, _) in enumerate(rows)),
        "jsonl": "".join(json.dumps({"text": text, "id": f"n{n}"}) + "\n" for n, (text, _) in enumerate(rows)),
        "txt": "".join(f"{text}\n" for text, _ in rows),
    }
    source, output = tmp_path / f"in.{suffix}", tmp_path / f"out.{written}"
    source.write_text(lines[suffix], encoding="utf-8")
    run(predict.main, "--model_name_or_path", classifier, "--input", source, "--output", output)
    found = read(output)
    assert [(row["text"], row["label"]) for row in found] == rows
    assert [str(row["id"]) for row in found] == [str(n + 1) if suffix == "txt" else f"n{n}" for n in range(5)]
    for row in found:
        shares = json.loads(row["probs"]) if written == "csv" else row["probs"]
        assert set(shares) == {"利好", "利空"} and sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert float(row["score"]) == max(shares.values()) == shares[row["label"]]


def read(path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def test_predictions_from_standard_input_with_vectors(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"\ufeff{GOOD}\n\n\ufeff{BAD}\r\n".encode())))
    run(
        predict.main, "--model_name_or_path", classifier, "--input", "-", "--output", tmp_path / "o.jsonl",
        "--cls_vectors", tmp_path / "v.npy", "--cls_layer", 1,
    )  # fmt: skip
    assert [(row["id"], row["text"]) for row in read(tmp_path / "o.jsonl")] == [(1, GOOD), (3, BAD)]
    vectors = np.load(tmp_path / "v.npy")
    expected = Labeler.from_pretrained(str(classifier)).cls_vectors([GOOD, BAD], 1)
    assert vectors.shape == (2, 32) and np.array_equal(vectors, expected)


def test_standard_input_that_is_not_utf8_names_its_line(monkeypatch):
    lines = f"{GOOD}\n".encode() + BAD.encode("gb18030")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    with pytest.raises(UserError, match=r"standard input, line 2, is not UTF-8 \(.*\): convert it, for example: iconv"):
        list(inputs.read_texts("-", "text"))


def test_predictions_in_chunks_are_the_same(classifier, tmp_path, monkeypatch, rows):
    for name, size in (("a", 4096), ("b", 3)):
        monkeypatch.setattr(inputs, "CHUNK", size)
        run(
            predict.main, "--model_name_or_path", classifier, "--input", rows / "test.csv",
            "--output", tmp_path / f"{name}.jsonl", "--cls_vectors", tmp_path / f"{name}.npy",
        )  # fmt: skip
    one, two = (read(tmp_path / f"{name}.jsonl") for name in "ab")
    assert [row["label"] for row in one] == [row["label"] for row in two] and len(two) == 20
    assert np.load(tmp_path / "b.npy") == pytest.approx(np.load(tmp_path / "a.npy"), abs=0.05)  # bf16 where there is


def test_evaluation_writes_its_predictions(classifier, rows, tmp_path, capsys):
    test = write_csv(tmp_path / "test.csv", [*examples(4, 5), (GOOD, "利空")])
    run(evaluate.main, "--model_name_or_path", classifier, "--test_data", test, "--output_dir", tmp_path / "o")
    found = read(tmp_path / "o" / "predictions.jsonl")
    assert [row["gold"] == row["label"] for row in found] == [True] * 4 + [False] and found[4]["text"] == GOOD
    assert results(tmp_path / "o")["test"] == json.loads(capsys.readouterr().out)
    assert results(tmp_path / "o")["test"]["accuracy"] == 0.8 and results(tmp_path / "o")["n_test"] == 5


def test_near_duplicates_are_looked_for_in_the_whole_training_file(classifier, tmp_path):
    """Also among the rows that are held out for the baselines."""
    chance = random.Random(0)
    texts = ["".join(chr(chance.randint(0x4E00, 0x9F00)) for _ in range(30)) for _ in range(40)]
    for name, more in (("train", ""), ("test", "。")):
        write_csv(tmp_path / f"{name}.csv", [(text + more, ("利好", "利空")[n % 2]) for n, text in enumerate(texts)])
    run(
        evaluate.main, "--model_name_or_path", classifier, "--train_data", tmp_path / "train.csv",
        "--test_data", tmp_path / "test.csv", "--output_dir", tmp_path / "o",
    )  # fmt: skip
    assert results(tmp_path / "o")["near_duplicates_in_train"] == 40


def test_entities_are_learnt_and_told(tagger, sentences, tmp_path):
    assert results(tagger)["test"]["f1"] == 1.0 and set(results(tagger)["test"]["per_type"]) == {"ORG", "PER"}
    assert results(tagger)["labels"] == ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    (tmp_path / "in.txt").write_text("前三季度央行净利润增长分析师。\n", encoding="utf-8")
    run(predict.main, "--model_name_or_path", tagger, "--input", tmp_path / "in.txt", "--output", tmp_path / "o.jsonl")
    (row,) = read(tmp_path / "o.jsonl")
    found = [(e["text"], e["type"], e["start"], e["end"]) for e in row["entities"]]
    assert found == [("央行", "ORG", 4, 6), ("分析师", "PER", 11, 14)]
    assert all(0 < entity["score"] <= 1 for entity in row["entities"])


def test_transformers_opens_the_tagger(tagger):
    from transformers import pipeline

    # Without the domain words in it, whose characters the pipeline does not part.
    (text,) = ("前三季度央行增长分析师。",)
    answers = pipeline("token-classification", str(tagger), device="cpu", ignore_labels=[])(text)
    ((tags, _),) = Labeler.from_pretrained(str(tagger)).tag([list(text)])
    assert [answer["entity"] for answer in answers] == tags and "B-ORG" in tags


def test_a_tagger_has_no_least_score(tagger, tmp_path, capsys):
    command = ["--model_name_or_path", tagger, "--input", "-", "--output", tmp_path / "o.jsonl", "--min_score", 0.5]
    assert refused(capsys, predict.main, *command).endswith(
        "error: --min_score is for classifiers: of a tagger each entity has a score, choose by it\n"
    )


def test_a_tagger_is_evaluated_by_its_sentences(tagger, sentences, tmp_path):
    run(evaluate.main, "--model_name_or_path", tagger, "--test_data", sentences / "test.txt", "--output_dir", tmp_path)
    assert results(tmp_path)["test"] == results(tagger)["test"]
    found = read(tmp_path / "predictions.jsonl")
    assert [row["gold"] for row in found] == [[tag for _, tag in sentence] for sentence in tagged(15, 2)]
    assert all(row["gold"] == row["tags"] and len(row["text"]) == len(row["tags"]) for row in found)


def test_a_long_text_is_tagged_to_its_end(tagger):
    unit = "前三季度央行净利润增长分析师。"
    (found,) = Labeler.from_pretrained(str(tagger)).entities([unit * 40])
    # An entity may be missed where a window ends, never a whole stretch.
    assert len({entity.start // len(unit) for entity in found}) > 35 and found[-1].end > 38 * len(unit)
    assert all((unit * 40)[entity.start : entity.end] == entity.text for entity in found)


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


def test_what_predict_does_not_write(classifier, tmp_path, capsys):
    path = tmp_path / "o.xlsx"
    assert refused(
        capsys, predict.main, "--model_name_or_path", classifier, "--input", "-", "--output", path
    ) == f"error: --output {path} has the suffix '.xlsx': name a .csv or a .jsonl file\n"  # fmt: skip


def test_an_empty_row_stops_the_prediction_and_leaves_no_file(classifier, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("id,text\n1,甲\n2,\n", encoding="utf-8")
    message = refused(
        capsys, predict.main, "--model_name_or_path", classifier, "--input", tmp_path / "in.csv",
        "--output", tmp_path / "o.csv",
    )  # fmt: skip
    assert message.splitlines()[-1] == (
        f"error: {tmp_path / 'in.csv'} line 3 has '' for 'text': a text was expected; fill or drop the row"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
