import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from finbert2 import errors
from finbert2.retriever import data, index, milvus, search

from .conftest import FACTS, TOPICS, jsonl, refused

SCRIPTS = Path(__file__).parents[2] / "Fin-retriever"


@pytest.fixture
def passages(tmp_path) -> Path:
    rows = [
        {"id": f"p{t}{f}", "title": topic, "text": f"行业{fact}。", "industry": topic, "date": f"2024-0{f + 1}-01"}
        for t, topic in enumerate(TOPICS)
        for f, fact in enumerate(FACTS)
    ]
    return jsonl(tmp_path / "passages.jsonl", rows)


def call(command, *argv):
    command([str(word) for word in argv])


def hits(capsys, *argv):
    capsys.readouterr()
    call(search.main, *argv, "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_is_indexed_is_found(tmp_path, passages, tiny_encoder, capsys):
    uri = tmp_path / "p.db"
    where = ("--uri", uri)
    call(index.main, "--model_name_or_path", tiny_encoder, "--corpus", passages, *where, "--write_size", 10)
    written = json.loads((tmp_path / "p.db.results.json").read_text())
    assert (written["written"], written["unchanged"], written["shortened"]) == (32, 0, 0)
    for mode in ("bm25", "dense", "hybrid"):
        found = hits(capsys, *where, "--mode", mode, "--query", "白酒消费\n行业价格下跌利润承压。", "--top_k", 3)
        assert [hit["rank"] for hit in found] == [1, 2, 3]
        assert found[0]["score"] >= found[1]["score"] > 0
        if mode != "dense":  # the query's prompt moves an untrained encoder away from the passage itself
            assert found[0]["id"] == "p31"
    found = hits(capsys, *where, "--query", "利润", "白酒", "--filter", 'industry == "煤炭开采" and date >= "2024-03"')
    assert {hit["id"] for hit in found} == {"p72", "p73"}
    assert {hit["query"] for hit in found} == {"利润", "白酒"}
    call(search.main, *where, "--query", "白酒消费", "--mode", "bm25", "--top_k", 1)
    assert "白酒消费 · 2024-0" in capsys.readouterr().out

    rows = [json.loads(line) for line in passages.read_text().splitlines()]
    rows[0]["text"] = "光伏" * 50_000
    call(index.main, "--model_name_or_path", tiny_encoder, "--corpus", jsonl(passages, rows), *where)
    again = json.loads((tmp_path / "p.db.results.json").read_text())
    assert (again["written"], again["windows"], again["unchanged"], again["shortened"]) == (1, 223, 31, 0)
    found = hits(capsys, *where, "--query", "光伏光伏", "--mode", "bm25", "--top_k", 5)
    assert [hit["id"] for hit in found].count("p00") == 1
    rows[0]["text"] = "白酒"
    call(index.main, "--model_name_or_path", tiny_encoder, "--corpus", jsonl(passages, rows), *where)
    assert hits(capsys, *where, "--query", "光伏光伏", "--mode", "bm25", "--filter", 'document == "p00"') == []
    call(index.main, *where, "--delete", "p00", "p01", "nobody")
    assert json.loads((tmp_path / "p.db.results.json").read_text())["deleted"] == 2
    left = hits(capsys, *where, "--query", "半导体", "--mode", "dense", "--top_k", 40)
    assert len({hit["id"] for hit in left}) == len(left) == 30
    argv = ["--model_name_or_path", tiny_encoder, "--corpus", passages, *where, "--window", 300, "--stride", 300]
    assert refused(capsys, index.main, argv) == (
        "error: the collection 'passages' was made with --window 500, not 300: "
        "give the same, or index into another collection"
    )

    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    from safetensors.torch import load_file, save_file

    save_file(
        {k: v + torch.ones(()) for k, v in load_file(other / "model.safetensors").items()}, other / "model.safetensors"
    )
    for command, argv in (
        (index.main, ["--model_name_or_path", other, "--corpus", passages, *where]),
        (search.main, ["--model_name_or_path", other, "--query", "甲", *where]),
    ):
        message = refused(capsys, command, argv)
        assert message.startswith(f"error: the collection 'passages' holds vectors of {tiny_encoder} (weights ")
        assert message.endswith("name that model by --model_name_or_path, or index into another collection")
    assert refused(capsys, search.main, [*where, "--query", "甲", "--collection", "x"]) == (
        "error: there is no collection 'x'; there are: passages. Choose one by --collection"
    )
    message = refused(capsys, search.main, [*where, "--query", "甲", "--filter", 'sector == "电子"', "--mode", "bm25"])
    assert message == "error: Milvus refused the search: unknown field 'sector' at column 1"
    gone = tmp_path / "gone"
    other.rename(gone)
    where = ["--uri", tmp_path / "moved.db"]
    call(index.main, "--model_name_or_path", gone, "--corpus", passages, *where)
    gone.rename(other)
    assert refused(capsys, search.main, [*where, "--query", "甲"]) == (
        f"error: the collection 'passages' was indexed by the encoder in {gone}, which is not there: name the folder "
        "where it lies now by --model_name_or_path, or search by --mode bm25"
    )
    assert hits(capsys, *where, "--query", "白酒", "--model_name_or_path", other)


@pytest.fixture
def long_document(tmp_path, tiny_encoder):
    """The flags that index one document of three windows."""
    corpus = jsonl(tmp_path / "long.jsonl", [{"id": "d", "text": "光伏组件产能扩张白酒消费煤炭"}])
    where = ["--uri", tmp_path / "l.db", "--model_name_or_path", tiny_encoder, "--window", 6, "--stride", 4]
    return corpus, [*where, "--corpus", corpus]


def test_what_a_killed_run_left_of_a_document_is_found_and_goes(tmp_path, long_document):
    corpus, flags = long_document
    written = tmp_path / "l.db.results.json"
    options = index.IndexArguments("l.db", "c", window=6, stride=4)
    (row,) = index.records(str(corpus), data.TEMPLATE)
    assert [part["id"] for part in index.windowed(row, options)] == ["d#1", "d#2", "d"]

    def killed():
        """Leave what a run that died before its last write leaves, its first window not among it."""
        call(index.main, *flags)
        client = milvus.connect(str(tmp_path / "l.db"), must_exist=True)
        client.delete("passages", ids=["d"])
        client.close()

    def windows():
        client = milvus.connect(str(tmp_path / "l.db"), must_exist=True)
        client.load_collection("passages")
        found = client.query("passages", filter='document == "d"', output_fields=["id"])
        client.close()
        return sorted(hit["id"] for hit in found)

    killed()
    assert windows() == ["d#1", "d#2"]
    call(index.main, *flags[:2], "--delete", "d", "d#1")
    assert (json.loads(written.read_text())["deleted"], windows()) == (1, [])
    killed()
    jsonl(corpus, [{"id": "d", "text": "光伏"}])
    call(index.main, *flags)
    assert windows() == ["d"]


def test_ids_that_cannot_be_kept(tmp_path):
    """Too long, or a window's of another document; passages cut before, without their document, are welcome."""
    path = jsonl(tmp_path / "i.jsonl", [{"id": "d#0", "text": "甲"}, {"id": "长" * 167, "text": "甲"}])
    with pytest.raises(errors.UserError) as raised:
        index.check_ids(str(path), 500)
    assert str(raised.value) == (
        f"{path} line 2 has an id of 501 bytes ('{'长' * 20}…'): Milvus holds 500; shorten it, or leave it out: "
        "the content's hash is then the id"
    )
    jsonl(path, [{"id": "d#1", "text": "甲"}, {"id": "d#2", "text": "乙"}, {"id": "e", "text": "丙"}, {"text": "丁"}])
    index.check_ids(str(path), 500)
    jsonl(path, [{"id": "d#12", "text": "甲"}, {"id": "e", "text": "乙"}, {"id": "d", "text": "丙"}])
    index.check_ids(str(path), 0)
    with pytest.raises(errors.UserError) as raised:
        index.check_ids(str(path), 500)
    assert str(raised.value) == (
        f"{path} line 1 has the id 'd#12', which a window of 'd' would have: rename it, or index into another "
        "--collection without windows, by --window 0"
    )


def test_any_id_is_written_found_again_and_deleted(tmp_path, tiny_encoder):
    ids = ["Moody's-1", 'a"b', "a\\b", "a\nb", "x' or 1 == 1 or '", "𠮷%_"]
    corpus = jsonl(tmp_path / "q.jsonl", [{"id": key, "text": "光伏组件产能扩张白酒消费"} for key in ids])
    where = ["--uri", tmp_path / "q.db"]
    argv = [*where, "--corpus", corpus, "--model_name_or_path", tiny_encoder, "--window", 6, "--stride", 4]
    for counts in ((6, 0), (0, 6)):
        call(index.main, *argv)
        written = json.loads((tmp_path / "q.db.results.json").read_text())
        assert (written["written"], written["unchanged"]) == counts
    call(index.main, *where, "--delete", *ids)
    assert json.loads((tmp_path / "q.db.results.json").read_text())["deleted"] == 6


def test_rows_of_one_id_are_counted(tmp_path, caplog):
    rows = [{"id": "x", "text": "甲"}, {"id": "x", "text": "乙"}, {"id": 7, "text": "丙"}, {"id": "7", "text": "丁"}]
    path = jsonl(tmp_path / "i.jsonl", [*rows, {"text": "戊"}, {"text": "戊"}])
    with caplog.at_level("WARNING"):
        index.check_ids(str(path), 500)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 2 rows have the id of another row; of such rows the last one is kept"
    ]


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("2024/3/5", True),
        ("2024-03-5", True),
        ("2024年3月", True),
        ("2024-03-05 9:30", False),
        ("20240305", False),
        (None, False),
    ],
)
def test_a_date_that_a_filter_would_misplace_is_told_once(tmp_path, caplog, date, told):
    corpus = jsonl(tmp_path / "d.jsonl", [{"text": "甲", "date": date}, {"text": "乙", "date": date}])
    index.check_ids(str(corpus), 500)
    said = f"{corpus} line 1 has the date {date}: --filter compares dates as text, write them as 2024-03-05"
    assert caplog.messages == ([said] if told else [])


