"""What needs no encoder: the largest class, and logistic regression on TF-IDF."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from finbert2.labeler import metrics
from finbert2.labeler.data import SEPARATOR, Example

TFIDF_C = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # 3 was best for long news of two classes, 300 for twelve


def majority(train: Sequence[Example], count: int) -> list[str]:
    """Return `count` times the training data's most frequent label (or, multi-label, combination of labels)."""
    return [Counter(example.label for example in train).most_common(1)[0][0]] * count


def tfidf(
    train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example], labels: Sequence[str],
    multi_label: bool = False,
) -> list[str]:  # fmt: skip
    """Return the answers of logistic regression on TF-IDF of character 1-3-grams, C chosen by dev macro-F1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), min_df=2 if len(train) > 100 else 1, sublinear_tf=True
    )
    features = vectorizer.fit_transform([example.text for example in train])
    dev_features, test_features = (vectorizer.transform([e.text for e in part]) for part in (dev, test))
    model = untrained(multi_label)
    targets = metrics.indicators([e.label for e in train], labels) if multi_label else [e.label for e in train]
    best, found = -1.0, [""] * len(test)
    for c in TFIDF_C:
        model.set_params(**{"estimator__C" if multi_label else "C": c}).fit(features, targets)
        answers = answer(model, dev_features, labels, multi_label)
        score = metrics.classification([e.label for e in dev], answers, labels, multi_label)["macro_f1"]
        if score > best:
            best, found = score, answer(model, test_features, labels, multi_label)
    return found


def untrained(multi_label: bool) -> Any:
    """Return a logistic regression that goes on from one C to the next, one a label for a multi-label task."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(max_iter=300, tol=1e-3, warm_start=True)
    return OneVsRestClassifier(model) if multi_label else model


def answer(model: Any, features: Any, labels: Sequence[str], multi_label: bool) -> list[str]:
    """Return the labels that a model gives to rows of features."""
    predicted = model.predict(features)
    if multi_label:
        return [SEPARATOR.join(sorted(np.array(labels)[row > 0])) for row in predicted]
    return list(predicted)
