import random

import numpy as np
import pytest

from finbert2.labeler import baselines, metrics
from finbert2.labeler.data import Example

LABELS = ["利空", "中性", "利好"]


def test_classification_by_hand():
    found = metrics.classification(["利好", "利好", "利空", "中性"], ["利好", "利空", "利空", "利空"], LABELS)
    assert found["accuracy"] == 0.5
    # f1: 利空 P 1/3 R 1, 中性 never predicted, 利好 P 1 R 1/2
    f1 = {"利空": 1 / 2, "中性": 0.0, "利好": 2 / 3}
    assert {label: row["f1"] for label, row in found["per_class"].items()} == pytest.approx(f1)
    assert found["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    assert found["weighted_f1"] == pytest.approx((f1["利空"] + f1["中性"] + 2 * f1["利好"]) / 4)
    assert found["per_class"]["利好"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}


@pytest.mark.parametrize("seed", range(3))
def test_classification_equals_scikit_learns_report(seed):
    from sklearn.metrics import classification_report, matthews_corrcoef

    chance = random.Random(seed)
    gold, predicted = (chance.choices(LABELS, weights=[5, 3, 1], k=80) for _ in range(2))
    found = metrics.classification(gold, predicted, LABELS)
    report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    assert found["accuracy"] == pytest.approx(report["accuracy"])
    assert found["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert found["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    assert found["mcc"] == pytest.approx(matthews_corrcoef(gold, predicted))
    for label in LABELS:
        assert list(found["per_class"][label].values()) == pytest.approx(list(report[label].values()))


def test_a_label_that_nobody_names_does_not_count():
    found = metrics.classification(["利好", "利空"], ["利好", "利空"], LABELS)
    assert found["macro_f1"] == 1.0 and set(found["per_class"]) == {"利好", "利空"}


def test_tagging_by_hand_counts_whole_entities():
    gold = [["B-ORG", "I-ORG", "O", "B-PER"], ["B-ORG", "O"]]
    predicted = [["B-ORG", "O", "O", "B-PER"], ["B-ORG", "B-ORG"]]
    found = metrics.tagging(gold, predicted)
    assert (found["precision"], found["recall"]) == (0.5, pytest.approx(2 / 3))  # 2 of 4 found, 2 of 3 there
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["per_type"]["PER"]["f1-score"] == 1.0 and set(found["per_type"]) == {"ORG", "PER"}
    assert found["per_type"]["ORG"]["support"] == 2


def test_tagging_equals_seqeval():
    from seqeval.metrics import f1_score, precision_score, recall_score

    chance = random.Random(0)
    tags = ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    gold, predicted = ([chance.choices(tags, k=12) for _ in range(30)] for _ in range(2))
    found = metrics.tagging([tuple(row) for row in gold], predicted)
    scores = [score(gold, predicted) for score in (precision_score, recall_score, f1_score)]
    assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(scores)


def test_no_entity_found_is_zero():
    found = metrics.tagging([["B-ORG", "O"]], [["O", "O"]])
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)


def examples(n: int, good: str = "利润增长", bad: str = "业绩下滑") -> list[Example]:
    return [Example(f"第{i}号公告{good if i % 3 else bad}", "利好" if i % 3 else "利空") for i in range(n)]


def test_the_majority_is_the_training_datas():
    test = [Example("甲", "利空")] * 3 + [Example("乙", "利好")]
    assert baselines.majority(examples(9), len(test)) == ["利好"] * 4


def test_tf_idf_learns_what_characters_tell():
    train, dev, test = examples(60), examples(30), examples(12)
    assert baselines.tfidf(train, dev, test, LABELS) == [example.label for example in test]


def test_tf_idf_gives_several_labels_or_none():
    def row(i: int) -> Example:
        words = {"利好": ("利润增长", i % 2), "并购": ("收购资产", i % 3 == 0)}
        said = "".join(word for word, there in words.values() if there)
        return Example(f"第{i}号{said}", "|".join(label for label, (_, there) in words.items() if there))

    rows = [row(i) for i in range(60)]
    assert baselines.tfidf(rows, rows, rows[:12], ["利好", "并购"], multi_label=True) == [
        "|".join(sorted(row.labels)) for row in rows[:12]
    ]


def test_tf_idf_has_the_thresholds_of_best_f1_as_a_labeler_has():
    """Of three texts that hint at it one has the label: at 0.5 none would be given it."""
    hints = [Example("或有收购", "并购" if i % 3 == 0 else "") for i in range(90)]
    rows = [*hints, *(Example("利润增长", "利好") for _ in range(90))]
    test = [Example("或有收购", ""), Example("利润增长", "")]
    assert baselines.tfidf(rows, rows, test, ["利好", "并购"], multi_label=True) == ["并购", "利好"]


def test_several_labels_by_hand_and_by_scikit_learn():
    from sklearn.metrics import f1_score

    gold, predicted = ["利好|中性", "", "利空", "中性"], ["利好", "", "利空|中性", "中性"]
    found = metrics.classification(gold, predicted, LABELS, True)
    assert found["accuracy"] == 0.5 and found["hamming_loss"] == pytest.approx(2 / 12)
    one, other = metrics.indicators(gold, LABELS), metrics.indicators(predicted, LABELS)
    assert found["macro_f1"] == pytest.approx(f1_score(one, other, average="macro"))
    assert found["per_class"]["中性"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    counts = metrics.class_counts(gold, predicted, LABELS, True)
    assert metrics.macro_f1(counts.sum(0)) == pytest.approx(found["macro_f1"])


@pytest.mark.parametrize("seed", range(3))
def test_summed_counts_give_the_same_f1(seed):
    chance = random.Random(seed)
    gold, predicted = (chance.choices(LABELS, weights=[5, 3, 1], k=80) for _ in range(2))
    counts = metrics.class_counts(gold, predicted, LABELS, False)
    expected = metrics.classification(gold, predicted, LABELS)["macro_f1"]
    assert metrics.macro_f1(counts.sum(0)) == pytest.approx(expected)
    low, high = metrics.interval(metrics.resampled(counts))
    assert low < expected < high and high - low < 0.35
    assert metrics.resampled(counts).tolist() == metrics.resampled(counts).tolist()


def test_blocks_do_not_change_the_resamples(monkeypatch):
    counts = metrics.class_counts(["a", "b"] * 20, ["a", "a"] * 20, ["a", "b"], False)
    whole = metrics.resampled(counts)
    monkeypatch.setattr(metrics, "CELLS", 400)
    assert metrics.resampled(counts).tolist() == whole.tolist()


def test_a_paired_test_sees_a_difference_and_none():
    gold = ["a", "b"] * 100
    good = ["a", "b"] * 90 + ["b", "a"] * 10
    bad = ["a", "b"] * 60 + ["b", "a"] * 40

    def compared(one, other):
        counts = [metrics.class_counts(gold, rows, ["a", "b"], False) for rows in (one, other)]
        right = [np.array([x == y for x, y in zip(gold, rows, strict=True)]) for rows in (one, other)]
        return metrics.paired(*counts, *right)

    found = compared(good, bad)
    assert found["difference"] == pytest.approx(0.3) and found["interval"][0] > 0.2 and found["p"] < 0.01
    assert found["mcnemar_p"] == pytest.approx(2 * 0.5**60)
    same = compared(good, good)
    assert (same["difference"], same["p"], same["mcnemar_p"]) == (0.0, 1.0, 1.0)


def test_entities_are_counted_a_sentence():
    gold, predicted = [["B-ORG", "I-ORG", "O"], ["O", "O"]], [["B-ORG", "O", "O"], ["O", "B-ORG"]]
    assert metrics.entity_counts(gold, predicted)[:, :, 0].tolist() == [[0, 1, 1], [0, 1, 0]]


def test_confusion_leaves_out_what_is_no_label():
    assert metrics.confusion(["利好", "利好", "利空"], ["利空", "", "利空"], ["利空", "利好"]) == [[1, 0], [1, 0]]
