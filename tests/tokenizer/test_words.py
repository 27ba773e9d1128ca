import random
import re
from collections import Counter

import pytest

from finbert2.errors import UserError
from finbert2.tokenizer import words

CHARACTERS = "营业收入净利润"


@pytest.mark.parametrize(
    ("piece", "kept"),
    [
        ("净利润", ["净利润"]),
        ("\u2581净利润", ["净利润"]),
        ("营业收入增长", ["营业收入增长"]),
        ("营业收入增长快", []),  # seven characters
        ("利", []),
        ("的公司", []),
        ("公司在", []),
        ("公司的钱", ["公司的钱"]),  # a function character inside
        ("2024年", []),
        ("EPS", []),
        ("净利润，", []),
        ("\u2581", []),
    ],
)
def test_what_can_be_a_word(piece, kept):
    assert words.candidates([piece]) == kept


def test_candidates_keep_their_order_and_come_once():
    assert words.candidates(["净利", "\u2581营收", "营收", "净利"]) == ["净利", "营收"]


@pytest.mark.parametrize("seed", range(5))
def test_matching_equals_a_regular_expression_that_prefers_the_longest(seed):
    chance = random.Random(seed)
    known = {"".join(chance.choices(CHARACTERS, k=chance.randint(2, 5))) for _ in range(12)}
    pattern = re.compile("|".join(sorted(known, key=len, reverse=True)))
    run = "".join(chance.choices(CHARACTERS, k=400))
    taken = list(words.longest_matches(run, frozenset(known), max(map(len, known))))
    assert taken == pattern.findall(run) and len(taken) > 5


def test_matches_are_counted_inside_runs_of_chinese_only():
    texts = ["营业收入12亿，净利润", "净 利润净利润营业。收入"]
    assert words.count_matches(["营业收入", "净利润", "收入"], texts) == {"营业收入": 1, "净利润": 2, "收入": 1}
    assert words.count_matches([], texts) == {}


def test_ranking_by_hand():
    counts = Counter({"净利": 9, "营业收入": 5, "净利润": 5, "毛利率": 5, "半导体": 4, "银行": 100})
    assert words.rank(counts, frozenset({"银行"}), 9) == [
        ("营业收入", 5, 15), ("净利润", 5, 10), ("毛利率", 5, 10), ("净利", 9, 9),
    ]  # fmt: skip
    assert words.rank(counts, frozenset(), 1) == [("银行", 100, 100)]


@pytest.mark.parametrize("length", [0, 5, 1024, 1025, 5000])
def test_lines_are_cut_where_sentencepiece_would_pass_over_them(length):
    line = "甲" * length
    cut = list(words.sentences([f"{line}\n乙", "丙"]))
    assert "".join(cut) == line + "乙丙" and max(len(part.encode()) for part in cut) <= words.MAX_SENTENCE_BYTES


def test_batches_are_full_but_the_last():
    assert list(words.batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]] and list(words.batches([], 3)) == []


def test_pieces_of_a_model_join_to_the_text():
    texts = ["营业收入同比增长，净利润下降"] * 20 + ["净利润同比增长"] * 20
    model = words.train_unigram(texts, 100, 1000, seed=0, threads=1)
    counts = words.count_pieces(model, texts)
    spelt = Counter("".join(counts.elements()).replace("\u2581", ""))
    assert spelt == Counter("".join(texts).replace("，", ","))
    assert words.train_unigram(texts, 100, 1000, seed=0, threads=1) == model


def test_a_corpus_without_anything_to_learn():
    with pytest.raises(UserError, match=r"^the corpus is too small to learn words from \(.*\): give more text$"):
        words.train_unigram(["", ""], 100, 1000, seed=0, threads=1)
