import numpy as np
import pytest
from scipy.sparse import csr_matrix

from finbert2.topics import quality


def test_coverage_counts_repeats():
    assert quality.coverage(np.array([0, -1, 1]), np.array([2.0, 1, 1])) == 0.75


def test_diversity_is_over_real_words():
    assert quality.topic_diversity([["a", "b"], ["b"]]) == pytest.approx(2 / 3)
    assert quality.topic_diversity([[f"{topic}{word}" for word in range(6)] for topic in range(100)]) == 1.0


def test_npmi_by_hand():
    # Titles: ab, ab, a, c. p(a)=3/4, p(b)=p(ab)=1/2: log(1/2 / 3/8) / log 2 = log2(4/3). a and c never meet: -1.
    counts = csr_matrix([[1, 2, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])
    score = lambda words: quality.npmi(words, counts, ["a", "b", "c"], np.ones(4))  # noqa: E731
    assert score([["a", "b"]]) == pytest.approx(np.log2(4 / 3))
    assert score([["a", "c"]]) == -1.0
    assert score([["a", "b"], ["a", "c"]]) == pytest.approx((np.log2(4 / 3) - 1) / 2)
    assert score([["a"]]) == 0.0


def test_npmi_weighs_repeated_titles():
    once = quality.npmi([["a", "b"]], csr_matrix([[1, 1], [1, 1], [1, 0], [0, 0]]), ["a", "b"], np.ones(4))
    folded = quality.npmi([["a", "b"]], csr_matrix([[1, 1], [1, 0], [0, 0]]), ["a", "b"], np.array([2.0, 1, 1]))
    assert folded == pytest.approx(once)


def test_shape_leaves_noise_out():
    points = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [-1, -1]], dtype=np.float32)
    found = quality.shape(points, np.array([0, 0, 1, 1, -1]))
    assert found == quality.shape(points[:4], np.array([0, 0, 1, 1]))
    assert found["silhouette"] > 0.99 and found["davies_bouldin"] < 0.1
    assert quality.shape(points, np.array([0, 0, 0, 0, -1]))["silhouette"] is None


def test_agreement_with_and_without_noise():
    found = quality.agreement(np.array([0, 0, 1, 1, -1, 0]), ["x", "x", "y", "y", "x", ""])
    assert found["ami_covered"] == found["ari_covered"] == found["nmi_covered"] == 1.0
    assert 0 < found["ami"] < 1


def test_dbcv_is_hdbscans_on_real_groups_and_orders_good_before_bad():
    from hdbscan.validity import validity_index

    draw = np.random.default_rng(0)
    points = np.concatenate([draw.normal(place, 0.2, (40, 2)) for place in (0, 5, 10)])
    labels = np.repeat([0, 1, 2], 40)
    assert quality.dbcv(points, labels) == pytest.approx(float(validity_index(points, labels)))
    assert quality.dbcv(points, labels) > 0.8 > quality.dbcv(points, draw.permutation(labels))
    half = np.where(np.arange(120) % 2, labels, -1)
    assert quality.dbcv(points, half) < quality.dbcv(points, labels)  # noise counts against


def test_dbcv_of_equal_points_and_of_tiny_topics():
    points = np.repeat(np.array([[0.0, 0], [1, 1]]), 30, axis=0)
    assert quality.dbcv(points, np.repeat([0, 1], 30)) is None
    assert quality.dbcv(np.eye(4), np.array([0, 0, 1, 1])) is None


def test_clustered_shape_is_euclidean():
    points = np.array([[1, 0], [2, 0], [100, 0], [101, 0]], dtype=np.float32)  # one direction: cosine sees nothing
    assert quality.clustered_shape(points, np.array([0, 0, 1, 1]))["clustered_silhouette"] > 0.95
    assert quality.shape(points, np.array([0, 0, 1, 1]))["silhouette"] == pytest.approx(0, abs=1e-6)


def test_stability_is_the_mean_over_pairs():
    one, other = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    same_but_numbers = np.array([1, 1, 0, 0])
    assert quality.stability([one, same_but_numbers]) == 1.0
    assert quality.stability([one, same_but_numbers, other]) == pytest.approx(
        (1 + 2 * quality.stability([one, other])) / 3
    )