def test_messages_without_a_store(tmp_path, passages, capsys):
    missing = tmp_path / "no.db"
    assert refused(capsys, search.main, ["--uri", missing, "--query", "甲"]) == (
        f"error: --uri {missing} does not exist: make it by `finbert2 retriever index`, or check the path"
    )
    assert not missing.exists()
    assert refused(capsys, search.main, ["--uri", "index", "--query", "甲"]) == (
        "error: --uri index: name a file that ends in .db (Milvus Lite), or a server as http://host:19530"
    )
    assert refused(capsys, search.main, ["--uri", "http://127.0.0.1:9", "--query", "甲"]) == (
        "error: Milvus at http://127.0.0.1:9 does not open (Fail connecting to server on 127.0.0.1:9, illegal "
        "connection params or server unavailable): is the server up, and is MILVUS_TOKEN set if it asks for one?"
    )
    name = "finbert2 retriever search: error: "
    assert refused(capsys, search.main, ["--uri", "a.db", "--query", " "]) == f"{name}--query is empty: give a text"
    empty = jsonl(tmp_path / "e.jsonl", [])
    assert refused(capsys, index.main, ["--corpus", empty, "--uri", missing]) == (
        f"error: {empty} holds no passages: each row has to have 'text'"
    )


def test_passages_without_id_get_their_contents_hash(tmp_path):
    """Metadata is content: the same words of two companies are two announcements."""
    path = tmp_path / "p.csv"
    path.write_text("text,company\n甲公司,甲\n甲公司,甲\n甲公司,乙\n")
    first, second, third = index.records(str(path), data.TEMPLATE)
    assert first == second and first["id"] != third["id"]
    assert (len(first["id"]), first["company"], first["title"]) == (16, "甲", "")


