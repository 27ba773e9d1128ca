import math

import numpy as np
import pytest
import pytrec_eval

from finbert2.retriever import bm25, metrics, milvus, ranking


def test_metrics_worked_by_hand():
    run = {"q1": [("a", 3.0), ("b", 2.0), ("c", 1.0)], "q2": [("a", 1.0)]}
    judged = {"q1": {"b": 1, "c": 1, "z": 0}, "q2": {"a": 1}, "q3": {"a": 1}}
    found = metrics.measure(run, judged)
    dcg = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert found["ndcg@10"] == pytest.approx((dcg + 1 + 0) / 3)  # q3 was not answered and counts 0
    assert found["mrr@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["map@10"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 + 0) / 3)
    assert found["recall@10"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["precision@10"] == pytest.approx((0.2 + 0.1 + 0) / 3)


def test_mrr_is_cut_at_ten():
    run = {"q": [(f"p{n:02}", -float(n)) for n in range(20)]}
    assert metrics.measure(run, {"q": {"p10": 1}})["mrr@10"] == 0
    assert metrics.measure(run, {"q": {"p09": 1}})["mrr@10"] == pytest.approx(0.1)


def test_metrics_equal_trec_eval_with_ties():
    chance = np.random.default_rng(0)
    ids = sorted((f"p{n}" for n in range(200)), reverse=True)
    scores = chance.integers(0, 8, (30, 200)).astype(np.float32)
    judged = {
        f"q{n}": {p: int(g) for p, g in zip(ids, chance.integers(0, 4, 200) // 3, strict=True)} for n in range(30)
    }
    run = ranking.rank(judged, [scores], ids, 100)
    raw = {q: {p: float(s) for p, s in zip(ids, row, strict=True)} for q, row in zip(judged, scores, strict=True)}
    peer = pytrec_eval.RelevanceEvaluator(judged, set(metrics.MEASURES.values()) | {"ndcg_cut.10"}).evaluate(raw)
    for query, values in metrics.measure_queries(run, judged).items():
        for name, measure in metrics.MEASURES.items():
            assert values[name] == pytest.approx(peer[query][measure], abs=1e-9)


def test_top_is_exact_and_of_equals_the_first():
    assert ranking.top(np.array([1.0, 3.0, 3.0, 2.0, 3.0]), 2).tolist() == [1, 2]
    assert ranking.top(np.array([1.0, 2.0]), 5).tolist() == [1, 0]


def test_products_in_blocks_equal_one_product():
    chance = np.random.default_rng(1)
    queries, passages = chance.normal(size=(7, 4)), chance.normal(size=(9, 4))
    assert np.allclose(np.concatenate(list(ranking.products(queries, passages, block=3))), queries @ passages.T)


def test_fusion():
    dense, bm25 = {"q": [("a", 0.9), ("b", 0.5)]}, {"q": [("b", 12.0), ("c", 2.0)]}
    fused = ranking.fuse_ranks(dense, bm25, 10)["q"]
    assert [p for p, _ in fused] == ["b", "a", "c"]
    assert fused[0][1] == pytest.approx(1 / 62 + 1 / 61)
    assert ranking.fuse_scores(dense, bm25, 0.7, 10)["q"] == [("a", 0.7), ("b", pytest.approx(0.3)), ("c", 0.0)]
    assert ranking.fuse_scores({"q": []}, bm25, 0.5, 1)["q"] == [("b", 0.5)]


def test_bigrams():
    assert bm25.bigrams("AI芯片，涨 5%") == ["ai", "i芯", "芯片", "涨", "5"]
    assert bm25.bigrams("，。") == []
    assert bm25.words("美联储加息，科技股承压") == ["美联储", "加息", "科技股", "承压"]


def test_bm25_of_lucene_by_hand():
    texts = ["芯片芯片", "银行", ""]
    row = next(bm25.Bm25(texts).scores(["芯片"]))[0]
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    average = (3 + 1 + 1) / 3  # the empty text holds the one token that stands for nothing
    tf = 2 / (2 + 1.5 * (1 - 0.75 + 0.75 * 3 / average))
    assert row.tolist() == pytest.approx([idf * tf, 0, 0], rel=1e-5)
    assert next(bm25.Bm25(texts).scores(["煤"]))[0].tolist() == [0, 0, 0]


def test_tokens_of_the_index_are_the_bigrams():
    words = milvus.tokens("芯片，A")
    assert words == "82af7247 0061"
    assert bytes.fromhex(words.split()[0]).decode("utf-16-be") == "芯片"
