import json

import numpy as np
import pytest

from finbert2 import encoder, ngrams
from finbert2.retriever import duplicates, evaluate, mine

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
    assert set(row["neg"]) <= set(pool) - {"半导体芯片行业需求回升订单增长。"}  # the positive's beginning
    assert row["neg_scores"] == sorted(row["neg_scores"], reverse=True)
    assert row["type"] == "normal"
    dropped = json.loads((tmp_path / "out.jsonl.results.json").read_text())["dropped"]
    assert (dropped["positive"], dropped["near_duplicate"], dropped["query"]) == (2, 2, 1)


def test_a_shortage_is_not_filled_and_scores_are_bounded(tmp_path, tiny_encoder, train_file):
    out = tmp_path / "out.jsonl"
    run_mine("--train_data", train_file, "--output", out, "--source", "bm25", "--rank_max", 5, "--negatives", 50)
    rows = read(out)
    assert all(max(row["neg_scores"], default=0) <= 0.95 * row["pos_scores"][0] + 1e-6 for row in rows)
    assert all(len(row["neg"]) == len(set(row["neg"])) <= 5 for row in rows)
    results = json.loads((tmp_path / "out.jsonl.results.json").read_text())
    assert results["kept"] == sum(len(row["neg"]) for row in rows) > 0
    assert results["rows_short"] == 32


def test_a_reranker_judges_and_its_scores_are_kept(tmp_path, train_file, monkeypatch):
    """It finds a passage as good as the positive where BM25 saw nothing; its raw scores go into the rows."""
    from finbert2.retriever import reranker

    class Known:
        def __init__(self, name, batch_size, max_length):
            assert (name, max_length) == ("teacher", 512)

        def score(self, pairs, show_progress):
            return [4.0 if "价格下跌" in text else 3.0 if query[:4] in text else -2.0 for query, text in pairs]

    monkeypatch.setattr(reranker, "Reranker", Known)
    out = tmp_path / "out.jsonl"
    run_mine("--train_data", train_file, "--output", out, "--source", "bm25", "--reranker", "teacher", "--negatives", 3)
    for row in read(out):
        assert set(row["pos_scores"]) <= {3.0, 4.0}
        assert set(row["neg_scores"]) <= {-2.0}  # logistic(3) is above 95 % of logistic(4)
    results = json.loads((tmp_path / "out.jsonl.results.json").read_text())
    assert results["dropped"]["reranker"] > 0
    assert (tmp_path / "out.jsonl.svg").read_text().startswith("<svg")


def test_an_absolute_margin(tmp_path, train_file):
    out = tmp_path / "out.jsonl"
    run_mine("--train_data", train_file, "--output", out, "--source", "bm25", "--min_margin", 2.5)
    rows = read(out)
    assert any(row["neg"] for row in rows)
    assert all(score <= row["pos_scores"][0] - 2.5 for row in rows for score in row["neg_scores"])


def test_kept_vectors_are_not_made_again(tmp_path, train_file, tiny_encoder, monkeypatch):
    argv = ["--model_name_or_path", tiny_encoder, "--train_data", train_file, "--source", "both"]
    run_mine(*argv, "--output", tmp_path / "a.jsonl", "--cache_dir", tmp_path / "c")
    made = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert len(made) == 2
    monkeypatch.setattr(encoder.SentenceEncoder, "encode", None)
    run_mine(*argv, "--output", tmp_path / "b.jsonl", "--cache_dir", tmp_path / "c")
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == made


def test_kept_vectors_are_of_the_models_prompt(tmp_path, train_file, tiny_encoder):
    """A prompt that was forgotten and is written into the folder later changes no weights."""
    folder = tmp_path / "model"
    encoder.load_sentence_transformer(str(tiny_encoder)).save(str(folder))
    argv = ["--model_name_or_path", folder, "--train_data", train_file, "--cache_dir", tmp_path / "c"]
    run_mine(*argv, "--output", tmp_path / "a.jsonl")
    settings = folder / "config_sentence_transformers.json"
    found = json.loads(settings.read_text())
    settings.write_text(json.dumps(found | {"prompts": {"query": "为这个句子生成表示", "document": ""}}))
    run_mine(*argv, "--output", tmp_path / "b.jsonl")
    assert read(tmp_path / "a.jsonl")[0]["pos_scores"] != read(tmp_path / "b.jsonl")[0]["pos_scores"]


def test_a_rows_prompt_takes_the_models_place(tmp_path, tiny_encoder, training_rows, monkeypatch):
    read_texts = []

    def note(model, texts, batch_size, prompt=""):
        read_texts.append((prompt, list(texts)))
        return np.tile(np.float32([[1, 0]]), (len(texts), 1)) if texts else np.zeros((0, 2), np.float32)

    monkeypatch.setattr(encoder, "encode", note)
    monkeypatch.setattr(encoder, "query_prompt", lambda model: "查：")
    monkeypatch.setattr(encoder, "document_prompt", lambda model: "文：")
    monkeypatch.setattr(encoder.SentenceEncoder, "width", 2)
    first, second, third = training_rows[:3]
    again = {**first, "prompt": "另："}
    rows = [{**first, "prompt": "问："}, second, {**third, "prompt": ""}, again]
    train, out = jsonl(tmp_path / "p.jsonl", rows), tmp_path / "out.jsonl"
    run_mine("--model_name_or_path", tiny_encoder, "--train_data", train, "--output", out)
    assert read_texts[:2] == [("查：", [second["query"]]), ("", ["问：" + first["query"], third["query"]])]
    assert [prompt for prompt, _ in read_texts[2:]] == ["文："]
    assert [row.get("prompt") for row in read(out)] == ["问：", None, "", "另："]


def test_jaccard_of_trigrams():
    first, second = duplicates.trigrams("美联储加息"), duplicates.trigrams("美联储降息")
    assert (len(first), ngrams.jaccard(first, second)) == (3, 1 / 5)
    assert ngrams.jaccard(first, duplicates.trigrams("美联储加息抬高折现率"), 0.8) == 0.0
    assert ngrams.jaccard(duplicates.trigrams("涨"), duplicates.trigrams("涨")) == 1.0


def test_messages_of_mine(tmp_path, train_file, capsys):
    argv = ["--train_data", train_file, "--output", tmp_path / "o.jsonl"]
    name = "finbert2 retriever mine: error: "
    assert refused(capsys, mine.main, [*argv, "--rank_min", 9, "--rank_max", 9]) == (
        f"{name}--rank_min 9 --rank_max 9: the window holds no rank"
    )
    assert (
        refused(capsys, mine.main, [*argv, "--output", "o.csv"])
        == f"{name}--output o.csv: its name has to end in .jsonl"
    )
    before = train_file.read_text()
    assert refused(capsys, mine.main, [*argv, "--output", train_file, "--source", "bm25"]) == (
        f"error: --output {train_file} is the file that is read: name another"
    )
    assert train_file.read_text() == before
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
