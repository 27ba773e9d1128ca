"""Rows, order, schedules."""

from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoTokenizer

from finbert2.pretrain.data import load_windows
from finbert2.pretrain.packing import BLANK, EpochSampler, PackedRows, Place, Schedule, pack, ragged
from finbert2.pretrain.trainer import PretrainingTrainer

ALWAYS = Schedule(((0.0, 0.15),), planned=50)


@pytest.fixture
def rows(tokenizer_folder, corpus_file, tmp_path) -> PackedRows:
    """Rows of 64 tokens of windows of up to 48."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(corpus_file)], "text", tokenizer, 48, tmp_path, "train")
    return PackedRows(windows, 64, tokenizer.pad_token_id, seed=0)


def test_packing_holds_each_window_once_and_rows_are_full():
    """Best fit over real length distributions fills 99 % of the slots."""
    lengths = np.clip(np.random.default_rng(0).lognormal(4.2, 0.8, 20_000).astype(int), 3, 512).astype(np.int32)
    order, ends = pack(lengths, 512, seed=1)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    sums = np.add.reduceat(lengths[order], np.concatenate([[0], ends[:-1]]))
    assert sums.max() <= 512
    assert sums.sum() / (512 * len(sums)) >= 0.99


def test_ragged_by_hand():
    """Two runs, an empty one between them."""
    assert ragged(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]


def test_rows_hold_the_windows_and_pad_at_the_end_only(rows):
    """A row is its windows one after the other; segments add up to its length; padding is segments of its own."""
    windows = rows.windows
    seen = 0
    for number in range(len(rows)):
        item = rows[Place(0, number, 0.15)]
        begin = rows.row_ends[number - 1] if number else 0
        chosen = rows.order[begin : rows.row_ends[number]].tolist()
        firsts = windows.ends - windows.lengths
        ids = [i for w in chosen for i in windows.ids[firsts[w] : windows.ends[w]].tolist()]
        starts = [s for w in chosen for s in windows.starts[firsts[w] : windows.ends[w]].tolist()]
        pads = 64 - len(ids)
        assert item["ids"][0].tolist() == ids + [rows.pad_id] * pads
        assert item["starts"][0].tolist() == starts + [True] * pads
        assert item["lengths"][item["real"]].tolist() == windows.lengths[chosen].tolist()
        assert item["lengths"][~item["real"]].sum() == pads
        assert item["lengths"].max() <= 48
        assert item["real"].tolist() == sorted(item["real"].tolist(), reverse=True)
        seen += len(ids)
    assert seen == windows.ends[-1]
    assert rows.fill == pytest.approx(seen / (64 * len(rows)))


def test_a_batch_is_its_rows_one_after_the_other(rows):
    """Gathering many rows at once gives what gathering each gives; blanks are passed over."""
    places = [Place(1, 3, 0.2), Place(1, 0, 0.2), Place(1, len(rows) - 1, 0.2), Place(1, BLANK, 0.2)]
    whole = rows.__getitems__(places)
    parts = [rows[place] for place in places[:3]]
    for name in ("ids", "starts", "rows", "lengths", "sources", "real"):
        assert whole[name].tolist() == np.concatenate([part[name] for part in parts]).tolist()
    assert (whole["epoch"], whole["ratio"]) == (1, 0.2)


def test_a_row_with_much_space_is_cut_into_possible_positions(rows):
    """100 slots of padding where windows have at most 42 tokens are 42 + 42 + 16."""
    assert rows.windows.longest == 42
    found = rows.with_padding(np.array([10, 20]), np.array([0, 0]), np.array([1, 1]), np.array([100, 0]))
    assert found["lengths"].tolist() == [10, 42, 42, 16, 20]
    assert found["real"].tolist() == [True, False, False, False, True]


def test_the_plan_is_packed_once(rows, tokenizer_folder):
    """A second reader finds the plan beside the corpus."""
    files = {path: path.stat().st_mtime_ns for path in rows.windows.folder.glob("*.npy")}
    again = PackedRows(rows.windows, 64, rows.pad_id, seed=0)
    assert again.order.tolist() == rows.order.tolist()
    assert {path: path.stat().st_mtime_ns for path in rows.windows.folder.glob("*.npy")} == files
    assert len(files) == 2
    other = PackedRows(rows.windows, 64, rows.pad_id, seed=1)
    assert other.order.tolist() != rows.order.tolist()


def test_order_is_a_function_of_seed_and_epoch():
    """The same epoch gives the same order, another one a different one, each row once."""
    sampler = EpochSampler(50, 3, ALWAYS)
    first = list(sampler)
    assert first == list(EpochSampler(50, 3, ALWAYS))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {place.row for place in second} == set(range(50))
    assert [place.row for place in first] != [place.row for place in second]
    assert {place.epoch for place in second} == {1}


def test_the_mask_ratio_follows_the_share_of_the_run():
    """Two epochs of 50 rows: 0.3 up to 80 of the 100 rows, then 0.15."""
    sampler = EpochSampler(50, 0, Schedule(((0.0, 0.3), (0.8, 0.15)), planned=100))
    assert {place.ratio for place in sampler} == {0.3}
    sampler.set_epoch(1)
    assert [place.ratio for place in sampler] == [0.3] * 30 + [0.15] * 20


def test_the_batch_grows_by_steps_and_keeps_its_places():
    """Batches of 8, two a step, ramp of 3 steps: 2, 4, 6 and then 8 rows; the first epoch alone ramps."""
    schedule = Schedule(((0.0, 0.15),), planned=80, batch_rows=8, batches=2, ramp=3)
    sampler = EpochSampler(80, 0, schedule)
    places = list(sampler)
    sizes = [sum(p.row != BLANK for p in places[start : start + 8]) for start in range(0, 80, 8)]
    assert sizes == [2, 2, 4, 4, 6, 6, 8, 8, 8, 8]
    met = [place.row for place in places if place.row != BLANK]
    assert len(met) == len(set(met)) == 56
    sampler.set_epoch(1)
    assert {place.row for place in sampler} == set(range(80))


@pytest.mark.parametrize(
    ("rows", "batch", "accumulated", "steps", "planned", "met"),
    [
        (45, 16, 1, 20, 450, 320),  # two steps an epoch, 13 rows of it left out
        (45, 64, 1, 20, 900, 900),  # fewer rows than a batch
        (45, 4, 7, 20, 450, 440),  # 11 batches an epoch: a step of 7 and one of 4
        (1000, 10, 2, 7, 140, 140),  # within an epoch
    ],
)
def test_a_run_of_steps_is_planned_by_the_rows_it_meets(tmp_path, rows, batch, accumulated, steps, planned, met):
    """`planned` is where the sampler's count stands at the end of the run, `met` the rows trained on."""
    arguments = SimpleNamespace(
        world_size=1, train_batch_size=batch, gradient_accumulation_steps=accumulated, num_train_epochs=1.0,
        max_steps=steps,
    )  # fmt: skip
    trainer = object.__new__(PretrainingTrainer)
    trainer.args, trainer.train_dataset, trainer.ratios, trainer.ramp = arguments, range(rows), ((0.0, 0.15),), 0
    assert trainer.schedule(rows).planned == planned
    assert trainer.rows_met(steps) == met
    trainer.ramp = rows // batch and 1
    assert trainer.rows_met(steps) == met - sum(batch - trainer.schedule(rows).rows(one) for one in range(accumulated))
