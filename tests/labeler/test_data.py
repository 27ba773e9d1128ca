import json

import pytest

from finbert2.errors import UserError
from finbert2.labeler import data
from finbert2.labeler.data import Example, Sentence


def message(call, *arguments) -> str:
    with pytest.raises(UserError) as raised:
        call(*arguments)
    return str(raised.value)


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written", "label"),
    [("1", "1"), (" 利好 ", "利好"), ("1.0", "1"), ("-1.0", "-1"), ("1.5", "1.5"), ("10", "10"), ("v1.0", "v1.0")],
)
def test_labels_as_spreadsheets_write_them(tmp_path, written, label):
    path = write(tmp_path / "train.csv", f"text,label\n甲,{written}\n")
    assert data.read_examples(path) == [Example("甲", label)]


def test_labels_that_json_holds_as_numbers(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"text": "甲", "label": 1}\n{"text": "乙", "label": 0.0}\n')
    assert [example.label for example in data.read_examples(path)] == ["1", "0"]


@pytest.mark.parametrize("label", [["利好", "并购"], {"name": "利好"}])
def test_a_label_that_is_a_list_is_none(tmp_path, label):
    path = write(tmp_path / "train.jsonl", json.dumps({"text": "甲", "label": label}, ensure_ascii=False) + "\n")
    assert message(data.read_examples, path) == (
        f"{path} line 1 has {label!r} for 'label': a text or a number was expected, several as a|b"
    )


def test_a_name_is_one_label(tmp_path):
    path = write(tmp_path / "labels.csv", "label,name\n0,利空\n1,并购|重组\n")
    assert message(data.label_names, tmp_path / "train.csv") == (
        f"{path} line 3 has the name '并购|重组': a | stands between labels, take another sign"
    )


def test_rows_and_sentences_know_their_line(tmp_path):
    """What the lists of doubtful rows name, whatever was dropped, held out or sampled."""
    path = write(tmp_path / "train.csv", 'text,label\n甲,1\n"乙\n乙",0\n ,1\n丙,1\n')
    assert [row.line for row in data.read_examples(path, empty_texts="drop")] == [2, 4, 6]
    path = write(tmp_path / "train.txt", "\n甲 O\n乙 O\n\n\n丙 O\n")
    assert [row.line for row in data.read_sentences(path)] == [2, 6]


def test_names_come_from_labels_csv_beside_the_training_file(tmp_path):
    write(tmp_path / "labels.csv", "label,name\n1.0,利好\n0,利空\n")
    path = write(tmp_path / "train.csv", "text,label\n甲,0\n乙,1\n丙,1.0\n丁,2\n")
    names = data.label_names(path)
    assert names == {"1": "利好", "0": "利空"}
    examples = data.read_examples(path, names)
    assert [example.label for example in examples] == ["利空", "利好", "利好", "2"]
    assert data.label_list(examples, names) == ["利好", "利空", "2"]  # one that has no name keeps its label
    assert data.label_names(tmp_path / "x" / "train.csv") is None


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["10", "9", "-1"], None, ["-1", "9", "10"]),
        (["中性", "利好", "利空"], None, sorted(["中性", "利好", "利空"])),
        (["b", "2", "a", "10"], None, ["2", "10", "a", "b"]),
        (["好", "坏"], {"2": "坏", "1": "好", "0": "中"}, ["坏", "好"]),
    ],
)
def test_order_of_labels(labels, names, expected):
    assert data.label_list([Example("甲", label) for label in labels], names) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "text,lable\n甲,1\n",
            "{path} line 2 has no 'label': it has 'text', 'lable'; "
            "rename the column or field, or name yours by a flag if there is one (-h)",
        ),
        ("text,label\n甲,1\n乙,\n", "{path} line 3 has an empty label: fill it in or drop the row"),
        ("text,label\n ,1\n", "{path} line 2 has ' ' for 'text': a text was expected; fill or drop the row"),
        ("text,label\n", "{path} has no rows: a header `text,label` and at least one row were expected"),
        ("", "{path} has no rows: a header `text,label` and at least one row were expected"),
    ],
)
def test_rows_that_cannot_be_learnt_from(tmp_path, content, expected):
    path = write(tmp_path / "train.csv", content)
    assert message(data.read_examples, path) == expected.format(path=path)


def test_one_label_is_none():
    assert message(data.label_list, [Example("甲", "1"), Example("乙", "1")]) == (
        "the training data has one label only (1): a classifier needs two or more"
    )


def test_labels_that_training_never_saw():
    examples = [Example("甲", "1"), Example("乙", "中"), Example("丙", "2"), Example("丁", "2")]
    assert message(data.check_labels, examples, ["0", "1"], "test.csv") == (
        "test.csv has labels that the training data has not: '2' (2 rows), '中' (1 rows); training knows 0, 1: "
        "correct the labels, add rows with them to the training file, or put its labels.csv beside the file"
    )
    data.check_labels(examples[:1], ["0", "1"], "test.csv")


