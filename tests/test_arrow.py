"""Parquet and saved datasets: rows by the types of JSON, and every stage's reader takes them."""

import datetime
import decimal
import json

import pyarrow
import pytest
from pyarrow import parquet

from finbert2 import arrow, files
from finbert2.labeler.data import Example, read_examples
from finbert2.retriever import benchmark
from finbert2.retriever.data import read_pool, read_training_rows
from finbert2.retriever.index import records
from finbert2.tokenizer.reading import Corpus
from finbert2.topics.titles import read_titles
from tests.test_files import message

ROWS = [{"text": f"第{n}篇", "n": n} for n in range(25)]


def write_parquet(path, rows):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10)
    return path


def write_saved(path, rows):
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


@pytest.mark.parametrize("write", [write_parquet, write_saved])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 25), (9, 11), (10, 20), (24, 25), (7, 7)])
def test_rows_of_a_range(tmp_path, monkeypatch, write, start, stop):
    monkeypatch.setattr(arrow, "BATCH", 4)
    path = write(tmp_path / "a.parquet", ROWS)
    assert list(arrow.rows(path, start, stop)) == ROWS[start:stop]
    assert arrow.count(path) == 25


@pytest.mark.parametrize("write", [write_parquet, write_saved])
def test_values_are_of_the_types_of_json(tmp_path, write):
    columns = {
        "day": datetime.date(2024, 3, 1), "time": datetime.datetime(2024, 3, 1, 9, 30),
        "price": decimal.Decimal("1.50"), "nothing": None, "nan": float("nan"),
        "tags": ["甲", "乙"], "inner": {"a": 1}, "bytes": b"\xff",
    }  # fmt: skip
    (found,) = arrow.rows(write(tmp_path / "a.parquet", [columns]))
    assert found == {
        "day": "2024-03-01", "time": "2024-03-01T09:30:00", "price": "1.50", "nothing": None, "nan": None,
        "tags": ["甲", "乙"], "inner": {"a": 1}, "bytes": {"hexadecimal": "ff"},
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_every_stages_reader_takes_parquet(tmp_path):
    labelled = write_parquet(tmp_path / "train.parquet", [{"text": "涨", "label": 1}, {"text": "跌", "label": 0}])
    assert read_examples(labelled) == [Example("涨", "1"), Example("跌", "0")]
    assert message(read_examples, write_parquet(tmp_path / "bad.parquet", [{"text": "涨"}])).startswith(
        f"{tmp_path / 'bad.parquet'} row 1 has no 'label': it has 'text';"
    )
    passages = write_parquet(
        tmp_path / "passages.parquet", [{"id": 7, "text": "加息", "date": datetime.date(2024, 3, 1)}]
    )
    (record,) = records(str(passages), "{date} {text}")
    assert (record["id"], record["text"], record["date"]) == ("7", "加息", "2024-03-01")
    assert read_pool(passages, "{date} {text}") == ["2024-03-01 加息"]
    mined = write_parquet(
        tmp_path / "rows.parquet", [{"query": "问", "pos": ["答"], "neg": ["错"], "neg_scores": [0.5]}]
    )
    (row,) = read_training_rows([mined])[0]
    assert (row.query, row.positives, row.negatives, row.neg_scores) == ("问", ["答"], ["错"], [0.5])
    pairs = write_parquet(tmp_path / "pairs.parquet", [{"query": "问", "title": "题", "passage": "答", "label": 1}])
    assert list(benchmark.load(pairs, "test").passages.values()) == ["题\n答"]
    titles = read_titles(
        write_parquet(tmp_path / "titles.parquet", [{"title": "周报", "date": datetime.date(2024, 3, 1)}])
    )
    assert (titles.texts, titles.months()) == (["周报"], ["2024-03"])
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_parquet(folder / "a.parquet", ROWS[:2])
    (folder / "b.txt").write_text("乙\n", encoding="utf-8")
    assert list(Corpus([str(folder)]).texts()) == ["第0篇", "第1篇", "乙"]
    assert files.of_corpus([folder]) == [folder / "a.parquet", folder / "b.txt"]


def test_strings_that_are_not_marked_as_such_are_read_as_text(tmp_path):
    good, bad = (
        write_parquet(tmp_path / name, [{"text": "甲乙".encode()}, {"text": last}])
        for name, last in (("good.parquet", "丙".encode()), ("bad.parquet", "丙".encode("gb18030")))
    )
    assert [row.values["text"] for row in files.read_documents([good])] == ["甲乙", "丙"]
    told = message(list, files.read_documents([bad]))
    assert told == f"{bad} row 2 has {{'hexadecimal': 'b1fb'}} for 'text': a text was expected"
