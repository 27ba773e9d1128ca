import gzip
import json
from pathlib import Path

import pytest
import zstandard

from finbert2 import arrow, files
from finbert2.errors import UserError
from finbert2.files import Row

ROWS = [{"text": "营业收入", "label": "1"}, {"text": "净利润，同比“增长”", "label": "0"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = "text,label\n营业收入,1\n净利润，同比“增长”,0\n"


def message(call, *arguments) -> str:
    with pytest.raises(UserError) as raised:
        call(*arguments)
    return str(raised.value)


def read(path) -> list[dict]:
    return [row.values for row in files.read_rows(path)]


def skipping(path) -> tuple[list[dict], list[tuple[str, str]]]:
    """What is read of a file, and what is told of the rest."""
    told: list[tuple[str, str]] = []
    return [row.values for row in files.read_rows(path, lambda *one: told.append(one))], told


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".jsonl", JSONL), (".json", JSONL), (".csv", CSV), (".tsv", CSV.replace(",", "\t"))],
)
def test_every_format_reads_the_same_rows(tmp_path, suffix, content, end, mark, packed):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed]
    path = write(tmp_path / f"a{suffix}{packed}", pack((mark + content.replace("\n", end)).encode()))
    assert read(path) == ROWS


def test_plain_text_is_a_row_a_line_and_knows_its_line(tmp_path):
    rows = list(files.read_rows(write(tmp_path / "a.txt", "甲\n\n  \n乙, “丙”\n丁")))
    assert [(row.line, row.values) for row in rows] == [
        (1, {"text": "甲"}),
        (4, {"text": "乙, “丙”"}),
        (5, {"text": "丁"}),
    ]
    assert rows[1].place == f"{tmp_path / 'a.txt'} line 4"


def test_quoted_delimiters_quotes_and_line_ends(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"甲,乙",1\n"他说""好""",2\n"两\n行",3\n丁,4\n')
    assert [(row.line, *row.values.values()) for row in files.read_rows(path)] == [
        (2, "甲,乙", "1"), (3, '他说"好"', "2"), (5, "两\n行", "3"), (6, "丁", "4"),
    ]  # fmt: skip


def test_the_index_column_that_pandas_writes_has_no_name(tmp_path):
    path = write(tmp_path / "a.csv", ",text,label\n0,甲,1\n1,乙,0\n")
    assert [(row.require("text"), row.require("label")) for row in files.read_rows(path)] == [("甲", "1"), ("乙", "0")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "text,label\n甲,1\n乙,丙,0\n",
            " line 3 has more fields than the header (text, label): "
            "put a text that holds the delimiter in double quotes",
        ),
        (
            'text,label\n甲,1\n"乙"丙,0\n',
            " line 3 is not CSV (',' expected after '\"'): mend the quotes of the line",
        ),
        ('text,label\n"甲,1\n乙,2\n', " line 2 is not CSV (unexpected end of data): mend the quotes of the line"),
    ],
)
def test_what_is_no_csv(tmp_path, content, expected):
    path = write(tmp_path / "a.csv", content)
    assert message(read, path) == f"{path}{expected}"


def test_malformed_json_in_line_17(tmp_path):
    lines = ['{"text": "甲"}'] * 20
    lines[16] = '{"text": "乙", "label": }'
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert message(read, path) == (
        f"{path} line 17 is not JSON (Expecting value at column 24): "
        "each line has to be one whole object; mend or remove the line"
    )


def test_half_a_character_is_named_by_its_line(tmp_path):
    r"""JSON can spell half of an emoji that a crawler cut; whole ones, and \\ud83d as six characters, are texts."""
    path = write(tmp_path / "a.jsonl", '{"text": "涨\\ud83d\\ude00"}\n{"text": "\\\\ud83d"}\n{"text": "涨\\ud83d"}\n')
    assert message(read, path) == (
        f"{path} line 3 holds half a character (\\ud800 to \\udfff without its other half): mend or remove the line"
    )
    assert skipping(path) == (
        [{"text": "涨😀"}, {"text": "\\ud83d"}], [("half_a_character", message(read, path))]
    )  # fmt: skip


def test_a_line_that_is_json_but_no_object(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "甲"}\n\n["乙"]\n')
    assert message(read, path) == f"{path} line 3 holds a list: each line has to be one object"
    assert skipping(path) == ([{"text": "甲"}], [("not_json", message(read, path))])


@pytest.mark.parametrize("before", [2, 5000])
def test_what_is_not_utf_8_is_named_by_its_line(tmp_path, before):
    lines = ["利润增长".encode()] * before + ["营业收入".encode("gb18030"), "甲".encode()]
    path = write(tmp_path / "a.txt", b"\n".join(lines))
    assert message(read, path) == (
        f"{path} line {before + 1} is not UTF-8 (invalid continuation byte, byte 0xca): "
        "convert the file, for example: iconv -f GB18030 -t UTF-8 a.txt > a.utf8.txt"
    )


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_excels_unicode_text_is_converted_from_utf_16(tmp_path, mark):
    path = write(tmp_path / "a.txt", "\ufefftitle\tdate\r\n利润\t2024/1/5\r\n".encode(mark))
    assert message(read, path).endswith("for example: iconv -f UTF-16 -t UTF-8 a.txt > a.utf8.txt")


