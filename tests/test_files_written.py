"""Rows and texts as they are written, and fingerprints."""

import csv
import hashlib
import json
import os
import re

import pytest

from finbert2 import arrow, files
from tests.test_files import ROWS, message, read, write


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".parquet"])
def test_rows_come_back_as_they_were_written(tmp_path, suffix):
    rows = [*ROWS, {"text": '换\n行, "引"', "label": "2"}]
    files.write_rows(tmp_path / f"a{suffix}", rows)
    assert read(tmp_path / f"a{suffix}") == rows


def test_a_carriage_return_stays_inside_its_cell(tmp_path):
    """Python's csv before 3.13 quotes it only where lines end in one."""
    files.write_rows(tmp_path / "a.csv", [{"text": "一\r二", "n": "甲"}, {"text": "三", "n": "乙"}])
    assert (tmp_path / "a.csv").read_bytes() == 'text,n\n"一\r二",甲\n三,乙\n'.encode()
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["text", "n"], ["一\r二", "甲"], ["三", "乙"]]


def test_lists_and_dictionaries_are_json_in_a_csv_cell(tmp_path):
    files.write_rows(tmp_path / "none.csv", [], ("id", "类别"))
    assert (tmp_path / "none.csv").read_bytes().decode() == "id,类别\n"
    files.write_rows(tmp_path / "a.csv", [{"id": 1, "probs": {"正": 0.5}, "tags": ["O"]}])
    (row,) = read(tmp_path / "a.csv")
    assert row["id"] == "1" and json.loads(row["probs"]) == {"正": 0.5} and json.loads(row["tags"]) == ["O"]


def test_parquet_has_every_column_of_any_row_and_no_column_of_several_kinds(tmp_path):
    path = tmp_path / "a.parquet"
    files.write_rows(path, [{"id": 1, "probs": {"正": 0.5}}, {"id": 2, "名": "甲", "empty": {}}])
    assert read(path) == [
        {"id": 1, "probs": {"正": 0.5}, "名": None, "empty": None},
        {"id": 2, "probs": None, "名": "甲", "empty": None},
    ]
    for other, what in (("a", "id"), (2**64, "id"), ({"tags": {}}, "a column")):
        rows = [{"id": other}] if isinstance(other, dict) else [{"id": 1}, {"id": other}]
        said = message(files.write_rows, tmp_path / "b.parquet", rows)
        assert re.fullmatch(rf"{what} has values without a type of Parquet's \(.+\): write .jsonl", said)
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_files_are_joined_by_the_types_that_hold_all(tmp_path):
    whole = [
        [{"id": 1, "probs": {}, "entities": []}],
        [{"id": 2.5, "probs": {"正": 0.5}, "entities": [{"text": "甲", "start": 0}], "more": "乙"}],
    ]
    paths = [tmp_path / f"{number}.rows" for number in range(2)]
    for path, rows in zip(paths, whole, strict=True):
        files.write_atomically(path, lambda file, rows=rows: arrow.write(file.buffer, rows))
    path = tmp_path / "a.parquet"
    files.write_atomically(path, lambda file: arrow.join(file.buffer, paths))
    assert read(path) == [{"id": 1, "probs": None, "entities": [], "more": None}, whole[1][0]]
    files.write_atomically(paths[0], lambda file: arrow.write(file.buffer, [{"id": "一"}]))
    said = message(files.write_atomically, tmp_path / "b.parquet", lambda file: arrow.join(file.buffer, paths))
    assert said.startswith("a column has values without a type of Parquet's (")
    for number, value in enumerate((2**60 + 1, 0.5)):  # no type holds both exactly
        files.write_atomically(paths[number], lambda file, value=value: arrow.write(file.buffer, [{"id": value}]))
    said = message(files.write_atomically, tmp_path / "b.parquet", lambda file: arrow.join(file.buffer, paths))
    assert said.startswith("a column has values without a type of Parquet's (")
    assert not (tmp_path / "b.parquet").exists()


def test_other_formats_are_not_written(tmp_path):
    path = tmp_path / "a.xlsx"
    assert message(files.write_rows, path, ROWS) == (
        f"{path} has the suffix '.xlsx': .csv, .jsonl and .parquet are written"
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    def broken():
        yield ROWS[0]
        raise KeyboardInterrupt

    path = write(tmp_path / "a.jsonl", "old\n")
    with pytest.raises(KeyboardInterrupt):
        files.write_rows(path, broken())
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


def test_what_is_written_appears_whole_in_a_new_folder_and_readable_by_all(tmp_path):
    files.write_json(tmp_path / "new" / "a.json", {"名": 1.5})
    files.write_bytes(tmp_path / "new" / "b.bin", bytes(range(256)))
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n  "名": 1.5\n}'
    assert (tmp_path / "new" / "b.bin").read_bytes() == bytes(range(256))
    assert [path.stat().st_mode & 0o777 for path in sorted((tmp_path / "new").iterdir())] == [0o644, 0o644]


def test_numpy_numbers_are_written_as_json(tmp_path):
    import numpy as np

    files.write_json(tmp_path / "a.json", {"f1": np.float32(0.5), "n": np.int64(3)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"f1": 0.5, "n": 3}


@pytest.mark.parametrize("size", [0, 7, 3_000_000])
def test_fingerprint_is_size_and_sha_256(tmp_path, size):
    content = bytes(n % 251 for n in range(size))
    path = write(tmp_path / "a.bin", content)
    expected = {"bytes": size, "sha256": hashlib.sha256(content).hexdigest()}
    assert files.fingerprint([str(path)]) == {str(path): expected}


def test_a_fingerprint_that_is_remembered_is_not_taken_again(tmp_path, monkeypatch):
    """As long as size and time of change stay; what a name holds, and not the name, is the content."""
    path, memory = write(tmp_path / "a.txt", "甲"), tmp_path / "cache" / "memory.json"
    first = files.fingerprint([path], memory)
    assert first == files.fingerprint([path]) == files.fingerprint([path], memory)
    monkeypatch.setattr(files, "sha256", lambda path: "read again")
    assert files.fingerprint([path], memory) == first
    os.utime(path, ns=(0, 0))
    assert files.fingerprint([path], memory)[str(path)]["sha256"] == "read again"
    monkeypatch.undo()
    copy = write(tmp_path / "b.txt", "甲")
    assert files.content(files.fingerprint([copy])) == files.content(first)
    assert files.content(files.fingerprint([copy, write(tmp_path / "c.txt", "乙")])) != files.content(first)
