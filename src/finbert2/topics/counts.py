"""Word counts of titles, once per title; the counts of a topic are sums of rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finbert2.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Counts:
    """How often each word stands in each title."""

    matrix: "csr_matrix"  # (titles, words)
    vocabulary: list[str]

    def rows(self, chosen: "np.ndarray") -> "Counts":
        """Return the counts of some of the titles."""
        return Counts(self.matrix[chosen], self.vocabulary)


def frequent(titles: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    """Return the words that stand in two titles or more, with the number of titles, the highest first."""
    found = Counter(word for words in titles for word in set(words))
    return [(word, n) for word, n in sorted(found.items(), key=lambda item: (-item[1], item[0])) if n > 1]


def vocabulary_of(titles: Sequence[Sequence[str]]) -> list[str]:
    """Return the words that stand in two titles or more, the most frequent first."""
    return [word for word, _ in frequent(titles)]


def enough_words(titles: Sequence[Sequence[str]]) -> list[str]:
    """Return their vocabulary; `UserError` if no topic could be named by it."""
    vocabulary = vocabulary_of(titles)
    if len(vocabulary) < 3:
        raise UserError(
            f"only {len(vocabulary)} words stand in two titles or more: topics have nothing to be named by; "
            "check that the column holds titles, and that --stopwords does not drop everything"
        )
    return vocabulary


def count(titles: Iterable[Sequence[str]], vocabulary: list[str]) -> Counts:
    """Count the words of a vocabulary in titles that are already cut into words."""
    import numpy as np
    from scipy.sparse import csr_matrix

    place = {word: number for number, word in enumerate(vocabulary)}
    columns, ends = [], [0]
    for words in titles:
        columns += [place[word] for word in words if word in place]
        ends.append(len(columns))
    matrix = csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(ends) - 1, len(vocabulary)))
    matrix.sum_duplicates()
    return Counts(matrix, vocabulary)


def topic_counts(counts: Counts, labels: "np.ndarray", weights: "np.ndarray") -> "csr_matrix":
    """Sum the rows of each topic's titles, a title as often as it occurred; noise (-1) is left out."""
    import numpy as np
    from scipy.sparse import csr_matrix

    inside = np.flatnonzero(labels >= 0)
    shape = (labels.max(initial=-1) + 1, len(labels))
    members = csr_matrix((weights[inside], (labels[inside], inside)), shape=shape)  # (topics, titles)
    return members @ counts.matrix  # (topics, words)


def class_tfidf(sums: "csr_matrix", among: "csr_matrix | None" = None) -> "csr_matrix":
    """Return BERTopic's c-TF-IDF: tf · log(1 + A / f), tf the word's share of its topic, f its count in all topics.

    `among` are the topics that A and f are taken from: for sums of topics, the topics themselves.
    """
    import numpy as np
    from scipy.sparse import diags
    from sklearn.preprocessing import normalize

    among = sums if among is None else among
    frequency = np.asarray(among.sum(axis=0)).ravel()
    average = int(among.sum(axis=1).mean()) if among.shape[0] else 0  # A: words per topic, a whole number there too
    weight = np.log1p(average / np.maximum(frequency, 1))
    return (normalize(sums, norm="l1", axis=1) @ diags(weight)).tocsr()


def top_words(scores: "csr_matrix", vocabulary: list[str], n: int = 10) -> list[list[str]]:
    """Return each topic's up to `n` best words; a short topic has fewer, never padding."""
    import numpy as np

    found = []
    for topic in range(scores.shape[0]):
        row = scores[topic]
        order = np.lexsort((row.indices, -row.data))[:n]
        found.append([vocabulary[row.indices[place]] for place in order if row.data[place] > 0])
    return found
