import numpy as np
import pytest

from finbert2.topics.counts import class_tfidf, count, top_words, topic_counts, vocabulary_of

TITLES = [["银行", "信贷", "银行"], ["银行", "利率"], ["汽车", "销量"], ["汽车", "出口"], ["利率", "汽车"]]


def test_vocabulary_is_by_titles_not_by_occurrences():
    assert vocabulary_of(TITLES) == ["汽车", "利率", "银行"]


def test_counts_of_topics_are_sums_of_rows_with_repeats():
    counts = count(TITLES, ["汽车", "利率", "银行"])
    assert counts.matrix.toarray().tolist() == [[0, 0, 2], [0, 1, 1], [1, 0, 0], [1, 0, 0], [1, 1, 0]]
    sums = topic_counts(counts, np.array([0, 0, 1, 1, -1]), np.array([3.0, 1, 1, 1, 9]))
    assert sums.toarray().tolist() == [[0, 1, 7], [2, 0, 0]]


@pytest.mark.slow
def test_class_tfidf_is_bertopics():
    transformer = pytest.importorskip("bertopic.vectorizers").ClassTfidfTransformer()
    sums = topic_counts(count(TITLES, vocabulary_of(TITLES)), np.array([0, 0, 1, 1, 2]), np.ones(5))
    expected = transformer.fit_transform(sums.copy()).toarray()
    assert class_tfidf(sums).toarray() == pytest.approx(expected)


def test_short_topics_are_not_padded():
    sums = topic_counts(count(TITLES, vocabulary_of(TITLES)), np.array([0, 0, 1, 1, 1]), np.ones(5))
    assert top_words(class_tfidf(sums), vocabulary_of(TITLES)) == [["银行", "利率"], ["汽车", "利率"]]
