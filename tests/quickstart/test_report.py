import json
import re

import pytest

from finbert2.quickstart import report
from finbert2.quickstart.inventory import Inventory, RetrievalSet

from .conftest import write

TRAINING = {
    "loss_first": 9.5, "loss_last": 6.25, "valid_loss_per_char": 5.5, "valid_loss_per_char_before": 9.125, "steps": 550,
    "tokens_seen": 123456, "tokens_per_second": 4321, "packing_fill": 0.987, "masked_accuracy": 0.25, "seconds": 61.0,
}  # fmt: skip
STAGES = {
    "corpus": {"documents_in": 1200, "documents_out": 1000, "documents_found": 5000, "sampled": True, "seconds": 4.6,
               "dropped": {"too_short": 50, "duplicate": 150}},
    "tokenizer": {"words": 2000, "vocabulary": 6000, "tokens_per_char_base": 0.9, "tokens_per_char": 0.6,
                  "unk_rate": 0.0001, "seconds": 10.0},
    "mlm": TRAINING,
    "retromae": TRAINING,
    "labeler": {"seconds": 30.0, "tasks": {"心情<b>": {
        "accuracy": 0.9, "macro_f1": 0.875, "majority_accuracy": 0.5, "majority_macro_f1": 0.333, "tfidf_macro_f1": 0.8,
        "classes": 2, "n_train": 3000, "n_test": 400}}},
    "ner": {"seconds": 20.0, "tasks": {"company": {
        "precision": 0.75, "recall": 0.5, "f1": 0.6, "n_train": 100, "n_test": 10}}},
    "retriever": {"seconds": 50.0, "sets": {"beir": {
        "ndcg_at_10": 0.7, "untrained_ndcg_at_10": 0.1, "bm25_ndcg_at_10": 0.6, "hybrid_ndcg_at_10": 0.75,
        "n_queries": 100, "n_passages": 5000, "sampled": True}}},
    "topics": {"n_titles": 500, "n_topics": 12, "coverage": 0.8, "ami": None, "topic_diversity": 0.9, "npmi": 0.1,
               "n_sampled": 500, "seconds": 5.0},
}  # fmt: skip
RESULTS = {
    "stages": STAGES, "absent": ["ner"], "encoder_from": "corpus", "seed": 42, "seconds": 180.0, "peak_memory_gib": 1.5,
    "versions": {"torch": "2.0"},
    "machine": {"processor": "CPU", "cores": 2, "memory_gib": 8.0, "accelerator": None, "bf16": False,
                "system": "Linux", "python": "3.11"},
}  # fmt: skip


def test_the_table_by_hand():
    table = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in report.table(RESULTS).splitlines()]
    held_out = "held out, per character: 9.12 -> 5.50"
    assert table == [
        ["stage", "result", "for comparison", "seconds"],
        ["corpus", "1,000 of 1,200 documents kept", "duplicate 150, too_short 50", "5"],
        ["tokenizer", "0.600 tokens per character", "characters 0.900", "10"],
        ["mlm", "loss 9.50 -> 6.25", held_out, "61"],
        ["retromae", "loss 9.50 -> 6.25", held_out, "61"],
        ["labeler", "心情<b>: macro-F1 0.875", "TF-IDF 0.800, majority 0.333", "30"],
        ["ner", "company: F1 0.600", "precision 0.750, recall 0.500", "20"],
        ["retriever", "beir: nDCG@10 0.700, hybrid 0.750", "BM25 0.600, untrained 0.100", "50"],
        ["topics", "12 topics, coverage 0.80", "5"],
        ["whole", "after pretraining, two steps at a time", "180"],
    ]


def test_a_retriever_that_was_only_trained_leaves_the_other_lines_alone():
    stages = {"ner": STAGES["ner"], "retriever": {"sets": {}, "seconds": 50.0, "loss_first": 2.0, "loss_last": 1.0}}
    assert report.table({"stages": stages, "seconds": 50.0}).splitlines()[1].split()[-1] == "20"


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "tokenizer" / "words.csv", "word,occurrences,tokens_saved\n营业收入,30,90\n")
    write(tmp_path / "topics" / "topics.csv", "topic,size,words,example_1\n0,42,光伏 组件,光伏周报\n")
    write(tmp_path / "mlm" / "loss.svg", "<svg><!-- the curve --></svg>")
    write(tmp_path / "mlm" / "config.json", '{"num_hidden_layers": 6, "hidden_size": 384}')
    write(tmp_path / "mlm" / "args.json", '{"mask_ratio": 0.4}')
    write(tmp_path / "retriever" / "search.log", "1. 美联储 & 科技股")
    return tmp_path


