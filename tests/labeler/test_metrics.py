import random

import pytest

from finbert2.labeler import metrics
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
    assert metrics.majority(examples(9), test, LABELS)["accuracy"] == 0.25


def test_tf_idf_learns_what_characters_tell():
    parts = examples(60), examples(30), examples(12)
    found = metrics.tfidf(*parts, LABELS)
    assert found["accuracy"] == 1.0 > metrics.majority(parts[0], parts[2], LABELS)["accuracy"]