@pytest.mark.parametrize("script", ["hn_mine", "contrastive_finetune", "evaluate", "index", "search"])
def test_scripts_parse_and_pass_flags_on(script):
    path = SCRIPTS / f"{script}.sh"
    assert subprocess.run(["sh", "-n", path]).returncode == 0
    assert path.read_text().endswith('  "$@"\n')


@pytest.mark.parametrize("first", ["long", "named"])
def test_a_window_is_not_written_over_another_document_nor_it_over_a_window(tmp_path, long_document, capsys, first):
    """In two runs; within one file it is told before."""
    corpus, flags = long_document
    named = jsonl(tmp_path / "named.jsonl", [{"id": "d#1", "text": "煤炭"}])
    order = [corpus, named] if first == "long" else [named, corpus]
    call(index.main, *flags[:-1], order[0])
    names = ("d#1", "d") if first == "long" else ("d", "d#1")
    assert refused(capsys, index.main, [*flags[:-1], order[1]]) == (
        f"error: '{names[0]}' would be written over '{names[1]}' of the collection: both have the id 'd#1', one of "
        "them for a window; rename it, or index into another --collection"
    )
    assert len(hits(capsys, *flags[:2], "--query", "煤炭", "--mode", "bm25")) == 1
    call(index.main, *flags[:-1], order[0])
