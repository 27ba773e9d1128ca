import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finbert2.corpus import similar
from finbert2.corpus.minhash import SHORT, sketch


def levenshtein(one: str, other: str) -> int:
    above = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]


def letters(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    array = np.zeros((len(texts), SHORT), dtype=np.uint16)
    for place, text in enumerate(texts):
        array[place, : len(text)] = [ord(c) for c in text]
    return array, np.array([len(text) for text in texts])


def records(*texts: str) -> np.ndarray:
    array = np.zeros(len(texts), dtype=similar.RECORD)
    for place, text in enumerate(texts):
        similar.fill(array, place, sketch(text))
    return array


def near(one: str, other: str) -> bool:
    there, back = records(one, other), records(other, one)
    (judged,), (reverse,) = (similar.are_near(pair[:1], pair[1:]) for pair in (there, back))
    assert judged == reverse
    return bool(judged)


@given(st.lists(st.tuples(st.text("abc", max_size=SHORT), st.text("abc", max_size=SHORT)), min_size=1, max_size=20))
def test_distances_equal_the_textbook(pairs):
    check([one for one, _ in pairs], [other for _, other in pairs])


def test_distances_of_edited_texts_equal_the_textbook():
    rng, ones, others = random.Random(0), [], []
    for _ in range(300):
        one = rng.choices("abcdef", k=rng.randint(0, SHORT))
        other = list(one)
        for _ in range(rng.randint(0, similar.BAND + 2)):
            place = rng.randint(0, len(other))
            other[place : place + rng.randint(0, 1)] = rng.choices("abcdef", k=rng.randint(0, 1))
        ones.append("".join(one))
        others.append("".join(other)[:SHORT])
    check(ones, others)


def check(ones: list[str], others: list[str]) -> None:
    (a, lengths_a), (b, lengths_b) = letters(ones), letters(others)
    expected = [levenshtein(one, other) for one, other in zip(ones, others, strict=True)]
    found = similar.distances(a, b, lengths_a, lengths_b).tolist()
    assert found == [edits if edits <= similar.BAND else similar.FAR for edits in expected]


def test_common_heads_and_tails():
    (a, length_a), (b, length_b) = letters(["abcd", "abc", "", "abab"]), letters(["abxcd", "abc", "a", "ab"])
    lengths = np.stack([length_a, length_b])
    assert similar.common_head(a, b, lengths.min(axis=0)).tolist() == [2, 3, 0, 2]
    assert similar.common_tail(a, b, lengths).tolist() == [2, 3, 0, 2]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("贵州某酒2024年三季报点评：净利润增长12.5%", "贵州某酒2024年三季报点评：净利润增长8.1%", True),  # an amount
        ("贵州某酒2024年三季报点评：净利润增长", "贵州某酒2024年一季报点评：净利润增长", False),  # a quarter
        ("贵州某酒2024年三季报点评：净利润增长", "贵州某酒2023年三季报点评：净利润增长", False),  # a year
        ("某公司年报点评：业绩稳健增长", "某公司中报点评：业绩稳健增长", False),
        ("贵州某酒2024年三季报点评：净利润增长", "洋河某酒业2024年三季报点评：净利润增长", False),  # a company
        ("白酒行业稳健增长龙头受益", "白酒行业稳健増长龙头受益", True),  # a slip
        ("白酒行业稳健增长龙头受益", "白酒行业稳健增长龙受益", True),
        ("白酒行业稳健增长龙头受益", "【快讯】白酒行业稳健增长龙头受益", True),  # a label
        ("白酒行业稳健增长龙头受益", "白酒行业稳健增长龙头受益（更新）", True),
        ("白酒行业稳健增长龙头受益", "从去年开始白酒行业稳健增长龙头受益", False),  # too much before it
        ("白酒行业稳健增长龙头受益估值修复可期", "白酒板块稳健增长龙头受益估值修复可期", False),  # another word
        ("白酒行业稳健增长龙头受益估值修复可期", "白洒行业稳健增长龙头受益估直修复可期", True),  # two slips apart
        ("白酒行业稳健增长", "煤炭板块估值修复", False),
        ("利好来了", "利空来了", False),  # too short for a slip
        ("利好来了", "利好，来了！", True),
    ],
)
def test_short_texts(one, other, expected):
    assert near(one, other) is expected


def prose(length: int, seed: int) -> str:
    return "".join(
        random.Random(seed).choices("营业收入净利润同比增长下降公司公告半导体汽车银行央行存款准备金率", k=length)
    )


def test_long_texts_by_the_overlap_of_their_grams():
    text = prose(400, seed=0)
    assert near(text, text[:200] + "改" + text[201:390])
    assert near(text, text + prose(140, seed=1))  # a paragraph added: contained, though the union is larger
    assert not near(text, text[:200] + prose(200, seed=2))
    assert not near(text, prose(400, seed=3))


def test_a_very_long_text_in_a_longer_one():
    characters = [chr(0x4E00 + number) for number in range(3000)]
    text = "".join(random.Random(0).choices(characters, k=130_000))
    assert near(text[:73_000], text)


def test_a_short_text_and_a_long_one_are_compared_by_their_grams():
    text = prose(SHORT, seed=4)
    assert near(text, text + "增长") and not near(text[:45], text + prose(60, seed=5))


def test_bits_that_agree_by_chance_do_not_count():
    one = np.zeros(1, dtype=similar.RECORD)
    other = one.copy()
    one["length"] = other["length"] = 500
    other["hashes"][0, : round(100 * (1 - similar.MIN_JACCARD)) + 1] = 1
    assert not similar.are_near_long(one, other)[0]
    other["hashes"][0] = 0
    assert similar.are_near_long(one, other)[0]
