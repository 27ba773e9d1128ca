import random
import unicodedata

import numpy as np
import pytest

from finbert2.corpus.minhash import CONFIG, CharacterMinhash, shingles

CHARACTERS = "营业收入净利润同比增长下降公司公告半导体汽车银行央行存款准备金率分析师认为评级买入产业链盈利修复订单产能"


def grams(text: str, n: int) -> set[str]:
    """The n-grams that `shingles` hashes, as strings."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum()) or text
    width = min(n, len(plain))
    return {plain[place : place + width] for place in range(len(plain) - width + 1)}


def random_text(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(CHARACTERS, k=length))


def jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 50, 3000])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_one_hash_for_each_distinct_gram(length, n):
    text = random_text(length, seed=length)
    hashed = shingles(text, n)
    assert hashed.shape == (len(grams(text, n)), 1) and hashed.dtype == np.uint64
    assert int(hashed.max()) < 2**61  # datatrove multiplies modulo the prime 2^61 - 1


def test_hashes_overlap_as_the_grams_do():
    text = random_text(2000, seed=0)
    for cut in (100, 700, 1500):
        one, other = text[:cut] + random_text(500, seed=cut), text
        exact = jaccard(grams(one, 4), grams(other, 4))
        assert jaccard(set(shingles(one, 4).ravel()), set(shingles(other, 4).ravel())) == exact


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("净利润2.1亿元，同比增长8%。", "净利润 2.1亿元\n同比增长8%", True),
        ("ＥＰＳ为１.２元（预测）", "eps为1.2元(预测)", True),
        ("营收增", "营收增。", True),
        ("营收增", "营收减", False),
        ("营收", "营收增", False),
        ("……", "——", False),
        ("净利润增长八个点", "净利润下降八个点", False),
    ],
)
def test_blanks_punctuation_case_and_width_do_not_count(one, other, same):
    assert np.array_equal(shingles(one, 4), shingles(other, 4)) is same


def test_a_short_text_is_one_shingle():
    assert [len(shingles(text, 4)) for text in ("甲", "甲乙", "甲乙丙", "甲乙丙丁", "甲乙丙丁戊")] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("kept", [500, 900, 980])
def test_signatures_agree_as_often_as_the_grams_overlap(tmp_path, kept):
    step = CharacterMinhash(str(tmp_path))
    text = random_text(1000, seed=1)
    other = text[:kept] + random_text(1000 - kept, seed=kept)
    one, two = (np.concatenate(step.get_signature(step.get_shingles(t))) for t in (text, other))
    assert len(one) == CONFIG.num_buckets * CONFIG.hashes_per_bucket == 112
    exact = jaccard(grams(text, 4), grams(other, 4))
    assert np.mean(one == two) == pytest.approx(exact, abs=3 * (exact * (1 - exact) / 112) ** 0.5)
