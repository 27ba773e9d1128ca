"""What needs no encoder: the largest class, and logistic regression on TF-IDF."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finbert2.labeler import calibrate, metrics
from finbert2.labeler.data import SEPARATOR, Example

TFIDF_C = (3.0, 30.0, 300.0)


def majority(train: Sequence[Example], count: int) -> list[str]:
    """Return `count` times the training data's most frequent label (or, multi-label, combination of labels)."""
    return [Counter(example.label for example in train).most_common(1)[0][0]] * count


def tfidf(
    train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example], labels: Sequence[str],
    multi_label: bool = False,
) -> list[str]:  # fmt: skip
    """Return the answers of logistic regression on TF-IDF of character 1-3-grams, C chosen by dev macro-F1.

    A label of a multi-label task has the threshold of its best F1 on dev, as in the labeler it is compared with.
    Training rows that all have the same label teach it that one.
    """
    if len({example.label for example in train}) == 1:
        return majority(train, len(test))
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), min_df=2 if len(train) > 100 else 1, sublinear_tf=True
    )
    features = vectorizer.fit_transform([example.text for example in train])
    dev_features, test_features = (vectorizer.transform([e.text for e in part]) for part in (dev, test))
    gold = [example.label for example in dev]
    best: tuple[float, Any, dict[str, float]] = (-1.0, None, {})
    for c in TFIDF_C:
        model, least = fit(features, train, labels, c, multi_label), dict[str, float]()
        if multi_label:
            least = calibrate.best_f1(model.predict_proba(dev_features), metrics.indicators(gold, labels), labels)
        answers = answer(model, dev_features, labels, least)
        score = metrics.classification(gold, answers, labels, multi_label)["macro_f1"]
        best = max(best, (score, model, least), key=lambda one: one[0])
    return answer(best[1], test_features, labels, best[2])


def fit(features: Any, train: Sequence[Example], labels: Sequence[str], c: float, multi_label: bool) -> Any:
    """Return a trained logistic regression, one a label for a multi-label task.

    To the end: with a tolerance of 1e-3, or from the weights of a smaller C, lbfgs stops almost at once on some tasks
    (by hand, two classes of long news, C = 10: macro-F1 0.938 after 5 steps, 0.961 after 15).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(C=c, max_iter=1000)
    gold = [example.label for example in train]
    if multi_label:
        return OneVsRestClassifier(model).fit(features, metrics.indicators(gold, labels))
    return model.fit(features, gold)


def answer(model: Any, features: Any, labels: Sequence[str], least: Mapping[str, float]) -> list[str]:
    """Return the labels that a model gives to rows of features: the likeliest, or all that reach their `least`."""
    if not least:
        return list(model.predict(features))
    given = model.predict_proba(features) >= np.array([least[label] for label in labels])
    return [SEPARATOR.join(sorted(np.array(labels)[row])) for row in given]
