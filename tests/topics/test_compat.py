import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import metrics

from finbert2.topics import compat
from finbert2.topics.counts import Counts


def test_padding_lowers_the_diversity_as_in_the_original():
    # 100 topics of six words, all different: 600 words and one empty one over 1,000 places.
    assert compat.padded_diversity([[f"{t}{w}" for w in range(6)] for t in range(100)]) == pytest.approx(0.601)


def test_noise_is_a_cluster_and_a_topic():
    points = np.array([[0, 0], [0, 1], [5, 5], [5, 6], [9, 0], [0, 9.0]])
    labels = np.array([0, 0, 1, 1, -1, -1])
    counts = Counts(csr_matrix(np.repeat(np.eye(3), 2, axis=0)), ["甲", "乙", "丙"])
    found = compat.original_numbers(points, labels, counts, np.ones(6))
    assert found["silhouette"] == pytest.approx(metrics.silhouette_score(points, labels))
    assert found["calinski_harabasz"] == pytest.approx(metrics.calinski_harabasz_score(points, labels))
    assert found["davies_bouldin"] == pytest.approx(metrics.davies_bouldin_score(points, labels))
    assert found["topic_diversity"] == pytest.approx(4 / 30)  # three words and the empty one over three topics


def test_one_cluster_has_no_shape():
    counts = Counts(csr_matrix(np.eye(3)), ["甲", "乙", "丙"])
    assert set(compat.original_numbers(np.eye(3), np.zeros(3, dtype=int), counts, np.ones(3))) == {"topic_diversity"}
