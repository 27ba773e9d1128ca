"""Which passages and which rows meet in a batch."""

from collections import deque

import pytest

from finbert2.errors import UserError
from finbert2.retriever import data
from finbert2.retriever.batches import Batches, Groups


@pytest.fixture
def rows(train_file):
    return data.read_training_rows([train_file])[0]


def test_draws_repeat_by_seed_differ_by_epoch_and_hold_no_positive(rows):
    groups = Groups(rows, 5, "指令：", seed=1)
    again = Groups(rows, 5, "指令：", seed=1)
    epochs = [[groups[epoch, n] for n in range(len(rows))] for epoch in (0, 1)]
    assert epochs[0] == [again[0, n] for n in range(len(rows))] != epochs[1]
    assert epochs[0] != [Groups(rows, 5, "指令：", seed=2)[0, n] for n in range(len(rows))]
    for row, group in zip(rows, epochs[0], strict=True):
        assert group.query == "指令：" + row.query
        assert group.passages[0] in row.positives
        assert len(set(group.passages)) == 5
        assert set(group.passages[1:]) <= set(row.negatives)


def test_a_row_with_few_negatives_is_filled_up_without_repeats_or_positives():
    known = [
        data.TrainingRow("甲", ["一"], ["二"]),
        data.TrainingRow("甲", ["三"], []),
        data.TrainingRow("乙", ["四"], ["五"]),
    ]
    groups = Groups(known, 4, "", seed=0)
    assert groups.short_rows() == 3
    for epoch in range(20):
        assert sorted(groups[epoch, 0].passages) == sorted(["一", "二", "四", "五"])
    with pytest.raises(UserError) as raised:
        Groups(known, 5, "", seed=0)
    assert str(raised.value) == (
        "the data hold 5 different passages, too few for groups of 5 (a positive and 4 negatives): "
        "lower --train_group_size or give more rows"
    )


def test_a_prompt_of_the_row_takes_the_instructions_place():
    rows = [data.TrainingRow("甲", ["一"], ["二"], prompt="问：")]
    assert Groups(rows, 2, "指令：", 0)[0, 0].query == "问：甲"


@pytest.mark.parametrize("together", [1, 2])
def test_batches_hold_no_false_negative(rows, together):
    groups = Groups(rows, 5, "", seed=3)
    batches = Batches(groups, 4, together)
    for epoch in range(3):
        groups.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches) == 8
        assert found == list(batches)
        for first in range(0, len(found), together):
            places = [place for batch in found[first : first + together] for place in batch]
            assert len({rows[n].query for _, n, _ in places}) == len(places) == 4 * together
            for epoch_, n, _ in places:
                others = [groups[epoch_, m].passages for _, m, _ in places if m != n]
                assert not set(rows[n].positives) & {text for passages in others for text in passages}


def sources(n_first, n_second, **options):
    def rows(name, number, source, **more):
        return [
            data.TrainingRow(f"{name}{n}", [f"{name}正{n}"], [f"{name}负{n}"], source=source, **more)
            for n in range(number)
        ]

    return Groups(rows("甲", n_first, 0) + rows("乙", n_second, 1, **options), 2, "", seed=0)


def test_sources_in_ratio_repeat_rows_with_new_draws():
    batches = Batches(sources(12, 4), 4, ratio=[1, 3])
    assert len(list(batches)) == len(batches) == 4
    found = batches.order([0, 1], 0)
    assert len(found) == 16 == len(set(found))
    assert sum(place.row < 12 for place in found) == 4
    assert sorted(place.copy for place in found if place.row >= 12) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("together", [1, 2])
def test_one_source_a_step(together):
    batches = Batches(sources(17, 9), 2, together, one_source=True)
    found = list(batches)
    assert len(found) == len(batches) == (16 + 8) // 2
    for first in range(0, len(found), together):
        assert len({place.row < 17 for batch in found[first : first + together] for place in batch}) == 1
    with pytest.raises(UserError, match="^the rows of a source do not fill one step of 10 on 1 process"):
        Batches(sources(17, 9), 10, one_source=True)


def test_rows_without_in_batch_negatives_ask_nothing_of_the_others():
    same = [data.TrainingRow(f"{n}", ["正"], ["负"], in_batch=False) for n in range(4)]
    assert len(list(Batches(Groups(same, 2, "", 0), 4))) == 1
    seeing = [data.TrainingRow("甲", ["正"], ["他"]), *same[:1], data.TrainingRow("丙", ["另"], ["外"])]
    for batch in Batches(Groups(seeing, 2, "", 0), 2):
        assert {place.row for place in batch} != {0, 1}


def test_a_teachers_scores_follow_the_draw():
    row = data.TrainingRow("甲", ["一"], ["二", "三"], pos_scores=[9.0], neg_scores=[1.0, 2.0])
    other = data.TrainingRow("乙", ["四"], ["五"])
    group = Groups([row, other], 4, "", 0)[0, 0]
    known = {"一": 9.0, "二": 1.0, "三": 2.0}
    assert [known.get(text) for text in group.passages[:3]] == list(group.scores[:3])
    assert group.scores[3] != group.scores[3]  # NaN: another row's passage
    assert Groups([row, other], 2, "", 0)[0, 1].scores == ()


def test_rows_that_cannot_share_a_batch():
    same = [data.TrainingRow("甲", ["一"], ["二", "三"]) for _ in range(4)]
    with pytest.raises(UserError, match="too many rows share queries or passages for batches of 2 without false"):
        list(Batches(Groups(same, 2, "", 0), 2))
    pairs = [data.TrainingRow(f"甲{n}", [f"一{n}"], []) for n in range(260)]  # filled up with one another's positives
    with pytest.raises(UserError, match="lower --per_device_train_batch_size or --train_group_size, remove duplicates"):
        list(Batches(Groups(pairs, 15, "", 0), 64))
    assert len(list(Batches(Groups(pairs, 2, "", 0), 64))) == len(list(Batches(Groups(pairs, 15, "", 0), 8))) // 8 == 4


def test_a_row_that_waits_is_neither_drawn_nor_moved_for_each_step(monkeypatch):
    """A third of the rows ask one thing, so one of them fits a step: the others wait, in their order."""
    rows = [data.TrainingRow(f"问{n}" if n % 3 else "同", [f"正{n}"], [f"负{n}"]) for n in range(300)]
    groups, drawn = Groups(rows, 2, "", 0), []
    draw = Groups.__getitem__
    monkeypatch.setattr(Groups, "__getitem__", lambda self, place: drawn.append(place) or draw(self, place))
    batches = Batches(groups, 4)
    steps = list(batches)
    assert len(steps) == 75 and len(drawn) < 2 * len(rows)
    places = deque(batches.order([0], 0))
    before, step = list(places), batches.fill(places)
    assert list(places) == [place for place in before if place not in step]
