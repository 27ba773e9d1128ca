import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finbert2.corpus import blocks, reading
from finbert2.errors import UserError


def read(tasks) -> list[str]:
    return [r.values["text"] for task in tasks for block in task for r in reading.read_block(block, reading.stop)]


@given(lines=st.lists(st.text("甲乙丙\r ", max_size=9), max_size=40), size=st.integers(1, 80), end=st.booleans())
def test_pieces_of_a_file_are_whole_lines_with_their_numbers(tmp_path_factory, lines, size, end):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    data = "\n".join(lines).encode() + (b"\n" if end and lines else b"")
    path.write_bytes(data)
    pieces = list(blocks.cut_lines(path, size))
    assert b"".join(data[start:stop] for start, stop, _ in pieces) == data
    for start, stop, line in pieces:
        assert line == data[:start].count(b"\n") + 1 and (stop == len(data) or data[stop - 1 : stop] == b"\n")
        assert stop - start >= size or stop == len(data)


def test_a_line_is_passed_by_a_piece_at_a_time(tmp_path, monkeypatch):
    """One that is too long to be held is refused by its reader, who has to come to it."""
    monkeypatch.setattr(blocks, "SCAN", 4)
    (tmp_path / "a.txt").write_bytes(b"a\n" + b"b" * 30 + b"\nc\n" + b"d" * 9)
    assert list(blocks.cut_lines(tmp_path / "a.txt", 3)) == [(0, 33, 1), (33, 44, 3)]


@pytest.mark.parametrize("at_least", [1, 2, 7, 40])
def test_each_document_belongs_to_one_task(tmp_path, at_least):
    import datasets
    import pyarrow
    import pyarrow.parquet

    texts = {name: [f"{name}第{n}篇文档的正文" for n in range(23)] for name in ("a", "b", "c", "d", "e")}
    rows = {name: "".join(json.dumps({"text": t}) + "\n" for t in texts[name]) for name in "ab"}
    (tmp_path / "a.jsonl").write_text(rows["a"])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(rows["b"].encode()))
    (tmp_path / "c.csv").write_text("text,n\n" + "".join(f'"{t}",1\n' for t in texts["c"]), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"text": texts["d"]}), tmp_path / "d.parquet", row_group_size=5)
    datasets.Dataset.from_dict({"text": texts["e"]}).save_to_disk(str(tmp_path / "e"))
    found = blocks.sources([tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.csv", "d.parquet", "e")])
    tasks, count = blocks.divide(found, at_least, count=True)
    assert count == 5 * 23 and sorted(read(tasks)) == sorted(sum(texts.values(), []))
    assert len(tasks) >= min(at_least, 5) and all(tasks)


def test_places_are_those_of_the_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{n}甲\n" for n in range(1, 101)), encoding="utf-8")
    tasks, _ = blocks.divide([path], 9, count=False)
    records = [r for task in tasks for block in task for r in reading.read_block(block, reading.stop)]
    assert len(tasks) >= 8
    assert all(r.place == f"{path} line {r.number + 1}" and r.values["text"] == f"{r.number + 1}甲" for r in records)


def test_a_folder_is_read_in_sorted_order_and_splits_of_a_saved_dataset_are_found(tmp_path):
    import datasets

    for name in ("b.txt", "a.jsonl", "c.md", "d.parquet"):
        (tmp_path / name).write_text("x")
    names = [path.name for path in blocks.sources([tmp_path])]
    assert names == ["a.jsonl", "b.txt", "d.parquet"]
    saved = datasets.DatasetDict({part: datasets.Dataset.from_dict({"text": [part]}) for part in ("train", "test")})
    saved.save_to_disk(str(tmp_path / "s"))
    assert [path.name for path in blocks.sources([tmp_path / "s"])] == ["test", "train"]


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(UserError) as refused:
        blocks.sources([tmp_path / "a.pdf"])
    assert str(refused.value) == (
        f"{tmp_path}/a.pdf has the suffix '.pdf': .jsonl, .json, .csv, .tsv, .txt, .parquet are read, "
        "text also as .gz or .zst, and folders saved by datasets"
    )
    (tmp_path / "b.parquet").write_bytes(b"\x00\x01 not parquet at all")
    with pytest.raises(UserError, match=r"b.parquet is not Parquet \(.*\): make or fetch it anew"):
        blocks.divide([tmp_path / "b.parquet"], 1, count=False)


@pytest.mark.parametrize(("data", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\n\nb", 3), (b"\n", 1)])
def test_lines_are_counted_as_they_are_numbered(tmp_path, data, lines):
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
    assert blocks.count_records(tmp_path / "a.txt") == blocks.count_records(tmp_path / "a.txt.gz") == lines


def test_rows_of_a_csv_are_counted_as_they_are_numbered_bad_ones_too(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,n\n"a\nb",1\nc,2,3\n' + "\u6da8".encode("gb18030") + b",4\n\nd,5\n")
    counted: list[str] = []
    block = blocks.Block(str(path), "strided", 0, 1)
    read = list(reading.read_block(block, lambda reason, message: counted.append(reason)))
    assert blocks.count_records(path) == read[-1].number + 1 == 4 and counted == ["not_csv", "not_utf8"]


def test_what_cannot_be_counted_is_named(tmp_path):
    (tmp_path / "a.csv").write_text('text\na\n"b\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"x\n" * 99)[:-9])
    for name, message in (
        ("a.csv", "line 3 is not CSV (unexpected end of data): mend the quotes of the line"),
        ("b.jsonl.gz", "cannot be unpacked (Compressed file ended before the end-of-stream marker was reached): "
         "make or fetch it anew"),
    ):  # fmt: skip
        with pytest.raises(UserError) as refused:
            blocks.count_records(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name} {message}"
