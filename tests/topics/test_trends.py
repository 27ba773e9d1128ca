import numpy as np
import pytest

from finbert2.topics import trends
from finbert2.topics.model import Topic

TOPICS = [Topic(0, 6, ["银行", "信贷"], []), Topic(1, 3, ["汽车"], [])]


def test_interval_is_wilsons():
    low, high = trends.interval(5, 10)
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Wilson's own table value for 5 of 10
    assert trends.interval(0, 10)[0] == 0.0 and trends.interval(10, 10)[1] == pytest.approx(1.0)


def test_month_rows_count_titles_without_a_topic_in_the_total():
    rows = list(trends.month_rows(["2024-01", "2024-01", "", "2024-02"], np.array([0, -1, 0, 1]), TOPICS))
    assert [(row["month"], row["topic"], row["titles"], row["share"]) for row in rows] == [
        ("2024-01", 0, 1, 0.5),
        ("2024-02", 1, 1, 1.0),
    ]


def test_month_table_keeps_noise_last():
    months, table = trends.month_table(["b", "a", "", "a"], np.array([0, -1, 1, 1]), 2)
    assert months == ["a", "b"] and table.tolist() == [[0, 1], [1, 0], [1, 0]]


def test_rising_fading_and_new():
    # Three months before, one recent; 300 and 100 titles. Shares: 10 % → 30 %, 30 % → 10 %, 0 → 10 %, 30 % → 30 %.
    table = np.array([[10, 10, 10, 30], [30, 30, 30, 10], [0, 0, 0, 10], [30, 30, 30, 30], [30, 30, 30, 20]])
    found = trends.trends(table)
    assert [trend.kind for trend in found] == ["rising", "fading", "new", ""]
    assert (found[0].before, found[0].recent) == (0.1, 0.3)
    pooled = 60 / 400
    assert found[0].z == pytest.approx(0.2 / (pooled * (1 - pooled) * (1 / 300 + 1 / 100)) ** 0.5)


def test_a_small_move_or_few_titles_are_no_trend():
    assert [trend.kind for trend in trends.trends(np.array([[1, 1, 1, 2], [9, 9, 9, 8]]))] == [""]
    assert trends.trends(np.array([[5, 5, 50], [5, 5, 5]])) == []  # fewer than four months


def test_scores_without_a_row_have_the_columns_of_those_with_one():
    (row,) = trends.trend_rows([trends.Trend(0, 0.1, 0.3, 4.0, "rising")], TOPICS)
    assert tuple(row) == trends.SCORES


def test_classes_by_share_and_lift():
    rows = list(trends.class_rows(["银行", "银行", "汽车", ""], np.array([0, -1, 1, 1]), TOPICS, "industry"))
    assert rows[1] == {"industry": "银行", "topic": 0, "words": "银行 信贷", "titles": 1, "share": 0.5, "lift": 1.5}
    assert rows[0]["lift"] == 3.0 and len(rows) == 2
