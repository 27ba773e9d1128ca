"""A labeler's answers to a test file, judged beside others' on the same rows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finbert2.errors import UserError
from finbert2.labeler import audit, baselines, calibrate, data, metrics
from finbert2.labeler.features import Task
from finbert2.labeler.model import Labeler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """What a classifier answers to rows; a large language model gives no logits."""

    labels: list[str]
    scores: list[float] = field(default_factory=list)
    abstained: list[bool] = field(default_factory=list)
    logits: np.ndarray | None = None
    temperature: float = 1.0


@dataclass
class Judgement:
    """`results` go into results.json, `rows` into a file of predictions, `page` only into the report."""

    results: dict[str, Any]
    rows: list[dict[str, Any]]
    page: dict[str, Any]


def judge(
    main: Any, task: Task, rivals: Mapping[str, str | Labeler | Answers], baselines: bool,
    seen: Sequence[Any] | None = None,
) -> Judgement:  # fmt: skip
    """Judge a labeler, a classifier's answers or a tagger's tags on the test part; an empty judgement without one.

    A classifier stands beside rivals and, if wanted, beside baselines trained on the task's rows. A rival that is a
    folder or a Hub name is in memory for its turn alone. `seen` are the rows among which near duplicates of test rows
    are looked for (default: the training part).
    """
    if not task.test:
        return Judgement({}, [], {})
    if task.kind == "ner":
        return tagger(task, tags(main, task.test) if isinstance(main, Labeler) else main, seen)
    others = plain(task) if baselines else {}
    others |= {
        name: answers(opened(one, task.labels) if isinstance(one, str) else one, task.test)
        for name, one in rivals.items()
    }
    return classifier(task, answers(main, task.test), others, seen)


def opened(name: str, labels: Sequence[str]) -> Labeler:
    """Open a classifier to compare with, and log which of the task's labels it lacks.

    Raises `UserError` for a tagger, and for one that has none of them: by other names every answer would be wrong.
    """
    labeler = Labeler.from_pretrained(name)
    labeler.require("classification")
    missing = [label for label in labels if label not in labeler.labels]
    if len(missing) == len(labels):
        raise UserError(
            f"--compare {name} answers {', '.join(labeler.labels[:30])}, the task's labels are "
            f"{', '.join(labels[:30])}: every answer would be wrong; give it these names by id2label in its config.json"
        )
    if missing:
        log.warning("--compare %s never answers %s: such rows count as wrong", name, ", ".join(missing[:30]))
    return labeler


def answers(labeler: Labeler | Answers, rows: Sequence[data.Example]) -> Answers:
    """Return the answers to rows of a classifier; as they are if they were given."""
    if isinstance(labeler, Answers):
        return labeler
    logits = labeler.logits([row.text for row in rows])
    predictions = labeler.decide(logits)
    return Answers(
        [p.label for p in predictions], [p.score for p in predictions], [p.abstained for p in predictions],
        logits, labeler.settings.temperature,
    )  # fmt: skip


def plain(task: Task) -> dict[str, Answers]:
    """Return the answers of the largest class and of TF-IDF + logistic regression, trained on the task's rows."""
    return {
        "majority": Answers(baselines.majority(task.train, len(task.test))),
        "tfidf": Answers(baselines.tfidf(task.train, task.dev, task.test, task.labels, task.multi_label)),
    }


