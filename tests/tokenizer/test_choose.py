import itertools

import numpy as np
import pytest

from finbert2.tokenizer.choose import choose, source_weights, taken_counts, tokens_without
from finbert2.tokenizer.matching import encode, find

ONE = np.ones(1)


def tokens(texts, words):
    occurrences = find(encode(texts), words)
    counts = taken_counts(occurrences, np.ones(len(words), bool), ONE)
    return sum(map(len, texts)) - int((counts * (occurrences.lengths - 1)).sum())


@pytest.mark.parametrize(
    ("word", "known", "count"),
    [
        ("中国人民银行", ["中国", "人民", "银行", "中国人民银行"], 3),
        ("中国人民银行", ["中国人民"], 3),
        ("中国人民银行", [], 6),
        ("银行", ["银行"], 2),
        ("人民银行", ["人民银", "人民", "银行"], 2),  # leftmost-longest: 人民银 行
    ],
)
def test_a_word_without_itself(word, known, count):
    assert tokens_without(word, set(known)) == count


def test_what_overlaps_is_not_paid_twice():
    texts = ["中国人民银行"] * 10 + ["中国"] * 60 + ["人民"] * 60 + ["银行"] * 60 + ["利率"] * 21
    chosen = choose(find(encode(texts), ["中国人民银行", "中国", "人民", "银行", "利率"]), 4, ONE)
    # Alone the long word would save 50; beside the others it saves 20, one less than 利率.
    assert [choice.word for choice in chosen] == ["银行", "人民", "中国", "利率"]
    assert [choice.occurrences for choice in chosen] == [70, 70, 70, 21]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_near_the_best_of_all_choices(limit):
    texts = ["营业收入增长"] * 5 + ["净利润增长"] * 4 + ["营业利润"] * 3 + ["收入"] * 6
    words = ["营业", "收入", "营业收入", "净利润", "增长", "利润", "收入增长"]
    best = min(tokens(texts, list(some)) for some in itertools.combinations(words, limit))
    found = tokens(texts, [choice.word for choice in choose(find(encode(texts), words), limit, ONE)])
    assert found <= best * 1.05


def test_tokens_saved_add_up():
    texts = ["营业收入增长净利润"] * 9 + ["收入净利润"] * 7 + ["增长"] * 4
    words = ["营业收入", "收入", "增长", "净利润", "利润"]
    chosen = choose(find(encode(texts), words), 5, ONE)
    assert sum(choice.tokens_saved for choice in chosen) == sum(map(len, texts)) - tokens(texts, words)


def test_published_words_are_there_and_not_returned():
    texts = ["营业收入"] * 9 + ["净利润"] * 3
    chosen = choose(find(encode(texts), ["营业收入", "营业", "净利润"]), 2, ONE, published={"营业收入"})
    assert [(choice.word, choice.tokens_saved) for choice in chosen] == [("净利润", 6), ("营业", 0)]


def test_a_heavier_source_decides():
    texts, words = ["营业收入"] * 6 + ["净利润"] * 5, ["营业收入", "净利润"]
    occurrences = find(encode(texts, [0] * 6 + [1] * 5), words)
    assert [c.word for c in choose(occurrences, 1, np.array([1.0, 1.0]))] == ["营业收入"]
    assert [c.word for c in choose(occurrences, 1, np.array([1.0, 3.0]))] == ["净利润"]


@pytest.mark.parametrize(("smoothing", "wanted"), [(1, [1, 1]), (0, [0.625, 2.5]), (0.5, [2 / 3 / 0.8, 1 / 3 / 0.2])])
def test_source_weights_by_hand(smoothing, wanted):
    found = source_weights(np.array([80.0, 20.0]), smoothing)
    np.testing.assert_allclose(found, wanted)
    assert found @ [0.8, 0.2] == pytest.approx(1)


def test_worth_discounts_a_word():
    occurrences = find(encode(["公司的"] * 6 + ["净利润"] * 4), ["公司的", "净利润"])
    assert [c.word for c in choose(occurrences, 1, ONE)] == ["公司的"]
    (choice,) = choose(occurrences, 1, ONE, worth=np.array([0.5, 1]))
    assert (choice.word, choice.tokens_saved) == ("净利润", 8)


def test_a_source_without_text_weighs_nothing():
    np.testing.assert_allclose(source_weights(np.array([80.0, 20.0, 0.0]), 0), [0.625, 2.5, 0])


def test_choosing_none_and_more_than_there_are():
    occurrences = find(encode(["营业收入"]), ["营业", "收入"])
    assert choose(occurrences, 0, ONE) == [] and len(choose(occurrences, 9, ONE)) == 2
    assert choose(find(encode(["营业"]), []), 3, ONE) == []
