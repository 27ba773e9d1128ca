"""Trained classifiers and taggers: predictions, evaluation, and what both refuse."""

import io
import json
import random

import numpy as np
import pytest

from finbert2.errors import UserError
from finbert2.labeler import evaluate, inputs, predict
from finbert2.labeler.model import Labeler
from tests.labeler.conftest import BAD, GOOD, examples, read, refused, results, run, tagged, write_csv


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


def test_what_predict_does_not_write(classifier, tmp_path, capsys):
    path = tmp_path / "o.xlsx"
    assert refused(
        capsys, predict.main, "--model_name_or_path", classifier, "--input", "-", "--output", path
    ) == f"error: --output {path} has the suffix '.xlsx': name a .csv, .jsonl or .parquet file\n"  # fmt: skip


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
