import pytest

from finbert2.corpus import filters
from finbert2.corpus.filters import drop_reason, repeated_gram_share, repeated_line_share

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


def test_full_width_digits_and_underscores_are_symbols():
    assert filters.SYMBOL.findall("１_％A营1 ") == ["１", "_", "％", "1", " "]


def test_share_of_repeated_lines():
    assert repeated_line_share("甲\n乙\n甲\n\n甲") == 0.5 and repeated_line_share("") == 0.0


def test_share_of_repeated_grams_equals_a_naive_count():
    text = "营业收入增长净利润" * 3 + "下降"
    grams = [text[place : place + 10] for place in range(len(text) - 9)]
    repeated = sum(gram in grams[:place] for place, gram in enumerate(grams))
    assert repeated_gram_share(text) == pytest.approx(repeated / len(grams)) and 0 < repeated < len(grams)
    assert repeated_gram_share("短文本") == 0.0
