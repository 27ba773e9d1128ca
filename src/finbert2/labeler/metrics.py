"""What a classifier and a tagger are judged by, and the plain baselines beside them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from finbert2.labeler.data import Example

TFIDF_C = (10.0, 100.0)


def classification(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, macro and weighted F1, MCC and a table per class; a class never predicted counts as F1 = 0."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_recall_fscore_support

    present = [label for label in labels if label in set(gold) | set(predicted)]
    precision, recall, f1, support = precision_recall_fscore_support(gold, predicted, labels=present, zero_division=0)
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_f1": float(f1_score(gold, predicted, labels=present, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(gold, predicted, labels=present, average="weighted", zero_division=0)),
        "mcc": float(matthews_corrcoef(gold, predicted)),
        "per_class": {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for label, p, r, f, s in zip(present, precision, recall, f1, support, strict=True)
        },
    }


def tagging(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return precision, recall and F1 of whole entities (seqeval), over all types and per type."""
    from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

    gold, predicted = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    table = classification_report(gold, predicted, output_dict=True, zero_division=0)
    kinds = {kind: row for kind, row in table.items() if not kind.endswith(" avg")}
    return {
        "precision": float(precision_score(gold, predicted, zero_division=0)),
        "recall": float(recall_score(gold, predicted, zero_division=0)),
        "f1": float(f1_score(gold, predicted, zero_division=0)),
        "per_type": {kind: {name: float(value) for name, value in row.items()} for kind, row in kinds.items()},
    }


def majority(train: Sequence[Example], test: Sequence[Example], labels: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of always answering the training data's largest class."""
    largest = Counter(example.label for example in train).most_common(1)[0][0]
    return classification([example.label for example in test], [largest] * len(test), labels)


def tfidf(
    train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example], labels: Sequence[str]
) -> dict[str, Any]:
    """Return the metrics of logistic regression on TF-IDF of character 1-3-grams, C chosen by dev macro-F1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), min_df=2 if len(train) > 100 else 1, sublinear_tf=True
    )
    features = vectorizer.fit_transform([example.text for example in train])
    dev_features, test_features = (vectorizer.transform([e.text for e in part]) for part in (dev, test))
    gold = [example.label for example in train]
    best: tuple[float, Any] = (-1.0, None)
    for c in TFIDF_C:
        model = LogisticRegression(C=c, max_iter=300, tol=1e-3).fit(features, gold)
        score = classification([e.label for e in dev], list(model.predict(dev_features)), labels)["macro_f1"]
        best = max(best, (score, model), key=lambda pair: pair[0])
    return classification([e.label for e in test], list(best[1].predict(test_features)), labels)
