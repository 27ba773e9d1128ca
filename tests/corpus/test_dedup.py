import itertools
import random

import numpy as np
import pytest
from datatrove.data import Document
from hypothesis import given
from hypothesis import strategies as st

from finbert2.corpus import dedup, similar


def packed(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array([one << 32 | other for one, other in pairs], dtype=np.uint64)


@given(st.lists(st.integers(0, 6), max_size=40))
def test_holders_of_a_key_are_paired_with_the_first_and_their_neighbours(keys):
    numbers = np.arange(len(keys), dtype=np.uint64)
    shuffled = np.array(keys, dtype=np.uint64) * np.uint64(2**60)
    expected = set()
    for key in set(keys):
        holders = [number for number, k in enumerate(keys) if k == key]
        for place, number in enumerate(holders):
            near = holders[max(0, place - dedup.NEIGHBOURS) : place] + holders[: 1 if place else 0]
            expected |= {(other, number) for other in near}
    found = dedup.pair_up(shuffled, numbers)
    assert found.tolist() == sorted(packed(*expected).tolist())


def test_a_document_is_no_pair_with_itself():
    assert not len(dedup.pair_up(np.array([5, 5], dtype=np.uint64), np.array([3, 3], dtype=np.uint64)))


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_parts_of_the_keys_cover_all_once(parts):
    ranges = [dedup.key_range(part, parts) for part in range(parts)]
    assert ranges[0][0] == 0 and ranges[-1][1] == 2**64 - 1
    assert all(int(low) == int(high) + 1 for (_, high), (low, _) in itertools.pairwise(ranges))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([dedup.EXACT, dedup.NEAR])), max_size=25)
)
def test_what_stays_has_no_copy_before_it_and_what_goes_has_one(found):
    pairs = {(min(a, b), max(a, b)): kind for a, b, kind in found if a != b}
    verdicts, decisive = dedup.choose(packed(*pairs), np.array(list(pairs.values()), dtype=np.uint8), 10)
    expected = []
    for number in range(10):
        before = {one: kind for (one, other), kind in pairs.items() if other == number}
        exact = any(kind == dedup.EXACT for kind in before.values())
        near = any(kind == dedup.NEAR and expected[one] == dedup.KEPT for one, kind in before.items())
        expected.append(dedup.EXACT if exact else dedup.NEAR if near else dedup.KEPT)
    assert verdicts.tolist() == expected
    assert int(decisive.sum()) == sum(verdict != dedup.KEPT for verdict in expected)


def test_a_chain_does_not_go_as_a_whole():
    verdicts, _ = dedup.choose(packed((0, 1), (1, 2)), np.array([dedup.NEAR] * 2, dtype=np.uint8), 3)
    assert verdicts.tolist() == [dedup.KEPT, dedup.NEAR, dedup.KEPT]


def run(texts: list[str], folder, tasks: int) -> list[int]:
    """Return the verdicts of texts that are divided among tasks."""
    borders = [len(texts) * part // tasks for part in range(tasks + 1)]
    sketches, candidates, judged, chosen = (folder / name for name in ("s", "c", "j", "v"))
    for rank, (begin, end) in enumerate(itertools.pairwise(borders)):
        docs = [Document(text=text, id=str(n)) for n, text in enumerate(texts[begin:end])]
        assert list(dedup.Sketches(sketches).run(iter(docs), rank, tasks)) == docs
    for rank in range(tasks):
        dedup.Candidates(sketches, candidates).run(None, rank, tasks)
    for rank in range(tasks):
        dedup.Judge(sketches, candidates, judged).run(None, rank, tasks)
    dedup.Choose(sketches, judged, chosen, 3).run(None, 0, 1)
    return np.concatenate([np.load(chosen / f"{rank:05d}.npy") for rank in range(tasks)]).tolist()


def corpus() -> list[str]:
    rng = random.Random(5)
    originals = ["".join(rng.choices("营业收入净利润同比增长下降公司公告半导体汽车银行央行", k=120)) for _ in range(40)]
    copies = [text if n % 2 else text[:60] + "改" + text[61:] for n, text in enumerate(originals[:20])]
    return [*originals, *copies]


@pytest.mark.parametrize("tasks", [1, 3, 11])
def test_however_work_is_divided_the_verdicts_are_the_same(tmp_path, tasks, monkeypatch):
    monkeypatch.setattr(dedup, "PAIRS_AT_ONCE", 7)
    monkeypatch.setattr(dedup, "JUDGED_AT_ONCE", 5)
    verdicts = run(corpus(), tmp_path, tasks)
    assert verdicts == [dedup.KEPT] * 40 + [dedup.NEAR, dedup.EXACT] * 10


def test_records_come_back_by_their_numbers(tmp_path):
    texts = corpus()[:30]
    run(texts, tmp_path, 4)
    starts = dedup.first_numbers(tmp_path / "s")
    assert starts.tolist() == [0, 7, 15, 22, 30]
    numbers = np.array([29, 0, 7, 7, 14, 15])
    expected = np.zeros(len(numbers), dtype=similar.RECORD)
    for place, number in enumerate(numbers):
        similar.fill(expected, place, dedup.sketch(texts[number]))
    assert np.array_equal(dedup.records_of(tmp_path / "s", numbers, starts), expected)


def test_a_thousand_equal_texts_leave_one(tmp_path):
    assert run(["公司公告称前三季度净利润同比增长"] * 1000, tmp_path, 3).count(dedup.KEPT) == 1


def test_a_task_without_documents(tmp_path):
    assert run([], tmp_path, 2) == [] and run(corpus()[:1], tmp_path / "one", 3) == [dedup.KEPT]


def test_shown_pairs_are_spread_over_all():
    pairs = packed(*((n, n + 1) for n in range(100)))
    assert dedup.some_of(pairs, 3) == [[0, 1], [49, 50], [99, 100]] and dedup.some_of(pairs[:0], 3) == []
