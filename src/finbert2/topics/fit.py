"""Titles to a topic model: vectors → groups → centres and thresholds → every title's topic → words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finbert2.errors import UserError
from finbert2.topics import cluster
from finbert2.topics.counts import Counts, class_tfidf, count, top_words, topic_counts, vocabulary_of
from finbert2.topics.model import Topic, TopicModel
from finbert2.topics.titles import Titles
from finbert2.topics.vectors import fit_space
from finbert2.topics.words import Segmenter

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 3


@dataclass(frozen=True)
class Settings:
    """How fine the topics are, and what decides."""

    dimensions: int
    neighbors: int
    min_topic_size: int
    min_samples: int
    num_topics: int | None
    lexical_weight: float
    outlier_quantile: float
    seed: int


@dataclass(frozen=True)
class Fit:
    """A fitted model beside the distinct titles it was fitted on."""

    model: TopicModel
    vectors: "np.ndarray"  # (unique titles, width)
    labels: "np.ndarray"  # (unique titles,)
    similarity: "np.ndarray"  # (unique titles,)
    words: list[list[str]]  # of each distinct title
    counts: Counts
    moved: int  # titles that the rule gave another topic than their group's, noise included


def fit(
    titles: Titles,
    encoded: "np.ndarray | None",
    segmenter: Segmenter,
    settings: Settings,
    encoder: dict[str, Any] | None,
) -> Fit:
    """Find the topics of the distinct titles; the topic of each is what `TopicModel.predict` says of it."""
    words = segmenter.words(titles.unique)
    counts = count_words(words)
    space = fit_space(encoded, counts.matrix, titles.weights, settings.lexical_weight, settings.seed)
    vectors = space.vectors(encoded, counts.matrix)
    groups = cluster.largest_first(find_groups(vectors, settings), titles.weights)
    centres = cluster.centroids(vectors, groups, titles.weights)
    least = cluster.thresholds(vectors, groups, centres, settings.outlier_quantile)
    labels, _ = cluster.assign(vectors, centres, least)
    order = sizes(labels, titles.weights, len(centres)).argsort(kind="stable")[::-1]
    order = order[sizes(labels, titles.weights, len(centres))[order] > 0]  # a topic that lost all its titles goes
    labels, similarity = cluster.assign(vectors, centres[order], least[order])
    topics = describe(titles, labels, similarity, counts)
    model = TopicModel(space, centres[order], least[order], counts.vocabulary, segmenter, topics, encoder)
    return Fit(model, vectors, labels, similarity, words, counts, moved_titles(groups, labels, order))


def count_words(words: list[list[str]]) -> Counts:
    """Count the words of each distinct title, once for all; `UserError` if no topic could be named by them."""
    vocabulary = vocabulary_of(words)
    if len(vocabulary) < 3:
        raise UserError(
            f"only {len(vocabulary)} words stand in two titles or more: topics have nothing to be named by; "
            "check that the column holds titles, and that --stopwords does not drop everything"
        )
    return count(words, vocabulary)


def find_groups(vectors: "np.ndarray", settings: Settings) -> "np.ndarray":
    """Return groups of the vectors laid out by UMAP: dense ones, or a given number of them."""
    points = cluster.reduce(vectors, settings.dimensions, settings.neighbors, settings.seed)
    if settings.num_topics:
        return cluster.equal_groups(points, settings.num_topics, settings.seed)
    return cluster.dense_groups(points, settings.min_topic_size, settings.min_samples)


def sizes(labels: "np.ndarray", weights: "np.ndarray", topics: int) -> "np.ndarray":
    """Return how many titles each topic has, repeated ones counted: (topics,)."""
    import numpy as np

    inside = labels >= 0
    return np.bincount(labels[inside], weights[inside], minlength=topics)


def moved_titles(groups: "np.ndarray", labels: "np.ndarray", order: "np.ndarray") -> int:
    """Return how many titles ended in another topic than the one that their group became."""
    import numpy as np

    after = np.append(order, -1)[labels]  # the group behind each title's topic; -1 picks the last entry
    return int((after != groups).sum())


def describe(titles: Titles, labels: "np.ndarray", similarity: "np.ndarray", counts: Counts) -> list[Topic]:
    """Return each topic's size, best words by c-TF-IDF and the titles nearest to its centre."""
    import numpy as np

    words = top_words(class_tfidf(topic_counts(counts, labels, titles.weights)), counts.vocabulary)
    found = []
    for topic, size in enumerate(sizes(labels, titles.weights, len(words))):
        members = np.flatnonzero(labels == topic)
        nearest = members[np.argsort(-similarity[members], kind="stable")[:EXAMPLES]]
        found.append(Topic(topic, int(size), words[topic], [titles.unique[place] for place in nearest]))
    return found
