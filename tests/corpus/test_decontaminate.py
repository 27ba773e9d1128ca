import json

import pytest

from finbert2.corpus.decontaminate import MIN_CHARACTERS, WIDTH, Index, plain, texts_in
from finbert2.errors import UserError

LONG = "央行宣布下调存款准备金率零点五个百分点，预计释放长期资金约一万亿元，市场普遍认为时点早于预期。"
TITLE = "新能源汽车渗透率创新高"
OTHER = "公司前三季度实现营业收入十二亿元，净利润两亿元，同比增长百分之八，订单饱满。"


@pytest.fixture
def index(tmp_path) -> Index:
    rows = [{"query": TITLE, "pos": [LONG], "neg": [], "n": 3}, {"query": "净利润增长", "pos": [], "neg": []}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Index.read([str(tmp_path / "a.jsonl")])


def test_every_string_of_a_row_is_a_text():
    row = {"a": "甲", "b": ["乙", {"c": "丙"}], "d": 1, "e": None}
    assert list(texts_in(row)) == ["甲", "乙", "丙"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (OTHER, False),
        (f"{OTHER}\n{LONG}", True),
        (f"{OTHER}{TITLE}，{OTHER}", True),
        ("新能源 汽车，渗透率创新高！", True),  # blanks, punctuation and width do not count
        (f"{OTHER}新能源汽车渗透率创新低", False),  # a text shorter than the runs has to occur whole
        (f"{OTHER}净利润增长", False),  # too short to say anything
        (f"{OTHER}{LONG[:30]}", True),  # half of it
        (f"{OTHER}{LONG[:16]}", False),  # a phrase of it
        (LONG[:20] + "的" + LONG[20:], True),
        ("", False),
        ("短", False),
    ],
)
def test_documents_that_contain_an_evaluation_text(index, text, found):
    assert index.contaminates(text) is found


def test_a_saved_index_finds_the_same(index, tmp_path):
    index.save(tmp_path / "i.npz")
    loaded = Index.load(tmp_path / "i.npz")
    assert loaded.texts == index.texts == 2 and {grams.width for grams in loaded.grams} == {11, WIDTH}
    assert loaded.contaminates(LONG) and loaded.contaminates(TITLE) and not loaded.contaminates(OTHER)


def test_files_of_all_formats_are_read(tmp_path):
    (tmp_path / "a.csv").write_text(f"text,label\n{TITLE},1\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(LONG + "\n", encoding="utf-8")
    index = Index.read([str(tmp_path)])
    assert index.texts == 2 and index.contaminates(TITLE) and index.contaminates(LONG)


def test_evaluation_files_without_texts_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n涨,1\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        Index.read([str(tmp_path / "a.csv")])
    assert str(refused.value) == (
        f"--decontaminate {tmp_path}/a.csv: no text of {MIN_CHARACTERS} characters or more was found"
    )


def test_plain():
    assert plain("ＥＰＳ 1.2元，\n同比——增长") == "eps12元同比增长"
