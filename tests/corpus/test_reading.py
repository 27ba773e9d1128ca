import datetime
import gzip

import numpy as np
import pytest

from finbert2.corpus import blocks, reading
from finbert2.errors import UserError

GBK = "净利润".encode("gb18030")


def records(path, skip=reading.stop, wanted=None):
    tasks, _ = blocks.divide([path], 1, count=False)
    return [r for task in tasks for block in task for r in reading.read_block(block, skip, wanted)]


def skipped(path):
    """What `--errors skip` hears, and the texts that are read beside it."""
    heard = []
    texts = [r.values["text"] for r in records(path, lambda reason, message: heard.append((reason, message)))]
    return heard, texts


@pytest.mark.parametrize(
    ("name", "data", "reason", "message"),
    [
        (
            "a.txt", "好\n".encode() + GBK + "\n好\n".encode(), "not_utf8",
            "{path} line 2 is not UTF-8 (invalid start byte, byte 0xbe): convert the file, for example: "
            "iconv -f GB18030 -t UTF-8 a.txt > a.utf8.txt, or pass over such lines: --errors skip",
        ),
        (
            "a.jsonl", '{"text":"好"}\n{"text":"'.encode() + GBK + '"}\n{"text":"好"}\n'.encode(), "not_utf8",
            "{path} line 2 is not UTF-8 (invalid start byte, byte 0xbe): convert the file, for example: "
            "iconv -f GB18030 -t UTF-8 a.jsonl > a.utf8.jsonl, or pass over such lines: --errors skip",
        ),
        (
            "a.csv", "text,n\n好,1\n".encode() + GBK + ",2\n好,3\n".encode(), "not_utf8",
            "{path} line 3 is not UTF-8 (invalid start byte, byte 0xbe): convert the file, for example: "
            "iconv -f GB18030 -t UTF-8 a.csv > a.utf8.csv, or pass over such lines: --errors skip",
        ),
        (
            "a.jsonl", '{"text":"好"}\n{"text":\n\n{"text":"好"}\n'.encode(), "not_json",
            "{path} line 2 is not JSON (unexpected end of data at column 9): "
            "each line has to be one whole object; mend or remove the line",
        ),
        (
            "a.jsonl", '{"text":"好"}\n["好"]\n{"text":"好"}\n'.encode(), "not_json",
            "{path} line 2 holds a list: each line has to be one object",
        ),
        (
            "a.csv", "text,n\n好,1\n一,二,三\n好,3\n".encode(), "not_csv",
            "{path} line 3 has more fields than the header (text, n): "
            "put a text that holds the delimiter in double quotes",
        ),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_or_counted(tmp_path, name, data, reason, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError) as refused:
        records(path)
    assert str(refused.value) == message.format(path=path)
    heard, texts = skipped(path)
    whole = message.format(path=path).removesuffix(", or pass over such lines: --errors skip")
    assert heard == [(reason, whole)] and texts == ["好", "好"]


def test_a_line_too_long_is_passed_over_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 20)
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n" + b"x" * 95 + b"\nb\n" + b"y" * 21)
    heard, texts = skipped(path)
    assert texts == ["a", "b"]
    assert heard[0] == ("line_too_long", f"{path} line 2 is longer than 20 bytes: a line holds one document")
    assert [message.split(" is ")[0] for _, message in heard] == [f"{path} line 2", f"{path} line 4"]


def test_a_binary_file_is_refused_at_its_first_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(range(128, 256)) * 50)
    with pytest.raises(UserError, match="a.txt line 1 is not UTF-8"):
        records(tmp_path / "a.txt")


def test_a_quote_left_open_and_a_damaged_archive_are_never_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text('text\n好\n"开\n', encoding="utf-8")
    with pytest.raises(UserError) as refused:
        skipped(tmp_path / "a.csv")
    assert str(refused.value).startswith(f"{tmp_path}/a.csv line 3 is not CSV (unexpected end of data)")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(("好" * 9 + "\n").encode() * 9000)[:-30])
    with pytest.raises(UserError, match=r"b.txt.gz cannot be unpacked \("):
        skipped(tmp_path / "b.txt.gz")


def test_byte_order_marks_blank_lines_and_line_ends(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text":"a"}\r\n\r\n  \n{"text":"b"}')
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbftext\r\na\r\n"b\r\nc"\r\n')
    assert [(r.number, r.values) for r in records(tmp_path / "a.jsonl")] == [(0, {"text": "a"}), (3, {"text": "b"})]
    assert [(r.place[-6:], r.values["text"]) for r in records(tmp_path / "a.csv")] == [
        ("line 2", "a"), ("line 4", "b\nc")
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["txt", "txt.gz", "csv", "parquet"])
def test_only_what_is_wanted_is_read(tmp_path, suffix):
    import pyarrow
    import pyarrow.parquet

    path, texts = tmp_path / f"a.{suffix}", [f"第{n}篇" for n in range(50)]
    plain = "".join(f"{t}\n" for t in (["text"] if suffix == "csv" else []) + texts).encode()
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    else:
        path.write_bytes(gzip.compress(plain) if suffix.endswith("gz") else plain)
    tasks, count = blocks.divide([path, path], 6, count=True)
    wanted = np.array([0, 7, 49, 50, 99])
    found = [r for task in tasks for block in task for r in reading.read_block(block, reading.stop, wanted)]
    assert count == 100 and sorted(r.number for r in found) == [0, 0, 7, 49, 49]


def test_rows_of_a_table_become_json(tmp_path):
    import pyarrow
    import pyarrow.parquet

    columns = {"text": ["好"], "date": [datetime.date(2024, 3, 1)], "n": [1.5], "tags": [["甲", "乙"]], "none": [None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    (found,) = records(tmp_path / "a.parquet")
    assert found.place == f"{tmp_path}/a.parquet row 1"
    assert found.values == {"text": "好", "date": "2024-03-01", "n": 1.5, "tags": ["甲", "乙"], "none": None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"body": "好", "n": 1},
            "a line 1 has no 'text': it has 'body', 'n'; name the field of the text: --text_field",
        ),
        ({}, "a line 1 has no 'text': it has nothing; name the field of the text: --text_field"),
        ({"text": 12}, "a line 1 has 12 for 'text': a text was expected"),
    ],
)
def test_a_record_without_text_is_named(values, message):
    with pytest.raises(UserError) as refused:
        reading.text_of(reading.Record(0, "a line 1", values), "text", reading.stop)
    assert str(refused.value) == message
