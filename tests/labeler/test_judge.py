import json
import types
import weakref

import numpy as np
import pytest

from finbert2.labeler import audit, baselines, judge, report
from finbert2.labeler.data import Example, Sentence
from finbert2.labeler.features import Task
from finbert2.labeler.judge import Answers

LABELS = ["a", "b", "c"]


def sure(gold: np.ndarray) -> np.ndarray:
    """Probabilities of a model that is right and fairly sure."""
    return np.full((len(gold), 3), 0.1) + 0.7 * np.eye(3)[gold]


def test_flipped_labels_are_found():
    gold = np.arange(90) % 3
    labels = [LABELS[number] for number in gold]
    labels[6], labels[40] = "b", "c"
    rows = [Example(f"第{n}行", label, n) for n, label in enumerate(labels)]
    found = audit.label_errors(rows, sure(gold), LABELS, False)
    assert {(row["line"], row["label"], row["suggested"]) for row in found} == {(6, "b", "a"), (40, "c", "b")}
    assert audit.label_errors(rows[:1], sure(gold[:1]), LABELS, False) == []


def test_flipped_labels_among_several_are_found():
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 2, (60, 3))
    labels = ["|".join(np.array(LABELS)[row > 0]) for row in truth]
    labels[7] = "|".join(np.array(LABELS)[truth[7] == 0])
    rows = [Example(f"第{n}行", label, n) for n, label in enumerate(labels)]
    found = audit.label_errors(rows, np.where(truth > 0, 0.9, 0.1), LABELS, True)
    assert [row["line"] for row in found] == [7]
    assert found[0]["suggested"] == "|".join(np.array(LABELS)[truth[7] > 0])


def test_a_label_that_every_row_has_is_no_reason_to_fail():
    """cleanlab would raise: it wants two classes of each label."""
    gold = np.array([[1, 1, 0]] * 20 + [[1, 0, 0]] * 20)
    shares = 0.1 + 0.8 * gold
    shares[0, 1] = 0.01
    rows = [Example(f"第{n}条", "|".join(np.array(LABELS)[row > 0]), n + 2) for n, row in enumerate(gold)]
    found = audit.label_errors(rows, shares, LABELS, True)
    assert [one["line"] for one in found] == [2]


def test_rows_of_one_label_teach_it_to_logistic_regression_too():
    rows = [Example("净利润增长", "a")] * 5
    assert baselines.tfidf(rows, [Example("股东减持", "b")], [Example("公司", "b")] * 2, LABELS) == ["a", "a"]


def test_worst_errors_are_the_most_confident():
    rows = [Example(text, "a", n) for n, text in enumerate(("甲", "乙", "丙", "丁" * 400))]
    found = audit.worst(rows, ["b", "a", "b", "c"], [0.6, 0.9, 0.8, 0.7])
    assert [(row["line"], row["predicted"]) for row in found] == [(2, "b"), (3, "c"), (0, "b")]
    assert len(found[1]["text"]) == audit.CHARACTERS


def judged(logits, multi_label=False, labels=None):
    rows = [Example("公司净利润同比大幅增长" + "甲乙丙丁"[n % 4] * 9, label, n) for n, label in enumerate("abcabc")]
    train = [Example(rows[2].text + "。", "b", 7), Example("别的新闻与此无关", "a")]
    task = Task("classification", LABELS, multi_label, train, [], rows)
    main = Answers(labels or list("abcabb"), [0.9] * 6, [False] * 5 + [True], logits, 2.0)
    return judge.classifier(task, main, {"other": Answers(["a"] * 6)})


def test_a_judgement_by_hand():
    found = judged(np.eye(3)[[0, 1, 2, 0, 1, 1]] * 4)
    results = found.results
    assert results["test"]["accuracy"] == pytest.approx(5 / 6) and results["other"]["accuracy"] == pytest.approx(1 / 3)
    assert results["comparisons"]["other"]["difference"] > 0.5 and results["n_test"] == 6
    assert results["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert results["abstention"] == {
        "abstained": 1, "coverage": pytest.approx(5 / 6), "accuracy_answered": 1.0, "accuracy_abstained": 0.0,
    }  # fmt: skip
    assert results["calibration"]["temperature"] == 2.0
    (leak,) = found.page["leaks"]
    assert (leak["line"], leak["train_line"], leak["label"], leak["train_label"]) == (2, 7, "c", "b")
    assert [row["line"] for row in found.page["worst"]] == [5]
    json.dumps(results)


def test_answers_without_logits_have_no_calibration():
    results = judged(None, labels=["a", "b", "", "a", "b", ""]).results
    assert "calibration" not in results and results["test"]["accuracy"] == pytest.approx(4 / 6)
    assert results["test"]["per_class"]["c"]["recall"] == 0.0 and results["confusion"][2] == [0, 0, 0]


def test_a_page_is_whole_and_shows_texts_as_texts(tmp_path):
    found = judged(np.eye(3)[[0, 1, 2, 0, 1, 1]] * 4)
    found.page["worst"][0]["text"] = "<script>alert(1)</script>"
    machine = {"processor": "CPU", "cores": 1, "accelerator": None}
    results = found.results | {"labels": LABELS, "machine": machine, "seconds": 1.0, "seed": 0}
    report.write(tmp_path, "模型", found, results)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page
    for heading in (
        "与其他模型比较",
        "各类别",
        "混淆矩阵",
        "概率是否可信",
        "最自信的错误（共 1 处）",
        "训练集中的近似重复",
    ):
        assert heading in page
    assert page.count("<svg") == 2 and "src=" not in page and '<link rel="icon" href="data:,">' in page


def test_a_taggers_page(tmp_path):
    rows = [Sentence(tuple("中信涨"), ("B-ORG", "I-ORG", "O")), Sentence(tuple("跌了"), ("O", "O"))]
    task = Task("ner", ["O", "B-ORG", "I-ORG"], False, [], [], rows)
    found = judge.tagger(task, [["B-ORG", "O", "O"], ["O", "O"]])
    assert found.page["worst_sentences"] == [{"text": "中信涨", "gold": "中信/ORG", "predicted": "中/ORG", "wrong": 2}]
    assert found.results["test"]["f1"] == 0.0 and found.rows[0]["tags"] == ["B-ORG", "O", "O"]
    machine = {"processor": "CPU", "cores": 1, "accelerator": "GPU"}
    report.write(tmp_path, "模型", found, found.results | {"machine": machine, "seconds": 1.0, "seed": 0, "labels": []})
    assert "错误最多的句子（共 1 句）" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_rivals_by_name_are_in_memory_one_at_a_time(monkeypatch):
    alive, most = weakref.WeakSet(), []

    class Stub:
        settings, labels = types.SimpleNamespace(temperature=1.0), LABELS

        def require(self, task):
            pass

        def logits(self, texts):
            most.append(len(alive))
            return np.eye(3)[[0, 1, 2]]

        def decide(self, logits):
            return [types.SimpleNamespace(label=LABELS[row.argmax()], score=1.0, abstained=False) for row in logits]

        @classmethod
        def from_pretrained(cls, name):
            opened = cls()
            alive.add(opened)
            return opened

    monkeypatch.setattr(judge, "Labeler", Stub)
    rows = [Example(f"第{n}条", label, n) for n, label in enumerate(LABELS)]
    task = Task("classification", LABELS, False, [], [], rows)
    found = judge.judge(Answers(["a", "a", "a"]), task, {"x": "x", "y": "y", "z": "z"}, False)
    assert [found.results[name]["accuracy"] for name in ("x", "y", "z")] == [1.0] * 3 and most == [1, 1, 1]