def classifier(
    task: Task, main: Answers, others: Mapping[str, Answers], seen: Sequence[Any] | None = None
) -> Judgement:
    """Judge a classifier on the test rows of a task, beside others by name.

    The results hold `test` and a table of the same form under each other's name, each with a bootstrap interval of its
    macro-F1, and `comparisons`: how much better `test` is than each other, with interval and p.
    """
    gold = [row.label for row in task.test]
    counts = {
        name: metrics.class_counts(gold, one.labels, task.labels, task.multi_label)
        for name, one in {"test": main, **others}.items()
    }
    right = {
        name: np.array([a == b for a, b in zip(gold, one.labels, strict=True)])
        for name, one in {"test": main, **others}.items()
    }
    results: dict[str, Any] = {
        name: metrics.classification(gold, one.labels, task.labels, task.multi_label)
        | {"interval": metrics.interval(metrics.resampled(counts[name]))}
        for name, one in {"test": main, **others}.items()
    }
    results["comparisons"] = {
        name: metrics.paired(counts["test"], counts[name], right["test"], right[name]) for name in others
    }
    results["n_test"] = len(task.test)
    if not task.multi_label:
        results["confusion"] = metrics.confusion(gold, main.labels, task.labels)
    page: dict[str, Any] = {"worst": audit.worst(task.test, main.labels, main.scores or [0.0] * len(gold))}
    if main.logits is not None:
        results["calibration"] = calibrate.report(
            main.logits, targets(task.test, task), main.temperature, task.multi_label
        )
        shares = calibrate.probabilities(main.logits, main.temperature, task.multi_label)
        page["label_errors"] = audit.label_errors(task.test, shares, task.labels, task.multi_label)
        results["probable_label_errors"] = len(page["label_errors"])
    if any(main.abstained):
        results["abstention"] = abstention(right["test"], np.array(main.abstained))
    if seen := task.train if seen is None else seen:
        page["leaks"] = audit.leaks(seen, task.test)
        results["near_duplicates_in_train"] = len(page["leaks"])
    return Judgement(results, text_rows(task.test, main), page)


def targets(rows: Sequence[data.Example], task: Task) -> np.ndarray:
    """Return the gold as label ids (rows), or as 0 and 1 (rows, labels) for a multi-label task."""
    gold = [row.label for row in rows]
    if task.multi_label:
        return metrics.indicators(gold, task.labels)
    return np.array([task.labels.index(label) for label in gold], dtype=int)


def abstention(right: np.ndarray, abstained: np.ndarray) -> dict[str, Any]:
    """Return how many rows were abstained from, and the accuracy of the answers given and of those held back."""
    return {
        "abstained": int(abstained.sum()), "coverage": float(1 - abstained.mean()),
        "accuracy_answered": float(right[~abstained].mean()) if (~abstained).any() else None,
        "accuracy_abstained": float(right[abstained].mean()),
    }  # fmt: skip


def text_rows(test: Sequence[data.Example], main: Answers) -> list[dict[str, Any]]:
    """Return the test rows with gold and predicted label."""
    scores: Sequence[float | None] = main.scores or [None] * len(test)
    return [
        {"text": e.text, "gold": e.label, "label": label, "score": score}
        for e, label, score in zip(test, main.labels, scores, strict=True)
    ]  # fmt: skip


def tags(labeler: Labeler, rows: Sequence[data.Sentence]) -> list[list[str]]:
    """Return a tagger's tags of sentences."""
    return [tags for tags, _ in labeler.tag([sentence.characters for sentence in rows])]


def tagger(task: Task, predicted: Sequence[Sequence[str]], seen: Sequence[Any] | None = None) -> Judgement:
    """Judge a tagger by its tags of the test sentences of a task."""
    gold = [sentence.tags for sentence in task.test]
    counts = metrics.entity_counts(gold, predicted)
    table = metrics.tagging(gold, predicted) | {"interval": metrics.interval(metrics.resampled(counts))}
    results: dict[str, Any] = {"test": table, "n_test": len(task.test)}
    wrong = counts[:, 1, 0] + counts[:, 2, 0] - 2 * counts[:, 0, 0]
    page: dict[str, Any] = {
        "worst_sentences": [
            {"text": task.test[place].text, "gold": marked(task.test[place].characters, gold[place]),
             "predicted": marked(task.test[place].characters, predicted[place]), "wrong": int(wrong[place])}
            for place in np.argsort(-wrong, kind="stable") if wrong[place]
        ]
    }  # fmt: skip
    if seen := task.train if seen is None else seen:
        page["leaks"] = audit.leaks(seen, task.test)
        results["near_duplicates_in_train"] = len(page["leaks"])
    rows = [
        {"text": s.text, "gold": list(s.tags), "tags": list(found)}
        for s, found in zip(task.test, predicted, strict=True)
    ]
    return Judgement(results, rows, page)


def marked(characters: Sequence[str], tags: Sequence[str]) -> str:
    """Return the entities that tags mark, as `text/TYPE`."""
    from finbert2.labeler.model import spans

    return "，".join(f"{e.text}/{e.type}" for e in spans("".join(characters), tags, [1.0] * len(tags)))