def test_the_page_holds_every_stage_and_escapes_names(output):
    page = report.page(output, RESULTS, "/data/<我的>")
    assert page.count("<svg") >= 5 and "<!-- the curve -->" in page
    for told in (
        "心情&lt;b&gt;",
        "营业收入",
        "光伏 组件",
        "美联储 &amp; 科技股",
        "/data/&lt;我的&gt;",
        "0.875",
        "123,456",
        "6 层 × 384 的 BERT，全词掩码 40%",
    ):
        assert told in page
    assert "心情<b>" not in page
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|@import|url\((?!#)""", page)  # nothing is fetched


def test_a_page_without_the_optional_stages(output):
    stages = {name: STAGES[name] for name in ("corpus", "tokenizer", "mlm", "retromae")}
    page = report.page(output, RESULTS | {"stages": stages, "absent": ["topic"]}, None)
    assert "样例数据" in page and "Fin-labeler" not in page and "Fin-retriever" not in page


def test_collecting_the_steps_results(tmp_path):
    def results(place, **values):
        write(tmp_path / place / "results.json", json.dumps(values))

    sample = {name: STAGES["corpus"][name] for name in STAGES["corpus"] if name != "seconds"}
    results("corpus", **sample, documents_train=990)
    results("tokenizer", words=5, base={"tokens_per_char": 0.9})
    row = {"vocabulary": 60, "tokens_per_char": 0.6, "unk_rate": 0.0}
    results("tokenizer/evaluate", tokenizers={str(tmp_path / "tokenizer"): {"valid": row}, "other": {"valid": {}}})
    training = {name: TRAINING[name] for name in TRAINING if name not in ("seconds", "valid_loss_per_char_before")}
    for name in ("mlm", "retromae"):
        results(name, **training, valid_before={"loss_per_char": 9.125}, valid={"masked_accuracy": 0.25})
    scores = {"models": {"a": {"ndcg@10": 0.7}, "b": {"ndcg@10": 0.1}}, "bm25": {"ndcg@10": 0.6}}
    scores |= {"hybrid": {"a": {"ndcg@10": 0.75}}, "n_queries": 100, "n_passages": 5000, "sampled": True}
    results("retriever/evaluate/beir", **scores)
    results("retriever/model", loss_first=2.0, loss_last=1.0, n_rows=9, steps=3)
    sets = {"beir": RetrievalSet(tmp_path, []), "rows": RetrievalSet(None, [])}
    seconds = {"corpus": 4.6, "tokenizer": 8.0, "tokenizer/evaluate": 2.0, "mlm": 61, "retromae": 61}
    seconds |= {"retriever/evaluate/beir": 20.0, "retriever/train": 30.0}
    found = report.collect(tmp_path, Inventory(retrieval=sets, absent=["ner"]), seconds)
    expected = {name: STAGES[name] for name in ("corpus", "mlm", "retromae")}
    expected["tokenizer"] = STAGES["tokenizer"] | {"words": 5, "vocabulary": 60, "unk_rate": 0.0}
    expected["retriever"] = STAGES["retriever"] | {"loss_first": 2.0, "loss_last": 1.0, "n_rows": 9}
    assert found == {"stages": expected, "absent": ["ner"], "encoder_from": "the sample corpus"}

    told = [report.of_step(name, tmp_path) for name in ("corpus", "tokenizer", "mlm", "retriever/evaluate/beir")]
    rows = [re.split(" {2,}", line)[1:3] for line in report.table(found | {"seconds": 1.0}).splitlines()]
    assert told[0] == "; ".join(rows[1]) and told[1] == "" and told[2] == "; ".join(rows[3])
    assert told[3] == "nDCG@10 0.700, hybrid 0.750; BM25 0.600, untrained 0.100"
    assert report.of_step("tokenizer/evaluate", tmp_path) == "; ".join(rows[2])
