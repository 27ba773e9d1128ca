import random

import numpy as np
import pytest

from finbert2 import ngrams
from finbert2.errors import UserError
from finbert2.labeler import duplicates
from finbert2.labeler.data import Example, Sentence
from finbert2.labeler.split import folds, sample, split


def different(count: int, seed: int = 0) -> list[str]:
    """Texts of 30 random characters each."""
    chance = random.Random(seed)
    return ["".join(chr(chance.randint(0x4E00, 0x9F00)) for _ in range(30)) for _ in range(count)]


def naive(one: str, other: str) -> float:
    grams = [{text[n : n + 4] for n in range(max(1, len(text) - 3))} for text in (one, other)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("公司净利润增长", "公司净利润增长"),
        ("公司净利润增长", "公司净利润下降"),
        ("甲", "甲乙"),
        ("涨 跌 不 一", "涨跌不一"),
        ("", "甲"),
    ],
)
def test_similarity_is_the_jaccard_of_4_grams(one, other):
    expected = naive(one.replace(" ", ""), other.replace(" ", ""))
    assert ngrams.jaccard(duplicates.shingles(one), duplicates.shingles(other)) == pytest.approx(expected)


def test_near_duplicates_are_found_and_others_are_not():
    texts = different(200)
    copies = [texts[3] + "。", texts[50][:-1], "  " + texts[120]]
    found = {(place, other) for place, other, _ in duplicates.pairs([*texts, *copies])}
    assert found == {(200, 3), (201, 50), (202, 120)}
    leaks = list(duplicates.pairs(copies, texts))
    assert [(place, other) for place, other, _ in leaks] == [(0, 3), (1, 50), (2, 120)]
    assert leaks[2][2] == 1.0 and all(share >= 0.8 for *_, share in leaks)


def test_groups_are_transitive_and_named_by_their_first():
    text = different(1)[0] * 4
    chain = [text, text + "一二三四", text + "一二三四五六七八"]
    assert duplicates.groups([*chain, "别的", chain[0]]) == [0, 0, 0, 3, 0]


def test_a_thousand_copies_are_one_group_at_little_cost():
    assert set(duplicates.groups(["公司公告称净利润增长"] * 1000)) == {0}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_keeps_the_shares_of_the_classes(seed):
    rows = [Example(text, label) for text, label in zip(different(100), ["多"] * 70 + ["少"] * 30, strict=True)]
    train, dev = split(rows, seed)
    assert len(train) == 90 and [sum(row.label == "少" for row in part) for part in (train, dev)] == [27, 3]
    assert set(map(id, train + dev)) == set(map(id, rows)) and split(rows, seed)[1] == dev


@pytest.mark.parametrize("small", [0, 5])
def test_small_classes_give_a_tenth_together(small):
    """A hundred classes of four rows: of none a tenth is a row, and one with five rows was all that was held out."""
    names = [f"{number % 100:02}" for number in range(400)] + ["多"] * small
    rows = [Example(text, name) for text, name in zip(different(len(names)), names, strict=True)]
    assert 40 <= len(split(rows, 0)[1]) <= 55


def test_several_labels_are_in_both_parts_in_their_shares():
    """Of 400 combinations most are of a single row, which by itself is never held out."""
    chance, names = random.Random(0), [f"{number:02}" for number in range(12)]
    drawn = ["|".join(name for name in names if chance.random() < 0.25) for _ in range(1000)]
    rows = [Example(text, label) for text, label in zip(different(1000), drawn, strict=True)]
    train, dev = split(rows, 0)
    assert len(set(drawn)) > 400 and 95 <= len(dev) <= 105
    means = [np.mean([len(row.labels) for row in part]) for part in (train, dev)]
    assert means[0] == pytest.approx(means[1], abs=0.3)
    parts = np.array(folds(rows, 5, 0))
    for name in names:
        there = np.bincount(parts[[name in row.labels for row in rows]], minlength=5)
        assert there.min() > 0.7 * there.mean()


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_never_parted(seed):
    texts = different(40)
    rows = [Example(text + tail, "多" if n % 2 else "少") for n, text in enumerate(texts) for tail in ("", "。", "！")]
    train, dev = split(rows, seed)
    assert 6 <= len(dev) <= 15 and len(train) + len(dev) == 120
    assert list(duplicates.pairs([row.text for row in dev], [row.text for row in train])) == []
    parts = folds(rows, 5, seed)
    assert all(len(set(parts[n : n + 3])) == 1 for n in range(0, 120, 3))
    assert np.bincount(parts).tolist() == [24] * 5


def test_a_class_with_one_row_stays_in_training():
    rows = [Example(text, "多") for text in different(19)] + [Example("仅此一行", "少")]
    for seed in range(5):
        train, dev = split(rows, seed)
        assert len(dev) == 2 and rows[-1] in train
    assert [len(part) for part in split([Sentence(tuple(c), ("O",)) for c in "甲乙丙"], 0)] == [2, 1]


def test_groups_larger_than_a_tenth_are_held_out_where_there_is_nothing_else():
    texts = different(6)
    rows = [Example(text + tail, "多" if n % 2 else "少") for n, text in enumerate(texts) for tail in ("", "。", "！")]
    train, dev = split(rows, 0)
    assert len(dev) == 6 and {row.label for row in dev} == {"多", "少"}
    assert list(duplicates.pairs([row.text for row in dev], [row.text for row in train])) == []


@pytest.mark.parametrize("rows", [[Example("甲", "1")], [Example("公司净利润增长", "1")] * 9])
def test_nothing_to_hold_out(rows):
    with pytest.raises(UserError) as raised:
        split(rows, 0)
    assert str(raised.value) == (
        f"the training data has {len(rows)} rows, and none can be held out (one row, or all near duplicates of one "
        "another): add rows, or name --dev_data"
    )


def test_more_folds_than_rows():
    with pytest.raises(UserError) as raised:
        folds([Example("甲", "1"), Example("乙", "2")], 3, 0)
    assert str(raised.value) == ("--folds 3: the training data has fewer rows that are no near duplicates of another")


def test_folds_spread_every_class():
    rows = [Example(text, label) for text, label in zip(different(60), ["a"] * 40 + ["b"] * 20, strict=True)]
    parts = np.array(folds(rows, 4, 0))
    assert np.bincount(parts[:40]).tolist() == [10] * 4 and np.bincount(parts[40:]).tolist() == [5] * 4


def test_a_sample_keeps_the_order_and_repeats_by_its_seed():
    rows = list(range(100))
    drawn = sample(rows, 10, 3)
    assert drawn == sorted(drawn) == sample(rows, 10, 3) != sample(rows, 10, 4) and len(drawn) == 10
    assert sample(rows, 0, 3) == sample(rows, 100, 3) == rows
