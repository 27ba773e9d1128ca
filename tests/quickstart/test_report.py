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
        "classes": 2, "n_train": 3000, "n_test": 400,
        "n_train_found": 8754, "n_test_found": 400}}},
    "ner": {"seconds": 20.0, "tasks": {"company": {
        "precision": 0.75, "recall": 0.5, "f1": 0.6, "n_train": 100, "n_test": 10,
        "n_train_found": 100, "n_test_found": 10}}},
    "retriever": {"seconds": 50.0, "sets": {"beir": {
        "ndcg_at_10": 0.7, "untrained_ndcg_at_10": 0.1, "bm25_ndcg_at_10": 0.6, "hybrid_ndcg_at_10": 0.75,
        "n_queries": 100, "n_passages": 5000, "sampled": True}}, "n_rows_found": 0},
    "topics": {"n_titles": 500, "n_topics": 12, "coverage": 0.8, "ami": None, "topic_diversity": 0.9, "npmi": 0.1,
               "n_found": 9000, "seconds": 5.0},
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
        ["tokenizer", "0.600 tokens per character", "without domain words 0.900", "10"],
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
    shares = {"mask_ratio": 0.3, "decoder_mask_ratio": 0.5, "decoder_target_share": 0.25}
    write(tmp_path / "retromae" / "args.json", json.dumps(shares))
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
        "（遮住 50%）预测 25% 的 token",
        "<td>3,000（共 8,754）</td><td>400</td>",
        "500（共 9,000） 条标题",
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
    results("tokenizer", words=5, extended={"vocabulary": 60, "tokens_per_char": 0.5})
    base, ours = (
        {"a": {"characters": 300, "tokens_per_char": a, "unk_rate": 0.0},
         "b": {"characters": 100, "tokens_per_char": b, "unk_rate": 0.008}}
        for a, b in ((0.95, 0.75), (0.7, 0.3))
    )  # fmt: skip
    results("tokenizer/evaluate", tokenizers={"base": base, str(tmp_path / "tokenizer"): ours, "pieces": {}})
    training = {name: TRAINING[name] for name in TRAINING if name not in ("seconds", "valid_loss_per_char_before")}
    for name in ("mlm", "retromae"):
        results(name, **training, valid_before={"loss_per_char": 9.125}, valid={"masked_accuracy": 0.25})
    scores = {"models": {"a": {"ndcg@10": 0.7}, "b": {"ndcg@10": 0.1}}, "bm25": {"ndcg@10": 0.6}}
    scores |= {"hybrid": {"a": {"ndcg@10": 0.75}}, "n_queries": 100, "n_passages": 5000, "sampled": True}
    results("retriever/evaluate/beir", **scores)
    results("labeler/mood", test={"accuracy": 0.9, "macro_f1": 0.875}, majority={"accuracy": 0.5, "macro_f1": 0.333},
            tfidf={"macro_f1": 0.8}, labels=["a", "b"], n_train=3000, n_test=400)  # fmt: skip
    results("topics", **{name: value for name, value in STAGES["topics"].items() if name not in ("n_found", "seconds")})
    write(tmp_path / "data" / "titles.csv", "title\n" + "甲\n" * 9000)
    for part, rows in (("train", 8754), ("test", 400)):
        write(tmp_path / "data" / f"{part}.csv", "text,label\n" + "甲,1\n" * rows)
    results("retriever/model", loss_first=2.0, loss_last=1.0, n_rows=9, steps=3)
    sets = {"beir": RetrievalSet(tmp_path, []), "rows": RetrievalSet(None, [])}
    seconds = {"corpus": 4.6, "tokenizer": 8.0, "tokenizer/evaluate": 2.0, "mlm": 61, "retromae": 61}
    seconds |= {"retriever/evaluate/beir": 20.0, "retriever/train": 30.0, "labeler/mood": 30.0, "topics": 5.0}
    inventory = Inventory(
        retrieval=sets, classification={"mood": tmp_path / "data"}, titles=tmp_path / "data" / "titles.csv",
        absent=["ner"],
    )  # fmt: skip
    found = report.collect(tmp_path, inventory, seconds)
    expected = {name: STAGES[name] for name in ("corpus", "mlm", "retromae", "topics")}
    expected["labeler"] = {"tasks": {"mood": STAGES["labeler"]["tasks"]["心情<b>"]}, "seconds": 30.0}
    expected["tokenizer"] = STAGES["tokenizer"] | {"words": 5, "vocabulary": 60, "unk_rate": pytest.approx(0.002)}
    expected["tokenizer"] |= {"tokens_per_char_base": pytest.approx(0.9), "tokens_per_char": pytest.approx(0.6)}
    expected["retriever"] = STAGES["retriever"] | {"loss_first": 2.0, "loss_last": 1.0, "n_rows": 9}
    assert found == {"stages": expected, "absent": ["ner"], "encoder_from": "the sample corpus"}

    told = [report.of_step(name, tmp_path) for name in ("corpus", "tokenizer", "mlm", "retriever/evaluate/beir")]
    rows = [re.split(" {2,}", line)[1:3] for line in report.table(found | {"seconds": 1.0}).splitlines()]
    assert told[0] == "; ".join(rows[1]) and told[1] == "" and told[2] == "; ".join(rows[3])
    assert told[3] == "nDCG@10 0.700, hybrid 0.750; BM25 0.600, untrained 0.100"
    assert report.of_step("tokenizer/evaluate", tmp_path) == "; ".join(rows[2])


def test_a_set_without_training_rows_is_not_said_to_be_trained(output):
    scores = {"models": {"a": {"ndcg@10": 0.1}}, "bm25": {"ndcg@10": 0.6}, "hybrid": {"a": {"ndcg@10": 0.62}}}
    scores |= {"n_queries": 100, "n_passages": 500, "sampled": False}
    write(output / "retriever" / "evaluate" / "beir" / "results.json", json.dumps(scores))
    stage = report.retriever(output / "retriever", Inventory(retrieval={"beir": RetrievalSet(output, [])}))
    assert stage["sets"]["beir"] | {"ndcg_at_10": None, "untrained_ndcg_at_10": 0.1} == stage["sets"]["beir"]
    told = report.headline("retriever", stage)
    assert told == [("beir: not trained, hybrid 0.620", "BM25 0.600, untrained 0.100")]
    page = report.page(output, RESULTS | {"stages": STAGES | {"retriever": stage | {"seconds": 1.0}}}, None)
    assert "只评测未微调的编码器" in page and "<td>0.100</td><td>0.600</td><td>–</td><td>0.620</td>" in page
