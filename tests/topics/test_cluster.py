import os

import numpy as np
import pytest
import torch

from finbert2.errors import UserError
from finbert2.topics import cluster


def test_largest_first_by_weight_without_gaps():
    labels, old = cluster.largest_first(np.array([5, 5, 2, -1, 9]), np.array([1.0, 1, 5, 7, 1]))
    assert labels.tolist() == [1, 1, 0, -1, 2] and old.tolist() == [2, 5, 9]


def test_centroids_and_thresholds_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    centres = cluster.centroids(vectors, np.array([0, 0, -1]), np.array([3.0, 4, 9]))
    assert centres == pytest.approx(np.array([[0.6, 0.8]]))
    assert cluster.thresholds(vectors, np.array([0, 0, -1]), centres, 0.0) == pytest.approx([0.6], abs=2e-4)
    assert cluster.thresholds(vectors, np.array([0, 0, -1]), centres, 0.5) == pytest.approx([0.6], abs=2e-4)


def test_the_rule_is_the_same_for_one_and_for_many():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(20_000, 8)).astype(np.float32)
    centres, least = draw.normal(size=(5, 8)).astype(np.float32), np.full(5, 1.5, dtype=np.float32)
    labels, similarity = cluster.assign(vectors, centres, least)
    assert {-1, 0, 1, 2, 3, 4} == set(labels.tolist()) and (similarity[labels == -1] < 1.5).all()
    one = [int(cluster.assign(vectors[[place]], centres, least)[0][0]) for place in range(0, 20_000, 1999)]
    assert one == labels[::1999].tolist()


def test_dense_groups_finds_planted_ones_and_says_when_there_are_none():
    draw = np.random.default_rng(0)
    points = np.concatenate([draw.normal(place, 0.1, (40, 2)) for place in (0, 5, 10)])
    assert len(set(cluster.dense_groups(points, 10, 5).tolist()) - {-1}) == 3
    with pytest.raises(UserError, match="0 topics of at least 100 titles .* 120 distinct titles.*--min_topic_size"):
        cluster.dense_groups(points, 100, 5)


def test_more_topics_than_titles_are_refused():
    with pytest.raises(UserError, match="--num_topics is 30, but there are only 20"):
        cluster.equal_groups(np.zeros((20, 2)), 30, seed=0)


@pytest.mark.slow
def test_layout_repeats_takes_fewer_titles_than_neighbours_and_keeps_threads(caplog):
    vectors = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads((os.cpu_count() or 1) + 1)  # numba sets OpenMP's number to that of the processors
        first, second = (cluster.reduce(vectors, 32, 50, seed=1) for _ in range(2))
        assert torch.get_num_threads() == (os.cpu_count() or 1) + 1
    finally:
        torch.set_num_threads(before)
    assert first.shape == (20, 18) and np.array_equal(first, second)
    assert "--neighbors is 50, but there are 20 titles: 19 are taken" in caplog.text
