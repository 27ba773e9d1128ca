import numpy as np
import pytest

from finbert2.errors import UserError
from finbert2.topics import cluster, stability
from finbert2.topics.cluster import Settings
from finbert2.topics.fit import place, sample


def settings(**changes):
    base = {"dimensions": 4, "neighbors": 5, "min_topic_size": 10, "min_samples": 3, "num_topics": None}
    base |= {"lexical_weight": 0.0, "outlier_quantile": 0.0, "seed": 0}
    return Settings(**(base | changes))


@pytest.fixture
def planted():
    """Four directions of 8, fifty vectors about each, in a mixed order: (vectors, kinds)."""
    draw = np.random.default_rng(0)
    kinds = draw.permutation(np.repeat(np.arange(4), 50))
    vectors = np.eye(8)[kinds] + draw.normal(0, 0.1, (200, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), kinds


def purity(labels, kinds):
    return np.mean([np.bincount(kinds[labels == t]).max() / (labels == t).sum() for t in set(labels.tolist()) - {-1}])


@pytest.mark.parametrize("changes", [{"num_topics": 4}, {"method": "kmeans", "num_topics": 4}, {}])
def test_every_method_finds_what_was_planted(changes, planted, flat_layout):
    vectors, kinds = planted
    found = place(vectors, np.ones(200), settings(**changes))
    assert len(found.centres) == 4 and purity(found.labels, kinds) > 0.98 and (found.labels >= 0).mean() > 0.9


def test_a_sample_finds_the_groups_and_the_rule_places_the_rest(planted, flat_layout):
    vectors, kinds = planted
    found = place(vectors, np.ones(200), settings(num_topics=4, max_fit_titles=80))
    assert len(found.points) == len(found.chosen) == 80 and len(found.labels) == 200
    assert purity(found.labels, kinds) > 0.98 and (found.labels >= 0).mean() > 0.85
    again = cluster.assign(vectors, found.centres, found.thresholds)[0]
    assert again.tolist() == found.labels.tolist()


def test_a_sample_is_in_order_and_repeats():
    assert sample(3, 5, 0).tolist() == [0, 1, 2]
    chosen = sample(1000, 10, 1).tolist()
    assert chosen == sorted(set(chosen)) == sample(1000, 10, 1).tolist() != sample(1000, 10, 2).tolist()


def test_topics_are_numbered_by_weight(planted, flat_layout):
    vectors, kinds = planted
    weights = np.where(kinds == 2, 10.0, 1.0)
    assert (kinds[place(vectors, weights, settings(num_topics=4)).labels == 0] == 2).all()


@pytest.mark.parametrize("seed", [1, 12, 19])
def test_topics_are_numbered_by_size_after_some_lost_all_their_titles(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    vectors = np.eye(6)[draw.integers(0, 6, 300)] + draw.normal(0, 0.8, (300, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    groups = vectors[:, 0].argsort().argsort() // 3  # that the vectors do not agree with

    def drawn(vectors, settings, listed):
        return cluster.Groups(groups, vectors, np.arange(300))

    monkeypatch.setattr(cluster, "find_groups", drawn)
    found = place(vectors, np.ones(300), settings(outlier_quantile=0.3))
    sizes = np.bincount(found.labels[found.labels >= 0])
    assert len(found.centres) == len(sizes) < 100
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True) and sizes.min() > 0


def test_titles_without_a_known_word_make_no_topic(planted, flat_layout):
    vectors, kinds = planted
    some = np.concatenate([np.zeros((60, 8), dtype=np.float32), vectors])  # more than any kind has
    found = place(some, np.ones(260), settings(num_topics=4))
    assert (found.labels[:60] == -1).all() and purity(found.labels[60:], kinds) > 0.98
    assert found.centres.any(axis=1).all() and found.moved == 0 and 0 not in found.chosen
    with pytest.raises(UserError, match="only 19 of 79 distinct titles have a word that another one has"):
        place(some[:79], np.ones(79), settings(num_topics=2))


def test_stability_of_plain_groups_is_perfect(planted, flat_layout):
    vectors, _ = planted
    base = settings(num_topics=4)
    labels = place(vectors, np.ones(200), base).labels
    found = stability.measured(vectors, np.ones(200), labels, base, 2)
    assert found == {"stability_seeds": pytest.approx(1.0), "stability_orders": pytest.approx(1.0)}


def test_labels_of_another_order_come_back_in_the_first_one(planted, flat_layout):
    vectors, kinds = planted
    (shuffled,) = stability.over_orders(vectors, np.ones(200), settings(num_topics=4), 1)
    assert purity(shuffled, kinds) > 0.98


def test_refits_of_listed_topics_are_guided_too(planted, flat_layout):
    vectors, kinds = planted
    listed = np.where(kinds < 2, 0, -1)  # one listed topic of two planted groups: no refit by itself would join them
    base = settings(num_topics=2)
    labels = place(vectors, np.ones(200), base, listed).labels
    found = stability.measured(vectors, np.ones(200), labels, base, 2, listed)
    assert found == {"stability_seeds": pytest.approx(1.0), "stability_orders": pytest.approx(1.0)}
    assert stability.measured(vectors, np.ones(200), labels, base, 2)["stability_seeds"] < 0.9


@pytest.mark.parametrize(("failing", "seeds", "skipped"), [({1}, 1.0, 1), ({1, 2}, None, 2)])
def test_a_refit_of_too_few_topics_is_left_out_and_told(failing, seeds, skipped, planted, monkeypatch, caplog):
    labels = planted[1]

    class Placed:
        def __init__(self, vectors, weights, settings, listed):
            if settings.seed in failing:
                raise UserError("0 topics were found")
            self.labels = weights.astype(int)  # the weights carry the labels through the shuffling

    monkeypatch.setattr(stability, "place", Placed)
    found = stability.measured(planted[0], labels.astype(float), labels, settings(), 2)
    assert found == {"stability_seeds": seeds, "stability_orders": 1.0, "stability_skipped": skipped}
    assert "a refit with seed 1 is left out of the stability: 0 topics were found" in caplog.text


@pytest.mark.slow
def test_evoc_and_its_layers(planted):
    pytest.importorskip("evoc")
    vectors, kinds = planted
    near = place(vectors, np.ones(200), settings(method="evoc", num_topics=4))
    assert purity(near.labels, kinds) > 0.9 and near.layers
    with pytest.raises(UserError, match=r"--layer is 99, but EVoC found \d+ layers"):
        place(vectors, np.ones(200), settings(method="evoc", layer=99))


def test_evoc_that_is_not_installed_is_told(planted, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "evoc", None)
    with pytest.raises(UserError, match="needs the package evoc"):
        place(planted[0], np.ones(200), settings(method="evoc"))


def test_a_list_that_takes_every_title_leaves_nothing_to_find(planted, flat_layout):
    vectors, kinds = planted
    found = place(vectors, np.ones(200), settings(), kinds)
    assert sorted(found.listed) == [0, 1, 2, 3] and len(found.points) == 0
    assert [found.listed[topic] for topic in found.labels[:20]] == kinds[:20].tolist()


@pytest.mark.parametrize("changes", [{}, {"num_topics": 40}])
def test_a_list_that_leaves_few_titles_needs_no_groups_among_them(changes, flat_layout, caplog):
    draw = np.random.default_rng(0)
    listed = np.repeat([0, 1, -1], [60, 60, 24])  # the rest lies in no group
    vectors = np.concatenate([np.eye(8)[[0] * 60 + [1] * 60], draw.normal(size=(24, 8))])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = place(vectors, np.ones(144), settings(min_topic_size=20, **changes), listed)
    assert {0, 1} <= set(found.listed) and len(found.points) == 24
    if changes:
        assert found.listed.count(-1) > 2
        assert "--num_topics is 40, but the list leaves 24 distinct titles: 12 are found among them" in caplog.text
    else:
        assert len(found.listed) == 2 and (found.labels < 0).sum() > 12
    with pytest.raises(UserError, match="0 topics of at least 20 titles|--num_topics is 40, but there are only 24"):
        place(vectors[120:], np.ones(24), settings(min_topic_size=20, **changes))
