import numpy as np
import pytest

from finbert2.labeler import calibrate

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])


def test_probabilities_are_torchs():
    import torch

    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20, 5)) * 300
    scaled = torch.tensor(logits) / 2.5
    assert calibrate.probabilities(logits, 2.5, False) == pytest.approx(scaled.softmax(-1).numpy())
    assert calibrate.probabilities(logits, 2.5, True) == pytest.approx(scaled.sigmoid().numpy())


@pytest.mark.parametrize("multi", [False, True])
def test_the_temperature_undoes_overconfidence(multi):
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20_000, 4)) * 2
    shares = calibrate.probabilities(logits, 1.0, multi)
    gold = (
        (chance.random(shares.shape) < shares).astype(int)
        if multi
        else np.array([chance.choice(4, p=p) for p in shares])
    )
    assert calibrate.temperature(logits * 3, gold, multi) == pytest.approx(3.0, rel=0.05)
    table = calibrate.report(logits * 3, gold, 3.0, multi)
    assert table["ece_after"] < 0.02 < 0.08 < table["ece_before"]


@pytest.mark.parametrize("multi", [False, True])
def test_rows_that_are_all_right_do_not_make_sure(multi):
    logits = np.tile([[3.0, -3.0], [-3.0, 3.0]], (10, 1))
    gold = np.tile([[1, 0], [0, 1]], (10, 1)) if multi else np.tile([0, 1], 10)
    fitted = calibrate.temperature(logits, gold, multi)
    # Of 21 rows one is known nothing of: the best share of the gold label is 20.5 in 21.
    assert calibrate.probabilities(logits, fitted, multi)[0, 0] == pytest.approx(20.5 / 21, abs=1e-3)


def test_calibration_error_by_hand():
    confidence, correct = np.array([0.95, 0.95, 0.55, 1.0]), np.array([True, False, True, True])
    bins = calibrate.reliability(confidence, correct)
    assert [(b["rows"], b["accuracy"]) for b in bins] == [(1, 1.0), (3, pytest.approx(2 / 3))]
    assert calibrate.calibration_error(bins) == pytest.approx((abs(1 - 0.55) + abs(2.9 - 2.0)) / 4)
    assert calibrate.temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


def test_abstaining_thresholds_reach_the_precision_asked_for():
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.3, 0.7]])
    gold = np.array([0, 0, 1, 0, 0])
    found = calibrate.abstaining(shares, gold, ["a", "b"], 0.75)
    assert found["a"] == pytest.approx(0.6) and found["b"] == 1.01  # of a 3 in 4 are right; of b none is
    assert calibrate.abstaining(shares, gold, ["a", "b"], 0.8)["a"] == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_of_the_best_f1_is_the_best_of_all(seed):
    from sklearn.metrics import f1_score

    chance = np.random.default_rng(seed)
    shares, gold = chance.random((60, 1)).round(1), chance.integers(0, 2, (60, 1))
    (threshold,) = calibrate.best_f1(shares, gold, ["a"]).values()
    scores = [f1_score(gold[:, 0], shares[:, 0] >= t) for t in np.linspace(0, 1, 101)]
    assert f1_score(gold[:, 0], shares[:, 0] >= threshold) == pytest.approx(max(scores))
    assert calibrate.best_f1(shares, gold * 0, ["a"]) == {"a": 0.5}


def test_a_row_ranked_far_down_sets_no_threshold():
    """The label's only row is the 151st of 200: taken, its threshold would give the label to three rows in four."""
    shares = np.linspace(0.4, 0.001, 200)[:, None]
    gold = np.zeros((200, 1))
    gold[150] = 1
    assert calibrate.best_f1(shares, gold, ["a"]) == {"a": 0.5}
    gold[15] = 1  # F1 2 / (16 + 2) at its place
    assert calibrate.best_f1(shares, gold, ["a"])["a"] == pytest.approx((shares[15, 0] + shares[16, 0]) / 2)
