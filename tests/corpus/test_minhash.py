import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finbert2.corpus import minhash
from finbert2.corpus.minhash import (
    HASHES,
    LONG,
    SHORT,
    band_keys,
    gram_hashes,
    minhashes,
    normal_form,
    sketch,
)
from finbert2.ngrams import codes

CHARACTERS = "营业收入净利润同比增长下降公司公告半导体汽车银行央行存款准备金率分析师认为评级买入产业链盈利修复订单产能"


def grams(text: str, n: int) -> set[str]:
    return {text[place : place + n] for place in range(len(text) - n + 1)}


def random_text(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(CHARACTERS, k=length))


def jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other)


def meet(one: str, other: str) -> bool:
    return bool(np.intersect1d(sketch(one).keys, sketch(other).keys).size)


@pytest.mark.parametrize(
    ("text", "normal", "period"),
    [
        ("净利润 2.1亿元\n同比增长8%。", "净利润〇亿元同比增长〇", []),
        ("ＥＰＳ为１．２元（预测）", "eps为〇元预测", []),
        ("某公司2024年三季报点评：净利润增长12.5%", "某公司2024年3季报点评净利润增长〇", ["2024", "3"]),
        ("2023Q3营收3.5亿", "2023q3营收〇亿", ["2023", "3"]),
        ("2023H1，3.5倍", "2023h1〇倍", ["2023", "1"]),
        ("12月31日，10年期国债2.5%", "12月31日10年期国债〇", ["12", "31", "10"]),
        ("上半年1.68亿人次，见半年报", "上半年〇亿人次见半年报", ["上半年", "半年报"]),
        ("600519", "〇", []),
        ("\u2f26公司、\u2fa6额", "子公司金额", []),  # Kangxi radicals
    ],
)
def test_amounts_are_alike_and_times_stay(text, normal, period):
    assert normal_form(text) == normal
    assert minhash.PERIOD.findall(normal) == period


def test_periods_tell_texts_apart_and_amounts_do_not():
    a, b, c = (minhash.period_of(normal_form(f"公司{t}业绩")) for t in ("2024年1.5亿", "2024年2.5亿", "2023年1.5亿"))
    assert a == b != c


@pytest.mark.parametrize("length", [1, 3, 4, 5, 50, 3000])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_one_hash_for_each_distinct_gram(length, n):
    text = random_text(length, seed=length)
    hashed = gram_hashes(codes(text), n)
    assert len(hashed) == max(0, length - n + 1) and len(np.unique(hashed)) == len(grams(text, n))


@pytest.mark.parametrize("kept", [500, 900, 980])
def test_hashes_agree_as_often_as_the_grams_overlap(kept):
    text = random_text(1000, seed=1)
    other = text[:kept] + random_text(1000 - kept, seed=kept)
    one, two = (minhashes(gram_hashes(codes(t), 4)) for t in (text, other))
    exact = jaccard(grams(text, 4), grams(other, 4))
    assert np.mean(one == two) == pytest.approx(exact, abs=3 * (exact * (1 - exact) / HASHES) ** 0.5)


def test_bands_of_other_rows_and_places_have_other_keys():
    hashes = minhashes(gram_hashes(codes(random_text(200, seed=2)), 4))
    keys = [band_keys(hashes, rows) for rows in (4, 5)]
    assert [len(some) for some in keys] == [25, 20] and len(np.unique(np.concatenate(keys))) == 45
    assert len(np.unique(band_keys(np.zeros(HASHES, dtype=np.uint32) + 7, 5))) == 20  # alike, but another place
    changed = hashes.copy()
    changed[7] += 1
    assert np.flatnonzero(band_keys(changed, 5) != keys[1]).tolist() == [1]


@given(st.text(min_size=1, max_size=200))
def test_any_text_has_a_sketch(text):
    found = sketch(text)
    assert found.keys.dtype == np.uint64 and len(found.keys) >= 21 and found.length >= 1
    assert np.array_equal(found.keys, sketch(text).keys) and int(found.keys[0]) == found.exact


@pytest.mark.parametrize("length", [LONG - 1, LONG, SHORT, SHORT + 1])
def test_between_short_and_long_a_text_is_found_as_both(length):
    found = sketch(random_text(length, seed=3))
    assert len(found.keys) == 1 + 25 * (length <= SHORT) + 20 * (length >= LONG)
    assert found.letters.any() == (length <= SHORT) and found.hashes.any() == (length >= LONG)


def test_texts_without_grams_meet_only_their_equals():
    assert meet("甲", "甲") and meet("……", "……") and meet("营收增", "营收增。")
    assert not meet("甲", "乙") and not meet("……", "——") and not meet("营收", "毛利")


def test_short_texts_with_a_slip_share_a_key():
    """The number of titles of 20 characters with two of them changed that no key finds is small."""
    titles = [random_text(20, seed=seed) for seed in range(200)]
    slips = [title[:4] + "其" + title[5:13] + "之" + title[14:] for title in titles]
    assert sum(meet(one, other) for one, other in zip(titles, slips, strict=True)) >= 190
    assert sum(meet(one, other) for one, other in zip(titles, titles[1:], strict=False)) <= 10
