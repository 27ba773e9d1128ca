"""The collection itself: what a search of it finds, and what it is sent."""

import json
import subprocess
import sys

import pytest

from finbert2.retriever import milvus

from .conftest import TOPICS, jsonl


def test_scores_are_signed_cosines(tmp_path):
    client = milvus.connect(str(tmp_path / "s.db"), must_exist=False)
    milvus.create(client, "passages", {"name": "hand", "fingerprint": "0", "width": 2}, exact=True)
    vectors = {"same": [0.6, 0.8], "across": [0.8, -0.6], "against": [-0.6, -0.8]}
    fields = dict.fromkeys(milvus.METADATA, "") | {"text": "甲", "digest": "", "tokens": milvus.tokens("甲")}
    client.insert("passages", [{"id": i, "document": i, "dense": v, **fields} for i, v in vectors.items()])
    (hits,) = milvus.search(client, "passages", "dense", [[0.6, 0.8]], ["甲"], 3, "")
    client.close()
    assert [hit["id"] for hit in hits] == list(vectors)
    assert [hit["score"] for hit in hits] == pytest.approx([1, 0, -1], abs=1e-6)


def test_a_server_is_sent_no_more_than_it_takes_at_a_time(monkeypatch):
    class Server:
        messages: list[list[str]] = []

        def upsert(self, collection, rows):
            self.messages.append([row["id"] for row in rows])

    monkeypatch.setattr(milvus, "MAX_MESSAGE", 2 * 100)
    rows = [
        {"id": str(number), "tokens": "a" * size, "dense": [0.0] * 4} for number, size in enumerate((1, 9, 8, 99, 3))
    ]
    milvus.upsert(Server(), "passages", rows)  # of 24, 56, 52, 416, 32 bytes at most
    assert Server.messages == [["0", "1"], ["2"], ["3"], ["4"]]
    milvus.upsert(Server(), "passages", [])
    assert len(Server.messages) == 4


@pytest.mark.parametrize(
    ("k", "windows", "depths"),
    [
        (3, 10**6, [6, 48, 384, 3072, 16_384]), (3, 100, [6, 48, 384]), (3, 5, [6]),
        (2000, 10**6, [4000, 16_384]), (8192, 10**6, [16_384]),
    ],
)  # fmt: skip
def test_a_document_of_many_windows_is_asked_past_as_far_as_milvus_gives_hits(monkeypatch, k, windows, depths):
    asked = []

    def windows_of(client, collection, mode, vectors, queries, depth, where):
        asked.append(depth)
        return [[{"document": "d", "id": f"d#{n}"} for n in range(min(depth, windows))] for _ in queries]

    monkeypatch.setattr(milvus, "windows_of", windows_of)
    assert milvus.search(None, "passages", "bm25", [], ["甲"], k, "") == [[{"id": "d"}]]
    assert asked == depths


def test_a_filter_loses_nothing_in_a_process_that_only_searches(tmp_path, tiny_encoder):
    """There Milvus Lite loads what was written; a graph would be walked past most of what the filter lets through."""
    rows = [{"id": str(n), "text": f"{TOPICS[n % 3]}{n}", "company": f"{n % 150}"} for n in range(1500)]
    corpus = jsonl(tmp_path / "c.jsonl", rows)

    def process(verb, *flags):
        words = [sys.executable, "-m", "finbert2", "retriever", verb, "--uri", str(tmp_path / "f.db"), *flags]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    process("index", "--corpus", str(corpus), "--model_name_or_path", tiny_encoder, "--window", "0")
    said = process(
        "search", "--query", "白酒1", "--mode", "dense", "--top_k", "10", "--filter", 'company == "7"', "--json"
    )
    assert {json.loads(line)["id"] for line in said.splitlines()} == {str(n) for n in range(7, 1500, 150)}