@pytest.mark.parametrize(
    "content",
    [
        "中 B-ORG\n信 I-ORG\n涨 O\n\n跌 O\n",
        "中\tB-ORG\n信\tI-ORG\n涨\tO\n\n跌\tO",
        "\ufeff\n中 B-ORG\r\n信 I-ORG\r\n涨 O\r\n \r\n\r\n跌 O\r\n\r\n\r\n",
    ],
)
def test_sentences(tmp_path, content):
    path = write(tmp_path / "train.txt", content)
    assert data.read_sentences(path) == [
        Sentence(("中", "信", "涨"), ("B-ORG", "I-ORG", "O")), Sentence(("跌",), ("O",)),
    ]  # fmt: skip


def test_a_blank_is_a_character_too(tmp_path):
    path = write(tmp_path / "train.txt", "A B-ORG\n  I-ORG\nB I-ORG\n")
    assert data.read_sentences(path) == [Sentence(("A", " ", "B"), ("B-ORG", "I-ORG", "I-ORG"))]


@pytest.mark.parametrize("line", ["中 E-ORG", "中信 B-ORG", "中", "中 B-", "中\tB-ORG\tx", "中 o", "B-ORG"])
def test_a_line_that_is_no_character_and_tag(tmp_path, line):
    path = write(tmp_path / "train.txt", f"涨 O\n\n{line}\n")
    assert message(data.read_sentences, path) == (
        f"{path} line 3 is {line!r}: one character, a blank or tab and a tag (O, B-TYPE or I-TYPE) were expected"
    )


def test_a_file_without_sentences(tmp_path):
    path = write(tmp_path / "train.txt", "\n \n")
    expected = f"{path} has no sentences: lines of a character and a tag were expected"
    assert message(data.read_sentences, path) == expected


def test_tags_of_every_type_in_order():
    sentences = [Sentence(("中", "信"), ("I-PER", "O")), Sentence(("中",), ("B-ORG",))]
    assert data.tag_list(sentences) == ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    assert message(data.tag_list, [Sentence(("中",), ("O",))]) == "the training data has no entity: every tag is O"


def test_tags_that_training_never_saw():
    sentences = [Sentence(("中", "信"), ("B-LOC", "I-LOC"))]
    assert message(data.check_tags, sentences, ["O", "B-ORG", "I-ORG"], "dev.txt") == (
        "dev.txt has tags that the training data has not: B-LOC, I-LOC; training knows O, B-ORG, I-ORG: "
        "correct the tags, or add sentences with them to the training file"
    )


@pytest.mark.parametrize(
    ("written", "labels"),
    [("利好|并购", ["利好", "并购"]), ("1.0| 0 |1", ["0", "1"]), ("", []), ("|", []), ("利好", ["利好"])],
)
def test_several_labels_a_row(tmp_path, written, labels):
    path = write(tmp_path / "train.csv", f"text,label\n甲,{written}\n乙,a|b\n")
    examples = data.read_examples(path)
    assert examples[0].labels == sorted(labels) and data.is_multi_label(examples)
    assert data.read_examples(path, multi=True) == examples


def test_names_of_several_labels_and_one_never_seen(tmp_path):
    path = write(tmp_path / "test.csv", "text,label\n甲,0|1\n乙,2\n")
    examples = data.read_examples(path, {"0": "利空", "1": "利好"})
    assert [example.labels for example in examples] == [["利好", "利空"], ["2"]]
    assert data.label_list(examples) == ["2", "利好", "利空"]
    assert "'2' (1 rows)" in message(data.check_labels, examples, ["利好", "利空"], path)


def test_rows_without_text_are_dropped_and_counted_if_asked(tmp_path, caplog):
    path = write(tmp_path / "train.csv", "text,label\n甲,1\n ,2\n,1\n")
    assert data.read_examples(path, empty_texts="drop") == [Example("甲", "1")]
    assert caplog.messages == [f"{path}: 2 of 3 rows have no text and were dropped"]


def test_a_text_that_is_null_is_empty_and_a_missing_one_is_an_error(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"text": null, "label": 1}\n{"text": "甲", "label": 2}\n')
    assert data.read_examples(path, empty_texts="drop") == [Example("甲", "2")]
    path = write(tmp_path / "other.jsonl", '{"texts": "甲", "label": 1}\n')
    with pytest.raises(UserError, match="line 1 has no 'text': it has 'texts', 'label'"):
        data.read_examples(path, empty_texts="drop")


def test_a_class_with_one_row_is_told(caplog):
    data.label_list([Example("甲", "1"), Example("乙", "1"), Example("丙", "2")])
    assert caplog.messages == ["labeler: one training row only has the label 2"]


def test_tags_that_continue_nothing_are_counted(tmp_path, caplog):
    path = write(tmp_path / "train.txt", "中 I-ORG\n信 I-ORG\n张 I-PER\n三 O\n\n央 B-ORG\n行 I-PER\n")
    assert len(data.read_sentences(path)) == 2
    assert caplog.messages == [f"{path}: 3 I- tags continue nothing and are read as B-"]