def test_a_file_that_ends_inside_a_character(tmp_path):
    path = write(tmp_path / "a.txt", "甲\n乙".encode()[:-1])
    assert message(read, path).startswith(f"{path} line 2 is not UTF-8 (unexpected end of data, byte 0xe4): ")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt.gz", gzip.compress("甲\n".encode() * 50, mtime=0)[:-10], "Compressed file ended before"),
        ("a.txt.gz", b"text\n" * 9, "Not a gzipped file"),
        ("a.txt.zst", zstandard.compress("甲\n".encode() * 50)[:-3], "Compressed file ended inside a frame"),
        ("a.txt.zst", zstandard.compress(b"text\n") + zstandard.compress(b"")[:2], "Compressed file ended inside"),
        ("a.txt.zst", b"text\n" * 9, "zstd decompressor error: Unknown frame descriptor"),
    ],
    ids=["short_gzip", "no_gzip", "short_zstd", "short_second_frame", "no_zstd"],
)
def test_a_damaged_archive_is_named(tmp_path, name, content, reason):
    path = write(tmp_path / name, content)
    told = message(read, path)
    assert told.startswith(f"{path} cannot be unpacked ({reason}")
    assert told.endswith(": make or fetch it anew")


def test_what_is_no_file(tmp_path, monkeypatch):
    assert message(read, tmp_path / "a.csv") == f"{tmp_path / 'a.csv'} does not exist"
    monkeypatch.chdir(tmp_path)
    for ask in (read, lambda path: files.expand([path]), lambda path: list(arrow.rows(path))):
        assert message(ask, Path("none.csv")) == f"{tmp_path / 'none.csv'} does not exist"
    (tmp_path / "b.csv").mkdir()
    assert message(read, tmp_path / "b.csv") == f"{tmp_path / 'b.csv'} is a folder, a file was expected"
    path = write(tmp_path / "a.xlsx", "")
    assert message(read, path) == (
        f"{path} has the suffix '.xlsx': .jsonl, .json, .csv, .tsv, .txt, .parquet are read, text also as .gz or .zst"
    )


@pytest.mark.parametrize(
    ("call", "values", "expected"),
    [
        (
            lambda row: row.require("label"),
            {"text": "甲", "lable": "1"},
            "has no 'label': it has 'text', 'lable'; "
            "rename the column or field, or name yours by a flag if there is one (-h)",
        ),
        (
            lambda row: row.require("query", "question"),
            {},
            "has no 'query' or 'question': it has nothing; "
            "rename the column or field, or name yours by a flag if there is one (-h)",
        ),
        (
            lambda row: row.require("label"),
            {"text": "甲", "label": None},
            "has no 'label': it has 'text'; rename the column or field, or name yours by a flag if there is one (-h)",
        ),
        (
            lambda row: row.require("label"),
            {"text;label": "甲;1"},
            "has no 'label': it has 'text;label'; save it with commas between the columns, or with tabs as .tsv",
        ),
        (lambda row: row.text("text"), {"text": " "}, "has ' ' for 'text': a text was expected; fill or drop the row"),
        (lambda row: row.text("text"), {"text": 3}, "has 3 for 'text': a text was expected; fill or drop the row"),
        (lambda row: row.texts("pos"), {"pos": "甲"}, "has '甲' for 'pos': a list of texts was expected"),
        (lambda row: row.texts("pos"), {"pos": ["甲", 1]}, "has ['甲', 1] for 'pos': a list of texts was expected"),
    ],
)
def test_a_value_that_is_not_there_or_of_another_kind(tmp_path, call, values, expected):
    assert message(call, Row(tmp_path / "a.csv", 3, values)) == f"{tmp_path / 'a.csv'} line 3 {expected}"


def test_values_that_are_there(tmp_path):
    row = Row(tmp_path, 1, {"question": "甲", "pos": ["乙", ""], "n": 0})
    assert (row.require("query", "question"), row.text("question"), row.texts("pos"), row.require("n")) == (
        "甲", "甲", ["乙", ""], 0,
    )  # fmt: skip


def test_a_csv_row_that_ends_early(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n甲\n")
    assert message(lambda: next(files.read_rows(path)).require("label")) == (
        f"{path} line 2 has no 'label': it has 'text'; "
        "rename the column or field, or name yours by a flag if there is one (-h)"
    )


def test_what_cannot_be_read_is_passed_over_and_told(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"text": "\xd6\xd0"}\n{"text": "a"}\n{]\n{"text": "b"}\n')
    rows, told = skipping(path)
    assert rows == [{"text": "a"}, {"text": "b"}]
    assert [(reason, said.split(" (")[0]) for reason, said in told] == [
        ("not_utf8", f"{path} line 1 is not UTF-8"), ("not_json", f"{path} line 3 is not JSON"),
    ]  # fmt: skip


def test_bad_rows_of_a_csv_are_passed_over_whole_and_the_others_keep_their_lines(tmp_path):
    """Also where the bad line is one of several of its row."""
    path = write(tmp_path / "a.csv", b'text,n\n\xd6,1\nb,2\nc,d,3\n"e\n\xd6\nf",4\ng,5\n')
    told: list[tuple[str, str]] = []
    rows = list(files.read_rows(path, lambda *one: told.append(one)))
    assert [(row.line, row.values["text"]) for row in rows] == [(3, "b"), (8, "g")]
    assert [(reason, said.split(" (")[0]) for reason, said in told] == [
        ("not_utf8", f"{path} line 2 is not UTF-8"), ("not_csv", f"{path} line 4 has more fields than the header"),
        ("not_utf8", f"{path} line 6 is not UTF-8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'text\n\xd6\na\n"b\n', "line 4 is not CSV (unexpected end of data): mend the quotes of the line"),
        (
            b"\xd6,text\n1,a\n", "line 1 is not UTF-8 (invalid continuation byte, byte 0xd6): convert the file, for "
            "example: iconv -f GB18030 -t UTF-8 a.csv > a.utf8.csv",
        ),
    ],
    ids=["open_quote", "header"],
)  # fmt: skip
def test_what_may_hide_other_rows_is_never_passed_over(tmp_path, content, expected):
    path = write(tmp_path / "a.csv", content)
    assert message(skipping, path) == f"{path} {expected}"
