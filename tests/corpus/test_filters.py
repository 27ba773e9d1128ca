from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finbert2.corpus import filters
from finbert2.corpus.filters import (
    drop_reason,
    four_grams,
    repeated_gram_share,
    repeated_line_characters,
    repeated_line_share,
    top_gram_share,
)

TEXT = "公司前三季度实现营业收入十二亿元，净利润两亿元，同比增长百分之八。"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT, None),
        ("", "too_short"),
        ("利润增长。", "too_short"),
        ("一二三四五六七八九", "too_short"),
        ("一二三四五六七八九十", None),
        ("The company said its earnings rose in the third quarter. 净利润", "little_chinese"),
        ("营收 12.5 13.6 14.7 15.8 16.9 17.0 18.1 19.2", "table"),  # little Chinese, and mostly numbers
        ("净利润营收：" + "1.5%|" * 2, "table"),  # Chinese enough, but two thirds are numbers
        ("\n".join(["甲乙丙丁戊己庚辛壬癸"] * 2 + [TEXT]), "repeated_lines"),
        ("公告称净利润同比增长八个百分点" * 3, "repetitive"),
        ("公告称净利润同比增长八个百分点" + TEXT + "公告称净利润同比增长八个百分点", None),
    ],
)
def test_each_document_gets_one_reason_or_none(text, reason):
    assert drop_reason(text) == reason


def test_answers_that_minutes_repeat_are_no_repetition():
    rows = [f"议案{number}：{TEXT[number * 5 :]}" for number in range(3)]
    assert drop_reason("\n".join(f"{row}\n表决结果：同意9票，反对0票。" for row in rows)) is None
    assert drop_reason("\n".join(f"{row}\n来源页：公司网站与媒体报道。" for row in rows)) == "repeated_lines"


def test_full_width_digits_and_underscores_are_symbols():
    assert filters.SYMBOL.findall("１_％A营1 ") == ["１_％", "1 "]
    assert filters.characters_in(filters.SYMBOL, "１_％A营1 ") == 5


def test_share_of_repeated_lines_and_of_their_characters():
    assert repeated_line_share("甲\n乙\n甲\n\n甲") == 0.5 and repeated_line_share("") == 0.0
    assert repeated_line_characters("甲乙丙\n乙\n甲乙丙\n丁") == 3 / 8 and repeated_line_characters("") == 0.0


def test_long_lines_said_twice_count_by_their_characters():
    lines = [f"第{n}段话各不相同" for n in "一二三四五六"]
    said_twice = "公司前三季度实现营业收入十二亿元净利润两亿元"
    text = "\n".join([said_twice, *lines, said_twice])
    assert repeated_line_share(text) < 0.30 and drop_reason(text) == "repeated_lines"


def test_share_of_repeated_grams_equals_a_naive_count():
    text = "营业收入增长净利润" * 3 + "下降"
    grams = [text[place : place + 10] for place in range(len(text) - 9)]
    repeated = sum(gram in grams[:place] for place, gram in enumerate(grams))
    assert repeated_gram_share(four_grams(text)) == pytest.approx(repeated / len(grams)) and 0 < repeated < len(grams)
    assert repeated_gram_share(four_grams("短文本")) == repeated_gram_share(four_grams("一二三四五六七八九")) == 0.0


@given(st.text("营业收入", max_size=60))
def test_shares_equal_a_naive_count(text):
    tens = [text[place : place + 10] for place in range(len(text) - 9)]
    fours = Counter(text[place : place + 4] for place in range(len(text) - 3))
    assert repeated_gram_share(four_grams(text)) == pytest.approx(1 - len(set(tens)) / len(tens) if tens else 0.0)
    assert top_gram_share(four_grams(text)) == pytest.approx(max(fours.values()) * 4 / len(text) if fours else 0.0)


def test_a_text_that_is_mostly_one_run_of_characters_goes():
    assert drop_reason(TEXT + "？" * 6 + TEXT[::-1]) is None
    assert drop_reason(TEXT + "甲" * 40 + TEXT[::-1]) == "repetitive"
