from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from finbert2.topics import hierarchy
from finbert2.topics.model import Topic


def model(centres, counts, sizes):
    topics = [Topic(n, size, [f"w{n}"], []) for n, size in enumerate(sizes)]
    vocabulary = [f"w{n}" for n in range(counts.shape[1])]
    return SimpleNamespace(topics=topics, centres=centres, word_counts=counts, vocabulary=vocabulary)


@pytest.fixture
def three():
    """Two near centres and one across; each topic has its own word, the near ones share w3."""
    centres = np.array([[1, 0], [0.8, 0.6], [0, -1]])
    return model(centres, csr_matrix([[4.0, 0, 0, 2], [0, 3, 0, 2], [0, 0, 5, 0]]), [9, 7, 5])


def test_near_topics_join_first_with_words_of_their_summed_counts(three):
    nodes = hierarchy.grow(three)
    assert [(node.children, node.topics, node.size) for node in nodes[3:]] == [
        ((0, 1), (0, 1), 16),
        ((2, 3), (0, 1, 2), 21),
    ]
    assert nodes[3].distance == pytest.approx(0.2)  # 1 - cos = 1 - 0.8
    # c-TF-IDF by hand: A = 16 / 3 → 5; w0 4/11·ln(1+5/4), w1 3/11·ln(1+5/3), w3 4/11·ln(1+5/4) — w0 and w3 tie.
    assert nodes[3].words == ["w0", "w3", "w1"]


def test_a_tree_without_joins_has_the_columns_of_one_with_them(three):
    assert tuple(next(hierarchy.node_rows(hierarchy.grow(three)))) == hierarchy.COLUMNS


def test_a_cut_numbers_branches_by_size(three):
    nodes = hierarchy.grow(three)
    assert hierarchy.cut(nodes, 2).tolist() == [0, 0, 1]
    assert hierarchy.cut(nodes, 3).tolist() == [0, 1, 2] == hierarchy.cut(nodes, 99).tolist()
    assert hierarchy.cut(nodes, 1).tolist() == [0, 0, 0]


def test_tree_text_draws_larger_branches_first(three):
    assert hierarchy.tree_text(hierarchy.grow(three), ["甲", "乙", "丙"]).splitlines() == [
        "w2 w0 w3 w1 (21)",
        "├─ w0 w3 w1 (16)",
        "│  ├─ 0 甲 (9)",
        "│  └─ 1 乙 (7)",
        "└─ 2 丙 (5)",
    ]


def test_a_tree_as_deep_as_thousands_of_topics_needs_no_recursion():
    angles = np.cumsum(np.arange(1500) * 1e-6)  # ever wider gaps: each join adds one topic
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    nodes = hierarchy.grow(model(centres, csr_matrix(np.ones((1500, 2))), [1] * 1500))
    assert len(hierarchy.tree_text(nodes, ["x"] * 1500).splitlines()) == 2999
    assert [len(set(layer.tolist())) for layer in hierarchy.layers(nodes)] == [750, 375, 187, 93, 46, 23, 11, 5]


def test_one_topic_is_its_own_tree():
    nodes = hierarchy.grow(model(np.array([[1.0, 0]]), csr_matrix([[1.0]]), [3]))
    assert hierarchy.tree_text(nodes, ["甲"]) == "0 甲 (3)\n" and hierarchy.layers(nodes) == []
