import gzip
import json

import pytest
from datatrove.data import Document

from finbert2.corpus.shards import SOURCE, SPLIT, CleanedReader, CleanedWriter, Samples, ShardWriter


def documents(count: int):
    for n in range(count):
        yield Document(text=f"第{n}篇", id=f"a line {n}", metadata={"n": n, SPLIT: "train", SOURCE: "a"})


def test_what_a_stage_writes_the_next_reads(tmp_path):
    written = list(CleanedWriter(tmp_path).run(documents(5), rank=3))
    assert list(CleanedReader(tmp_path).run(rank=3)) == written and len(written) == 5


def test_shards_are_bounded_and_numbered(tmp_path):
    line = len(json.dumps({"text": "第0篇", "n": 0}, ensure_ascii=False, separators=(",", ":")).encode()) + 1
    assert len(list(ShardWriter(tmp_path, 3 * line).run(documents(8), rank=2))) == 8
    shards = sorted((tmp_path / "train").iterdir())
    assert [path.name for path in shards] == ["00002-000.jsonl.gz", "00002-001.jsonl.gz", "00002-002.jsonl.gz"]
    rows = [[json.loads(x) for x in gzip.decompress(path.read_bytes()).decode().splitlines()] for path in shards]
    assert [len(some) for some in rows] == [3, 3, 2]
    assert sum(rows, []) == [{"text": f"第{n}篇", "n": n} for n in range(8)]


def test_a_document_larger_than_a_shard_has_its_own(tmp_path):
    list(ShardWriter(tmp_path, 1).run(documents(2)))
    assert len(list((tmp_path / "train").iterdir())) == 2


def test_the_same_documents_make_the_same_bytes(tmp_path):
    for name in "ab":
        list(ShardWriter(tmp_path / name, 10**6).run(documents(9)))
    one, other = (tmp_path / name / "train" / "00000-000.jsonl.gz" for name in "ab")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("step", [CleanedWriter, lambda folder: ShardWriter(folder, 10**6)])
def test_a_file_appears_only_when_it_is_whole(tmp_path, step):
    running = step(tmp_path).run(documents(9))
    for _ in range(5):
        next(running)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names and all(name.startswith(".") and name.endswith(".part") for name in names)
    list(running)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names and not any(name.endswith(".part") for name in names)


def test_samples_of_parts_make_the_sample_of_the_whole():
    whole, merged, parts = Samples(5), Samples(5), [Samples(5), Samples(5)]
    for n in range(40):
        whole.add("table", f"a line {n}", f"文{n}")
        parts[n % 2].add("table", f"a line {n}", f"文{n}")
    for part in parts:
        for row in part.rows("table"):
            merged.add("table", row["place"], row["text"])
    assert list(merged.rows("table")) == list(whole.rows("table")) and len(list(whole.rows("table"))) == 5
    assert list(whole.rows("other")) == []
