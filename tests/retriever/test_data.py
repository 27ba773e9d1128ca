import pytest

from finbert2 import files
from finbert2.errors import UserError
from finbert2.retriever import benchmark, data

from .conftest import jsonl


def test_the_template_leaves_empty_lines_out():
    template = data.checked_template("{title}\\n发布日期：{date} {company}\\n正文：\\n{text}")
    values = {"title": None, "company": ["甲", "乙"], "text": "降息"}
    assert data.passage_text(values, template) == "发布日期： 甲,乙\n正文：\n降息"
    assert data.passage_text({"text": "降息", "title": "央行"}) == "央行\n降息"
    assert data.passage_text({"text": "{title}"}) == "{title}"
    assert data.passage_text({"text": "降息", "title": float("nan")}) == "降息"  # as pandas' records are dumped
    fields = "{title}, {date}, {company}, {institution}, {industry}, {text}"
    for wrong, what in (("{title}", "lacks {text}"), ("{text} {author}", "has {author}")):
        with pytest.raises(ValueError) as raised:
            data.checked_template(wrong)
        assert str(raised.value) == f"--passage_template {what}: it may hold {fields}"


def message(call, *arguments) -> str:
    with pytest.raises(UserError) as raised:
        call(*arguments)
    return str(raised.value)


def test_rows_of_files_and_folders_are_read_alike(tmp_path, training_rows):
    jsonl(tmp_path / "d" / "a.jsonl", training_rows[:2])
    jsonl(tmp_path / "d" / "b.json", training_rows[2:3])
    rows, dropped = data.read_training_rows([tmp_path / "d"])
    assert [row.query for row in rows] == [row["query"] for row in training_rows[:3]]
    assert dropped == 0
    assert rows[0].as_record() == training_rows[0]


