import csv
import json

import numpy as np
import pytest

from finbert2.topics import predict
from finbert2.topics.model import Topic


class Model:
    """Gives each title the one topic it has; how it compares titles is said by `encoder` and `mean`."""

    topics = [Topic(0, 9, ["银行", "信贷"], [])]

    def __init__(self, encoder=None, mean=None):
        self.encoder = encoder
        self.space = self
        self.mean = mean

    def predict(self, titles, encoded):
        return np.zeros(len(titles), dtype=int), np.ones(len(titles))


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Two rows of JSON lines, the second with a field that the first lacks, and a model of words alone."""
    lines = '{"title": "甲"}\n{"title": "乙", "org": "甲证券"}\n'
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(predict, "load_model", lambda folder, name: Model())
    return ["--model_dir", "topics", "--titles", str(tmp_path / "t.jsonl")]


def test_a_csv_has_the_columns_of_all_rows(flags, tmp_path):
    predict.main([*flags, "--output", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["title", "org", "topic", "similarity", "words"],
            ["甲", "", "0", "1.0", "银行 信贷"],
            ["乙", "甲证券", "0", "1.0", "银行 信贷"],
        ]


def test_a_column_called_as_an_answers_is_kept(flags, tmp_path):
    lines = '{"title": "甲"}\n{"title": "乙", "topic": "利率", "given_topic": 7}\n'
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    predict.main([*flags, "--output", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["title", "given_topic", "given_given_topic", "topic", "similarity", "words"],
            ["甲", "", "", "0", "1.0", "银行 信贷"],
            ["乙", "利率", "7", "0", "1.0", "银行 信贷"],
        ]


def test_json_lines_stay_as_they_are(flags, tmp_path):
    predict.main([*flags, "--output", str(tmp_path / "p.jsonl")])
    found = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {"topic": 0, "similarity": 1.0, "words": "银行 信贷"}
    assert found == [{"title": "甲"} | told, {"title": "乙", "org": "甲证券"} | told]


@pytest.mark.parametrize("model", [Model(), Model({"name": "m"}), Model({"name": "m"}, np.zeros(2))])
def test_vectors_that_would_not_be_read_are_refused(model, flags, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict, "load_model", lambda folder, name: model)
    with pytest.raises(SystemExit) as stop:
        predict.main([*flags, "--output", str(tmp_path / "p.csv"), "--embeddings", "v.npy"])
    assert stop.value.code == 2 and not (tmp_path / "p.csv").exists()
    assert capsys.readouterr().err == "error: topics was not fitted on given vectors: leave --embeddings out\n"
