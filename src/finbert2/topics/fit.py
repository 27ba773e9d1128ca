"""Titles to a topic model: vectors → groups → centres and thresholds → every title's topic → words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finbert2.errors import UserError
from finbert2.topics import cluster
from finbert2.topics.cluster import Settings
from finbert2.topics.counts import Counts, class_tfidf, count, enough_words, top_words, topic_counts
from finbert2.topics.guide import Guide
from finbert2.topics.model import Topic, TopicModel
from finbert2.topics.titles import FEWEST, Titles
from finbert2.topics.vectors import fit_space
from finbert2.topics.words import Segmenter

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 3


@dataclass(frozen=True)
class Placement:
    """Centres and thresholds found among vectors, and the topic that the rule gives each of the vectors."""

    labels: "np.ndarray"  # (vectors,)
    similarity: "np.ndarray"  # (vectors,)
    centres: "np.ndarray"  # (topics, width)
    thresholds: "np.ndarray"  # (topics,)
    listed: list[int]  # of each topic: its number in the guide's list, -1 if it was found
    moved: int  # clustered vectors that the rule gave another topic than their group's, noise included
    chosen: "np.ndarray"  # (clustered vectors,) which vectors the groups were found among
    points: "np.ndarray"  # (clustered vectors, dimensions) where they were clustered
    layers: list[int]  # EVoC: the numbers of topics of its layers, finest first


@dataclass(frozen=True)
class Fit:
    """A fitted model beside the distinct titles it was fitted on."""

    model: TopicModel
    vectors: "np.ndarray"  # (unique titles, width)
    labels: "np.ndarray"  # (unique titles,)
    words: list[list[str]]  # of each distinct title
    counts: Counts
    placed: Placement
    guided: "np.ndarray | None" = None  # (unique titles,) the listed topic that took each, -1: none; None: no list


def fit(
    titles: Titles,
    encoded: "np.ndarray | None",
    segmenter: Segmenter,
    settings: Settings,
    encoder: dict[str, Any] | None,
    guide: Guide | None = None,
) -> Fit:
    """Find the topics of the distinct titles; the topic of each is what `TopicModel.predict` says of it.

    The topics of a guide take their titles first, the others are found among what is left.
    """
    words, parts = segmenter.words_and_parts(titles.unique)
    counts = count(words, enough_words(words))  # once for all
    space = fit_space(encoded, parts, titles.weights, settings.lexical_weight, settings.seed)
    vectors = space.vectors(encoded, parts)
    listed = guide.place(vectors, space, segmenter) if guide else None
    placed = place(vectors, titles.weights, settings, listed)
    sums = topic_counts(counts, placed.labels, titles.weights)
    names = [guide.names[number] if guide and number >= 0 else "" for number in placed.listed]
    best = top_words(class_tfidf(sums), counts.vocabulary)
    topics = describe(titles, placed, best, names)
    model = TopicModel(space, placed.centres, placed.thresholds, counts.vocabulary, segmenter, topics, encoder, sums)
    return Fit(model, vectors, placed.labels, words, counts, placed, listed)


def place(
    vectors: "np.ndarray", weights: "np.ndarray", settings: Settings, listed: "np.ndarray | None" = None
) -> Placement:
    """Find groups of vectors, make them centres and thresholds, and give every vector its topic by these.

    Of more than `max_fit_titles` vectors the groups are found among a fixed sample; the rule places the rest. Vectors
    that are `listed` (0 and up) are in a group already.
    """
    import numpy as np

    somewhere = np.flatnonzero(vectors.any(axis=1))  # a title without a known word lies nowhere: zeros have no centre
    if len(somewhere) < FEWEST:
        raise UserError(
            f"only {len(somewhere)} of {len(vectors)} distinct titles have a word that another one has, or a vector "
            f"that tells them apart: at least {FEWEST} are needed; give more titles, or an encoder"
        )
    chosen = somewhere[sample(len(somewhere), settings.max_fit_titles, settings.seed)]
    kept, heavy = vectors[chosen], weights[chosen]
    known = None if listed is None else listed[chosen]
    found = cluster.find_groups(kept, settings, known)
    groups, old = cluster.largest_first(found.labels, heavy)
    centres = cluster.centroids(kept, groups, heavy)
    least = cluster.thresholds(kept, groups, centres, settings.outlier_quantile)
    labels, _ = cluster.assign(vectors, centres, least)
    size = sizes(labels, weights, len(centres))
    order = size.argsort(kind="stable")[::-1]
    order = order[size[order] > 0]  # a topic that lost all its titles goes
    if len(order) < len(size):  # what was nearest to it, and too far off, may be near enough to the next
        labels, _ = cluster.assign(vectors, centres[order], least[order])
        order = order[(-sizes(labels, weights, len(order))).argsort(kind="stable")]
    labels, similarity = cluster.assign(vectors, centres[order], least[order])
    moved = int((np.where(labels >= 0, order[labels], -1)[chosen] != groups).sum())
    most = -1 if known is None else int(known.max(initial=-1))
    numbers = [int(old[group]) if old[group] <= most else -1 for group in order]
    return Placement(
        labels, similarity, centres[order], least[order], numbers, moved, chosen[found.rows], found.points, found.layers
    )


def sample(titles: int, most: int, seed: int) -> "np.ndarray":
    """Return the numbers of all titles, or of `most` of them drawn by the seed, in order."""
    import numpy as np

    if titles <= most:
        return np.arange(titles)
    return np.sort(np.random.default_rng(seed).choice(titles, most, replace=False))


def sizes(labels: "np.ndarray", weights: "np.ndarray", topics: int) -> "np.ndarray":
    """Return how many titles each topic has, repeated ones counted: (topics,)."""
    import numpy as np

    inside = labels >= 0
    return np.bincount(labels[inside], weights[inside], minlength=topics)


def describe(titles: Titles, placed: Placement, words: list[list[str]], names: list[str]) -> list[Topic]:
    """Return each topic's size, its best words, the titles nearest to its centre and the name that a guide gave it."""
    import numpy as np

    found = []
    for topic, size in enumerate(sizes(placed.labels, titles.weights, len(words))):
        members = np.flatnonzero(placed.labels == topic)
        nearest = members[np.argsort(-placed.similarity[members], kind="stable")[:EXAMPLES]]
        examples = [titles.unique[number] for number in nearest]
        found.append(Topic(topic, int(size), words[topic], examples, names[topic]))
    return found