def test_positives_of_the_query_leave_the_negatives_with_their_scores(tmp_path):
    rows = [
        {"query": "甲", "pos": ["一"], "neg": ["一", "二", "三"], "pos_scores": [0.9], "neg_scores": [0.9, 0.5, 0.4]},
        {"query": "甲", "pos": ["二"], "neg": ["四"]},
    ]
    read, dropped = data.read_training_rows([jsonl(tmp_path / "a.jsonl", rows)])
    assert dropped == 2
    assert (read[0].negatives, read[0].neg_scores) == (["三"], [0.4])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"query": "甲", "pos": []},
            " has no positives ('pos' is an empty list): give at least one, or remove the row",
        ),
        (
            {"query": "甲", "pos": ["一"], "neg": ["二", " "]},
            " has an empty text in 'neg' (number 2): fill it or take it out",
        ),
        ({"query": "", "pos": ["一"]}, " has '' for 'query': a text was expected; fill or drop the row"),
        ({"query": "甲", "pos": "一"}, " has '一' for 'pos': a list of texts was expected"),
        (
            {"query": "甲", "pos": ["一"], "neg": ["二"], "neg_scores": [1, 2]},
            " has 2 'neg_scores' for 1 texts: give one score a text, or none",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_named_by_line(tmp_path, row, expected):
    path = jsonl(tmp_path / "a.jsonl", [{"query": "乙", "pos": ["一"], "neg": []}, row])
    assert message(data.read_training_rows, [path]) == f"{path} line 2{expected}"


def test_a_file_without_rows(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [])
    expected = f"{path} holds no rows: each line has to be one object with 'query', 'pos' and 'neg'"
    assert message(data.read_training_rows, [path]) == expected


def test_beir(beir):
    found = benchmark.load(beir, "test")
    assert len(found.passages) == 32
    assert found.passages["p0"] == "半导体芯片\n行业需求回升订单增长。"
    assert list(found.passages) == sorted(found.passages, reverse=True)
    assert set(found.queries) == set(found.judgements) == {f"q{n}" for n in range(1, 32, 2)}


def test_sampling_keeps_relevant_passages(beir):
    full = benchmark.load(beir, "test")
    small = benchmark.sample(full, 4, 6, seed=1)
    assert (len(small.queries), len(small.passages)) == (4, 6)
    assert all(set(labels) <= set(small.passages) for labels in small.judgements.values())
    assert small == benchmark.sample(full, 4, 6, seed=1) != benchmark.sample(full, 4, 6, seed=2)
    assert benchmark.sample(full, 0, 0, seed=1) == full


def test_qrels_with_an_unknown_id(beir):
    path = beir / "qrels/test.tsv"
    path.write_text("query-id\tcorpus-id\tscore\nq1\tp99\t1\n")
    assert message(benchmark.load, beir, "test") == (
        f"{path} line 2 names the passage 'p99', which corpus.jsonl lacks: add it or remove the line"
    )
    path.write_text("query-id\tcorpus-id\tscore\nq99\tp1\t1\n")
    assert message(benchmark.load, beir, "test") == (
        f"{path} line 2 names the query 'q99', which queries.jsonl lacks: add it or remove the line"
    )
    path.write_text("query-id\tcorpus-id\tscore\nq1\tp1\thigh\n")
    assert message(benchmark.load, beir, "test") == f"{path} line 2 has 'high' for 'score': an integer was expected"
    path.write_text("query-id\tcorpus-id\tscore\nq1\tp1\t0.7\n")
    assert message(benchmark.load, beir, "test") == f"{path} line 2 has '0.7' for 'score': an integer was expected"
    path.write_text("query-id\tcorpus-id\tscore\nq1\tp1\t2.0\n")
    assert benchmark.load(beir, "test").judgements == {"q1": {"p1": 2}}
    path.write_text("query\tcorpus-id\tscore\nq1\tp1\t1\n")
    assert message(benchmark.load, beir, "test") == (
        f"{path} line 2 has no 'query-id': it has 'query', 'corpus-id', 'score'; "
        "rename the column or field, or name yours by a flag if there is one (-h)"
    )
    path.write_text("query-id\tcorpus-id\tscore\nq1\tp1\t0\n")
    assert message(benchmark.load, beir, "test") == (
        f"{path} has no relevant passage for any query: scores above 0 are relevant"
    )


def test_what_a_beir_folder_lacks(beir, tmp_path):
    assert message(benchmark.load, beir, "train") == (
        f"{beir} has no qrels/train.tsv; it has: dev, test. Choose one by --split"
    )
    (beir / "queries.jsonl").unlink()
    assert message(benchmark.load, beir, "test") == (
        f"{beir} has no queries.jsonl: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/"
    )
    assert message(benchmark.load, tmp_path / "x", "test") == (
        f"{tmp_path / 'x'} does not exist: --data names a BEIR folder, a file of labelled pairs or a Hub data set of "
        "such pairs (valuesimplex-ai-lab/FIR-Bench-…)"
    )


def test_a_data_set_of_the_hub_is_read_like_a_file(tmp_path, monkeypatch):
    """FIR-Bench by its name: the split that is asked for, or the only one."""
    import datasets

    path = tmp_path / "pairs.jsonl"
    rows = [{"query": "净利润", "title": "年报", "passage": f"段落{n}", "label": n % 2} for n in range(4)]
    files.write_rows(path, rows)
    read = datasets.load_dataset
    stored = {"one": {"train": str(path)}, "two": {"train": str(path), "test": str(path)}}
    monkeypatch.setattr(
        datasets, "load_dataset",
        lambda name: read("json", data_files=stored[name.split("/")[1]], cache_dir=str(tmp_path / "cache")),
    )  # fmt: skip
    expected = benchmark.load(path, "test")
    for name in ("valuesimplex-ai-lab/one", "valuesimplex-ai-lab/two"):
        found = benchmark.load(name, "test")
        assert (found.passages, found.queries, found.judgements) == (
            expected.passages, expected.queries, expected.judgements,
        )  # fmt: skip
        assert all(file.is_file() for file in found.files) and found.files
    assert message(benchmark.load, "valuesimplex-ai-lab/two", "dev") == (
        "valuesimplex-ai-lab/two has no split dev; it has: test, train. Choose one by --split"
    )


def test_a_data_set_that_is_not_there_says_how_to_go_on():
    found = message(benchmark.load, "valuesimplex-ai-lab/no-such-set", "test")
    assert found.startswith("the data set 'valuesimplex-ai-lab/no-such-set' could not be loaded (")
    assert found.endswith("(HF_ENDPOINT names a mirror, HF_TOKEN a token), or download it elsewhere and give its file")


def test_an_id_that_comes_twice_and_broken_json(beir):
    path = jsonl(beir / "queries.jsonl", [{"_id": "q1", "text": "甲"}, {"_id": "q1", "text": "乙"}])
    assert message(benchmark.load, beir, "test") == (
        f"{path} line 2 has the _id 'q1' a second time: ids have to be unique; remove one"
    )
    path.write_text('{"_id": "q1", "text": \n')
    assert message(benchmark.load, beir, "test") == (
        f"{path} line 1 is not JSON (Expecting value at column 23): "
        "each line has to be one whole object; mend or remove the line"
    )


def test_a_share_is_no_label(tmp_path):
    """Cut to an integer 0.9 would be not relevant."""
    path = jsonl(tmp_path / "fir.jsonl", [{"query": "甲", "passage": "一", "label": n} for n in (1, 0.9)])
    assert message(benchmark.load, path, "test") == f"{path} line 2 has 0.9 for 'label': an integer was expected"


def test_flat_records_and_their_unsure_labels(tmp_path):
    rows = [
        {"question": "甲", "title": "题", "passage": "一", "label": 2},
        {"question": "甲", "passage": "二", "label": 1},
        {"query": "乙", "passage": "二", "label": 2},
        {"query": "丙", "passage": "三", "label": 0},
    ]
    found = benchmark.load(jsonl(tmp_path / "fir.jsonl", rows), "test")
    assert sorted(found.passages.values()) == sorted(["题\n一", "二", "三"])
    assert list(found.queries.values()) == ["甲", "乙"]
    assert [list(labels.values()) for labels in found.judgements.values()] == [[1], [1]]
    binary = [{"query": "甲", "passage": "一", "label": 1}, {"query": "甲", "passage": "二", "label": 0}]
    found = benchmark.load(jsonl(tmp_path / "fir.jsonl", binary), "test")
    assert sorted(next(iter(found.judgements.values())).values()) == [0, 1]


def test_a_passage_with_a_title_and_an_empty_text_is_its_title(tmp_path):
    """Not one of which nothing would be seen, and not one whose text may go by another name."""
    path = tmp_path / "pool.jsonl"
    jsonl(path, [{"title": "光伏周报", "text": " "}, {"title": "煤炭", "text": "产量"}])
    assert data.read_pool(path) == ["光伏周报", "煤炭\n产量"]
    for row, told in (
        ({"title": "", "text": ""}, "has '' for 'text': a text was expected; fill or drop the row"),
        ({"title": "光伏", "content": "产量"}, "has no 'text': it has 'title', 'content'; rename"),
    ):
        jsonl(path, [row])
        with pytest.raises(UserError, match=f"line 1 {told}"):
            data.read_pool(path)
    jsonl(path, [{"title": "光伏周报", "text": ""}])
    with pytest.raises(UserError, match="line 1 has '' for 'text'"):
        data.read_pool(path, "{text}")
