import math

import numpy as np
import pytest

from finbert2 import segment
from finbert2.segment import segmenter, word_boundaries
from finbert2.tokenizer.candidates import agreement, branching_entropy, filter_words, has_dangling_ends
from finbert2.tokenizer.matching import encode, find
from finbert2.tokenizer.segment import edges_of, is_word


@pytest.fixture(scope="module")
def jieba():
    return segmenter(["营收同比"])


def test_branching_entropy_by_hand():
    occurrences = find(encode(["甲银行乙", "丙银行乙", "甲银行", "银行"]), ["银行", "利率"])
    # before: 甲 甲 丙 and the edge of a text once (the line feed); after: 乙 乙 and the edge twice
    before = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    np.testing.assert_allclose(branching_entropy(occurrences, before=True), [before, 0])
    np.testing.assert_allclose(branching_entropy(occurrences, before=False), [math.log(2), 0])


def test_agreement_by_hand():
    text = encode(["营业收入", "收入"])  # places 0-3 and 5-6
    edges = np.zeros(len(text.codes) + 1, bool)
    edges[[0, 4, 5, 7]] = True  # 营业收入 | 收入
    occurrences = find(text, ["收入", "营业收入", "净利"])
    assert list(agreement(occurrences, edges, 7)) == [0.5, 1, 1]


def test_a_long_text_is_cut_into_pieces(jieba, monkeypatch):
    monkeypatch.setattr(segment, "LONGEST", 4)
    assert list(np.flatnonzero(word_boundaries(jieba, "公司净利润公司"))) == [0, 2, 4, 5, 7]


def test_edges_of_words(jieba):
    assert list(np.flatnonzero(word_boundaries(jieba, "公司净利润"))) == [0, 2, 5]
    assert list(word_boundaries(jieba, "")) == [True]
    edges, end = edges_of(jieba, ["公司", "净利润"], encode(["公司", "净利润"]))
    assert list(np.flatnonzero(edges)) == [0, 2, 3, 6] and end == 6


@pytest.mark.parametrize(
    ("piece", "dangling"),
    [("公司的", True), ("的公司", True), ("公告称在", True), ("自主", False), ("股权转让", False), ("公司的钱", False)],
)
def test_function_words_at_the_ends_but_not_their_characters(jieba, piece, dangling):
    assert has_dangling_ends(jieba, piece) is dangling


def test_the_user_dictionary_makes_words(jieba):
    assert is_word(jieba, "营收同比") and not is_word(segmenter(), "营收同比")


def test_what_is_kept_and_why_the_rest_is_not(jieba):
    texts = [f"{subject}净利润增长，公司的业绩" for subject in "甲乙丙丁戊"] + ["收入利率"]
    found = filter_words(
        encode(texts), texts, ["净利润", "公司", "公司的", "利润增", "利率"], jieba, frozenset(["司的"])
    )
    assert found.occurrences.words == ["司的", "净利润", "公司", "公司的"]
    assert list(found.dangling) == [True, False, False, True] and found.dropped == {"rare": 1, "torn": 1}
    strict = found.without_dangling(frozenset(["司的"]))
    assert strict.occurrences.words == ["司的", "净利润", "公司"] and list(strict.dangling) == [True, False, False]
    assert strict.dropped == {"rare": 1, "torn": 1, "function_word": 1}


def test_many_neighbours_make_a_word_that_jieba_does_not_know(jieba):
    texts = [f"{a}黥魍{b}" for a, b in zip("赵钱孙李周吴郑王冯陈", "甲乙丙丁戊己庚辛壬癸", strict=True)]
    assert filter_words(encode(texts), texts, ["黥魍"], jieba).occurrences.words == ["黥魍"]
