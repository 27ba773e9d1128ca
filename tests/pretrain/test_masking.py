"""Whole-word masks from a counter."""

import numpy as np
import pytest

from finbert2.pretrain.masking import IGNORED, Masker, counter_random

MASK, SPECIALS, VOCABULARY = 4, (0, 2, 3, 4), 1000


def batch(rows: int = 64, length: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, word starts and row numbers: words of 1 to 4 tokens, [CLS] first, [SEP] last."""
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, (rows, length))
    starts = random.random((rows, length)) < 0.5
    ids[:, 0], ids[:, -1], starts[:, 0], starts[:, 1], starts[:, -1] = 2, 3, True, True, True
    return ids, starts, np.arange(rows)


def masker(seed: int = 0, **options: float) -> Masker:
    """Return a masker over the toy vocabulary."""
    return Masker(MASK, SPECIALS, VOCABULARY, seed, **options)


def masked_table(out: dict[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return which places are predicted (rows, length)."""
    table = np.zeros(shape, dtype=bool)
    for row, (places, labels) in enumerate(zip(out["places"], out["labels"], strict=True)):
        table[row, places[labels != IGNORED]] = True
    return table


def test_words_are_masked_whole_and_specials_never():
    """Each word is predicted in all of its tokens or in none."""
    ids, starts, rows = batch()
    table = masked_table(masker()(ids, starts, 0, rows, 0.15), ids.shape)
    words = np.cumsum(starts, axis=1)
    for row in range(len(ids)):
        for word in np.unique(words[row]):
            assert table[row, words[row] == word].all() or not table[row, words[row] == word].any()
    assert not table[np.isin(ids, SPECIALS)].any()


def test_every_row_has_the_same_slots_and_nearly_the_ratio():
    """Shapes are static; unused slots are few."""
    ids, starts, rows = batch(512)
    out = masker()(ids, starts, 0, rows, 0.15)
    assert out["places"].shape == out["labels"].shape == (512, round(0.15 * 128))
    share = (out["labels"] != IGNORED).mean()
    assert 0.93 < share < 1.0


def test_labels_are_the_clean_tokens_and_replacements_are_80_10_10():
    """Unmasked places keep their token; of the masked 80 % are [MASK], about 10 % unchanged."""
    ids, starts, rows = batch(2000)
    out = masker()(ids, starts, 0, rows, 0.15)
    table = masked_table(out, ids.shape)
    used = out["labels"] != IGNORED
    assert (np.take_along_axis(ids, out["places"], 1)[used] == out["labels"][used]).all()
    assert (out["input_ids"][~table] == ids[~table]).all()
    assert (out["input_ids"][table] == MASK).mean() == pytest.approx(0.8, abs=0.01)
    assert (out["input_ids"][table] == ids[table]).mean() == pytest.approx(0.1, abs=0.01)


def test_every_word_is_masked_equally_often_over_epochs():
    """Over 400 epochs the mask rate of each token stays near the ratio, whatever its word's length or place."""
    ids, starts, rows = batch(4)
    total = sum(masked_table(masker()(ids, starts, epoch, rows, 0.15), ids.shape).astype(float) for epoch in range(400))
    rate = total[:, 1:-1] / 400
    assert rate.mean() == pytest.approx(0.15, abs=0.012)
    assert rate.min() > 0.05
    assert rate.max() < 0.28


def test_masks_depend_on_seed_epoch_and_row_alone():
    """A row in another batch, at another place, gets the same mask; another epoch or seed another one."""
    ids, starts, rows = batch(8)
    whole = masker()(ids, starts, 5, rows, 0.15)
    part = masker()(ids[[6, 2]], starts[[6, 2]], 5, np.array([6, 2]), 0.15)
    assert (part["input_ids"] == whole["input_ids"][[6, 2]]).all()
    assert (part["labels"] == whole["labels"][[6, 2]]).all()
    assert (masker()(ids, starts, 6, rows, 0.15)["input_ids"] != whole["input_ids"]).any()
    assert (masker(seed=1)(ids, starts, 5, rows, 0.15)["input_ids"] != whole["input_ids"]).any()


def test_a_row_with_fewer_tokens_than_slots_is_safe():
    """Padding is never predicted, even if a whole row is padding."""
    ids, starts, rows = np.zeros((2, 32), dtype=np.int64), np.ones((2, 32), dtype=bool), np.arange(2)
    out = masker()(ids, starts, 0, rows, 0.15)
    assert (out["labels"] == IGNORED).all()
    assert (out["input_ids"] == ids).all()


def sparse(ordinary: int, length: int, word: int = 1, rows: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, word starts and row numbers: [CLS], `ordinary` tokens in words of `word`, [SEP], padding."""
    ids, starts = np.zeros((rows, length), dtype=np.int64), np.ones((rows, length), dtype=bool)
    ids[:, 0], ids[:, 1 : ordinary + 1], ids[:, ordinary + 1] = 2, 7, 3
    starts[:, 1 : ordinary + 1] = np.arange(ordinary) % word == 0
    return ids, starts, np.arange(rows)


@pytest.mark.parametrize(
    ("row", "ratio", "slots", "predicted"),
    [
        ((100, 512), 0.15, 77, 15),  # and not 77 of the 100
        ((10, 32), 0.2, 6, 2),
        ((30, 32), 0.2, 6, 6),  # a full row uses all of its slots
        ((1, 32), 0.2, 6, 1),
        ((10, 32, 2), 0.3, 10, 2),  # of the three that are wanted the third begins a word that does not fit
        ((12, 32, 4), 0.2, 6, 0),
    ],
)
def test_the_ratio_is_of_the_tokens_and_not_of_the_slots(row, ratio, slots, predicted):
    """Padding earns a row no more masks; the slots stay the same number."""
    ids, starts, rows = sparse(*row)
    out = masker(mask_share=1.0, random_share=0.0)(ids, starts, 0, rows, ratio)
    assert out["labels"].shape == (50, slots)
    assert ((out["labels"] != IGNORED).sum(axis=1) == predicted).all()
    assert ((out["input_ids"] == MASK).sum(axis=1) == predicted).all()


def test_counter_random_is_uniform():
    """The mean and the bits of 200,000 draws are what chance gives."""
    draws = counter_random(1, 2, np.arange(200)[:, None], np.arange(1000)[None, :], 0)
    assert len(np.unique(draws)) == draws.size
    assert (draws / 2**64).mean() == pytest.approx(0.5, abs=0.005)
    bits = (draws.ravel()[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 0.006


def test_the_ratio_sets_the_slots():
    """A later stage of a schedule asks for other ratios of the same masker."""
    ids, starts, rows = batch(8)
    for ratio in (0.05, 0.3):
        assert masker()(ids, starts, 0, rows, ratio)["places"].shape == (8, round(ratio * 128))
    assert masker()(ids, starts, 0, rows, 0.9999)["places"].shape == (8, 127)


def test_places_come_in_the_order_of_the_row():
    """The last layer takes them segment by segment."""
    ids, starts, rows = batch(8)
    places = masker()(ids, starts, 0, rows, 0.15)["places"]
    assert (np.diff(places, axis=1) > 0).all()


def test_shares_of_mask_and_random_tokens_are_options():
    """With 1.0 and 0.0 every masked token is [MASK]; with 0.0 and 0.0 the text stays as it is."""
    ids, starts, rows = batch(64)
    out = masker(mask_share=1.0, random_share=0.0)(ids, starts, 0, rows, 0.15)
    assert (out["input_ids"][masked_table(out, ids.shape)] == MASK).all()
    assert (masker(mask_share=0.0, random_share=0.0)(ids, starts, 0, rows, 0.15)["input_ids"] == ids).all()


def test_spans_hide_runs_of_words_and_never_cross_a_special():
    """Runs of hidden words get longer, words stay whole, the rate stays near the ratio."""
    ids, starts, rows = batch(400)
    runs = {}
    for mean in (1.0, 3.0):
        table = masked_table(masker(span_words=mean)(ids, starts, 0, rows, 0.15), ids.shape)
        assert not table[np.isin(ids, SPECIALS)].any()
        begins = table & ~np.roll(table, 1, axis=1)
        runs[mean] = table.sum() / begins.sum()
        assert table.mean() == pytest.approx(0.145, abs=0.01)  # also when the last span has to be cut
        words = np.cumsum(starts, axis=1)
        for row in range(20):
            assert all(len(set(table[row, words[row] == word])) == 1 for word in np.unique(words[row]))
    assert runs[3.0] > 2 * runs[1.0]
