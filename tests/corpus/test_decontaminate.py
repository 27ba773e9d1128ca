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


def test_texts_are_taken_from_the_fields_that_hold_them():
    row = {"Text": "甲", "pos": ["乙", 3], "passages": [{"text": "丙", "_id": "丁"}], "company": "戊", "date": "2024"}
    assert list(texts_in(row)) == ["甲", "乙", "丙"]
    asked = {"question": "甲", "context": "乙", "answers": {"text": ["丙"]}, "positive": "丁", "negative": ["戊"]}
    assert list(texts_in(asked)) == ["甲", "乙", "丙", "丁", "戊"]
    assert list(texts_in({"body": "己", "meta": {"title": "庚"}}, ("body", "title"))) == ["己", "庚"]


def test_what_else_is_known_of_a_text_is_not_looked_for(tmp_path):
    row = {"text": LONG, "company": "某某新能源汽车股份有限公司", "date": "2024-03-01 08:30:00"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    index = Index.read([str(tmp_path / "a.jsonl")])
    assert index.texts == 1 and not index.contaminates(f"某某新能源汽车股份有限公司2024-03-01 08:30:00公告：{OTHER}")


@pytest.mark.parametrize("gap", [" ", "\t"])
def test_the_characters_of_a_tagged_file_are_joined_to_sentences(tmp_path, gap):
    tagged = ["".join(f"{c}{gap}{'B-ORG' if n == 0 else 'O'}\n" for n, c in enumerate(t)) for t in (TITLE, LONG)]
    (tmp_path / "test.txt").write_text("\n".join(tagged), encoding="utf-8")
    index = Index.read([str(tmp_path / "test.txt")])
    assert index.texts == 2 and index.contaminates(f"{OTHER}{TITLE}") and index.contaminates(LONG)
    assert not index.contaminates(OTHER)


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


def test_a_file_without_texts_is_refused_by_its_name(tmp_path):
    (tmp_path / "a.csv").write_text(f"text,label\n{TITLE},1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text(f"正文,label\n{LONG},1\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        Index.read([str(tmp_path)])
    assert str(refused.value) == (
        f"--decontaminate {tmp_path}/b.csv: no text of 10 characters or more was found; it has '正文', 'label', and "
        "texts are looked for in: text, title, metadata, query, question, pos, neg, passage, passages, answer, "
        "answers, context, contexts, positive, negative, anchor, content, sentence, sentence1, sentence2, headline, "
        "abstract, summary. "
        "Rename the column of the texts, or leave the file out"
    )
    assert Index.read([str(tmp_path)], text_field="正文").texts == 2


def test_names_of_labels_and_judgements_beside_texts_are_passed_over(tmp_path):
    (tmp_path / "labels.csv").write_text("label,name\n0,一个有十多个字的类别名称\n", encoding="utf-8")
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        Index.read([str(tmp_path)])
    assert str(refused.value) == f"--decontaminate {tmp_path}: no text of {MIN_CHARACTERS} characters or more was found"
    (tmp_path / "test.csv").write_text(f"text,label\n{TITLE},0\n", encoding="utf-8")
    assert Index.read([str(tmp_path)]).texts == 1


def test_plain():
    assert plain("ＥＰＳ 1.2元，\n同比——增长") == "eps12元同比增长"
    assert plain("\u2f24\u2f26\u2f45_业") == "大子方业"  # Kangxi radicals, as they come out of PDFs
