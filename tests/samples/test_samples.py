"""The committed sample files are what the generator writes, and they keep the repository's formats."""

import csv
import io
import json
import sys
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from finbert2.samples.__main__ import main
from finbert2.samples.grammar import Grammar, stream

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "dev", "test")
BEIR = "Fin-retriever/sample_beir"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("samples")
    main(["--output_dir", str(folder)])
    written = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in written}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def sentences(text: str) -> list[list[tuple[str, str]]]:
    lines = groupby(text.split("\n"), key=bool)
    return [[tuple(line.split(" ")) for line in block] for filled, block in lines if filled]


def test_the_command_writes_the_committed_bytes(files: dict[str, str]) -> None:
    stale = [name for name, text in files.items() if (ROOT / name).read_bytes() != text.encode()]
    assert not stale, "run `python -m finbert2.samples` and commit the result"


def test_an_installed_package_writes_where_you_are(files, tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(sys.modules[main.__module__], "ROOT", tmp_path / "lib")
    monkeypatch.chdir(tmp_path / "here")
    main([])
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert sum(path.is_file() for path in (tmp_path / "here").rglob("*")) == len(files)


def test_the_files_are_small(files: dict[str, str]) -> None:
    assert sum(len(text.encode()) for text in files.values()) < 4_000_000


def test_another_seed_writes_other_texts() -> None:
    rules = Grammar({"a": ["{b} {#1-9.2}"], "b": ["x{c}", "y"], "c": ["{k=d}{k}"], "d": ["1", "2"]})
    texts = {rules.write("a", stream(seed, "test")) for seed in range(20)}
    assert len(texts) > 5
    assert all(text[:4] in ("x11 ", "x22 ") or text[:2] == "y " for text in texts)


def test_the_corpus_has_documents_of_each_kind_and_copies(files: dict[str, str]) -> None:
    documents = objects(files["FinBERT2/pretrain/sample_data.jsonl"])
    assert {document["source"] for document in documents} == {"announcement", "news", "report", "minutes"}
    texts = [document["text"] for document in documents]
    assert 0.02 < 1 - len(set(texts)) / len(texts) < 0.10
    assert max(map(len, texts)) > 2000
    assert len(files["FinBERT2/pretrain_wordpiece_tokenizer/sample_corpus.txt"].splitlines()) == 400


@pytest.mark.parametrize("task", ["SC_2", "SC_4", "industry"])
def test_classification(files: dict[str, str], task: str) -> None:
    parts = {split: rows(files[f"Fin-labeler/{task}/{split}.csv"]) for split in SPLITS}
    texts = [row["text"] for part in parts.values() for row in part]
    assert len(texts) == len(set(texts))
    labels = {split: {row["label"] for row in part} for split, part in parts.items()}
    assert labels["dev"] | labels["test"] <= labels["train"]
    if task != "industry":
        assert {row["label"] for row in rows(files[f"Fin-labeler/{task}/labels.csv"])} == labels["train"]


@pytest.mark.parametrize(("task", "kind"), [("company_ner", "ORG"), ("person_ner", "PER")])
def test_entities(files: dict[str, str], task: str, kind: str) -> None:
    parts = {split: sentences(files[f"Fin-labeler/{task}/{split}.txt"]) for split in SPLITS}
    assert [len(part) for part in parts.values()] == [700, 120, 250]
    texts = ["".join(char for char, _ in sentence) for part in parts.values() for sentence in part]
    assert len(texts) == len(set(texts))
    for sentence in (sentence for part in parts.values() for sentence in part):
        assert {tag for _, tag in sentence} <= {"O", f"B-{kind}", f"I-{kind}"}
        tags = ["O", *(tag for _, tag in sentence)]
        assert all(before != "O" for before, tag in pairwise(tags) if tag.startswith("I-"))
        assert all(len(char) == 1 and not char.isspace() for char, _ in sentence)


def test_retrieval(files: dict[str, str]) -> None:
    passages = {row["_id"]: row["text"] for row in objects(files[f"{BEIR}/corpus.jsonl"])}
    queries = {row["_id"]: row["text"] for row in objects(files[f"{BEIR}/queries.jsonl"])}
    assert len(queries) == len(set(queries.values()))
    judged = {}
    for split in SPLITS:
        header, *pairs = (line.split("\t") for line in files[f"{BEIR}/qrels/{split}.tsv"].splitlines())
        assert header == ["query-id", "corpus-id", "score"]
        assert all(query in queries and passage in passages for query, passage, _ in pairs)
        judged[split] = {(query, passage) for query, passage, _ in pairs}
    queries_of = [{query for query, _ in judged[split]} for split in SPLITS]
    passages_of = [{passage for _, passage in judged[split]} for split in SPLITS]
    for first, second, third in (queries_of, passages_of):
        assert not (first & second or first & third or second & third)
    triples = objects(files["Fin-retriever/finetune_traindata_sample.json"])
    assert {row["query"] for row in triples} == {queries[query] for query in queries_of[0]}
    for row in triples:
        assert 1 <= len(row["pos"]) <= 2
        assert 8 <= len(row["neg"]) <= 15
        assert not set(row["pos"]) & set(row["neg"])
        assert {*row["pos"], *row["neg"]} <= set(passages.values())


def test_the_example_has_seven_passages(files: dict[str, str]) -> None:
    passages = objects(files["Fin-retriever/sample_passages.jsonl"])
    fields = {"id", "title", "text", "date", "company", "institution", "industry"}
    assert len(passages) == 7
    assert all(passage.keys() == fields for passage in passages)


def test_topic_files(files: dict[str, str]) -> None:
    titles = rows(files["Fin-Topicmodel/sample_titles.csv"])
    assert list(titles[0]) == ["title", "date", "industry", "org"]
    assert len({row["industry"] for row in titles}) == 24
    assert [row["date"] for row in titles] == sorted(row["date"] for row in titles)
    for name in ("stopwords_cn.txt", "userdict.txt"):
        words = files[f"Fin-Topicmodel/{name}"].split("\n")[:-1]
        assert words == sorted(set(words))
        assert all(word == word.strip() and word for word in words)
    stopwords = files["Fin-Topicmodel/stopwords_cn.txt"].split()
    assert all(word == word.lower() for word in stopwords)
    assert not {"利率", "能源", "设备", "消费"} & set(stopwords)
