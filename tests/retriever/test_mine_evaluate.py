import json

import pytest

from finbert2.retriever import evaluate, mine

from .conftest import FACTS, TOPICS, jsonl, refused


def run_mine(*argv):
    mine.main([str(word) for word in argv])


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("source", ["dense", "bm25", "both"])
def test_mining_drops_planted_false_negatives(tmp_path, tiny_encoder, source):
    positive = "半导体芯片行业需求回升订单增长，公司第一季度利润"
    planted = ["半导体芯片行业需求回升，订单增长。公司第一季度利润", positive + "。", positive + "怎样"]
    pool = [f"{topic}行业{fact}。" for topic in TOPICS for fact in FACTS]
    rows = [{"query": "半导体芯片需求", "pos": [positive], "neg": ["煤炭"], "type": "normal"}]
    train = jsonl(tmp_path / "train.jsonl", rows)
    candidates = jsonl(tmp_path / "pool.jsonl", [{"text": text} for text in [*planted, *pool, "半导体芯片需求"]])
    out = tmp_path / "out.jsonl"
    run_mine(
        "--model_name_or_path", tiny_encoder, "--train_data", train, "--candidate_pool", candidates, "--output", out,
        "--source", source, "--negatives", 4, "--max_relative_score", 10,
    )  # fmt: skip
    (row,) = read(out)
    assert len(row["neg"]) == len(set(row["neg"])) == 4
    assert set(row["neg"]) <= set(pool)
    assert row["neg_scores"] == sorted(row["neg_scores"], reverse=True)
    dropped = json.loads((tmp_path / "out.jsonl.results.json").read_text())["dropped"]
    assert (dropped["positive"], dropped["near_duplicate"], dropped["query"]) == (2, 1, 1)


def test_a_shortage_is_not_filled_and_scores_are_bounded(tmp_path, tiny_encoder, train_file):
    out = tmp_path / "out.jsonl"
    run_mine("--train_data", train_file, "--output", out, "--source", "bm25", "--rank_max", 5, "--negatives", 50)
    rows = read(out)
    assert all(max(row["neg_scores"], default=0) <= 0.95 * row["pos_scores"][0] + 1e-6 for row in rows)
    assert all(len(row["neg"]) == len(set(row["neg"])) <= 5 for row in rows)
    results = json.loads((tmp_path / "out.jsonl.results.json").read_text())
    assert results["kept"] == sum(len(row["neg"]) for row in rows) > 0
    assert results["rows_short"] == 32


def test_messages_of_mine(tmp_path, train_file, capsys):
    argv = ["--train_data", train_file, "--output", tmp_path / "o.jsonl"]
    name = "finbert2 retriever mine: error: "
    assert (
        refused(capsys, mine.main, [*argv, "--source", "x"])
        == f"{name}--source x: it has to be one of dense, bm25, both"
    )
    assert refused(capsys, mine.main, [*argv, "--rank_min", 9, "--rank_max", 9]) == (
        f"{name}--rank_min 9 --rank_max 9: the window holds no rank"
    )
    assert (
        refused(capsys, mine.main, [*argv, "--output", "o.csv"])
        == f"{name}--output o.csv: its name has to end in .jsonl"
    )
    pool = jsonl(tmp_path / "pool.jsonl", [])
    assert refused(capsys, mine.main, [*argv, "--candidate_pool", pool]) == (
        f"error: {pool} holds no passages: each line has to be one object with 'text'"
    )


def test_evaluate_writes_results_runs_and_a_table(beir, tiny_encoder, tmp_path, capsys):
    out = tmp_path / "out"
    evaluate.main(["--model_name_or_path", str(tiny_encoder), "--data", str(beir), "--output_dir", str(out)])
    results = json.loads((out / "results.json").read_text())
    name = str(tiny_encoder)
    assert results["bm25"]["ndcg@10"] > 0.9
    assert set(results["models"][name]) == {"ndcg@10", "mrr@10", "map@10", "recall@10", "recall@100", "precision@10"}
    assert 0 <= results["hybrid"][name]["weight"] <= 1
    assert (results["n_queries"], results["n_passages"], results["sampled"]) == (16, 32, False)
    assert (results["split"], results["n_dev_queries"]) == ("test", 16)
    runs = sorted(path.name for path in (out / "runs").glob("*.trec"))
    assert [run.split("-")[0] for run in runs] == ["bm25.trec", "dense", "hybrid"]
    first = (out / "runs/bm25.trec").read_text().splitlines()[0].split()
    assert first[1] == "Q0" and first[3] == "1" and first[5] == "bm25"
    assert "16 queries, 32 passages\n" in capsys.readouterr().out


def test_evaluate_without_a_dev_split_fuses_ranks(beir, tiny_encoder, tmp_path):
    (beir / "qrels/dev.tsv").unlink()
    argv = ["--model_name_or_path", tiny_encoder, "--data", beir, "--output_dir", tmp_path / "o", "--max_queries", 3,
            "--max_passages", 10, "--analyzer", "words"]  # fmt: skip
    evaluate.main([str(word) for word in argv])
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert results["hybrid"][str(tiny_encoder)]["method"] == "RRF"
    assert (results["n_queries"], results["n_passages"], results["sampled"]) == (3, 10, True)


def test_evaluate_refuses_a_folder_that_is_no_model(beir, tmp_path, capsys):
    missing = tmp_path / "missing"
    argv = ["--model_name_or_path", missing, "--data", beir, "--output_dir", tmp_path / "o"]
    assert refused(capsys, evaluate.main, argv) == (
        f"error: {missing} is not a model folder (no config.json there; found: no such folder): "
        "name a folder written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base"
    )
    assert refused(capsys, evaluate.main, [*argv, "--analyzer", "x"]) == (
        "finbert2 retriever evaluate: error: --analyzer x: it has to be one of bigrams, words"
    )
