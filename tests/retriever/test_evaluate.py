"""The parts of an evaluation: statistics, slices, windows, run files, endpoint, reranker."""

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
import transformers

from finbert2 import encoder, errors
from finbert2.retriever import benchmark, evaluate, runs, significance, slices, windows
from finbert2.retriever.endpoint import Endpoint
from finbert2.retriever.reranker import Reranker

from .conftest import jsonl, refused


def test_the_randomisation_test_is_exact_for_few_queries():
    first, second = [0.9, 0.8, 0.7, 0.6, 0.1], [0.5, 0.7, 0.5, 0.1, 0.3]
    differences = np.subtract(first, second)
    signs = np.array(list(itertools.product((-1, 1), repeat=5)))
    exact = (abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert significance.randomisation(first, second, seed=0) == pytest.approx(exact, abs=0.02)
    assert significance.randomisation(first, first, seed=0) == 1.0
    assert significance.randomisation([1.0] * 40, [0.0] * 40, seed=0) == pytest.approx(1 / 10_001)


def test_the_bootstrap_interval_of_a_mean_is_the_normal_ones():
    values = np.random.default_rng(0).normal(0.5, 0.2, 400)
    low, high = significance.interval(values, seed=1)
    half = 1.96 * values.std() / 20
    assert (low, high) == (
        pytest.approx(values.mean() - half, abs=0.003),
        pytest.approx(values.mean() + half, abs=0.003),
    )
    assert significance.interval(values, seed=1) == (low, high)


def test_windows_cover_the_text_and_the_best_one_counts():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    parts = windows.windows(text, 400, 380)
    assert [len(part) for part in parts] == [400, 400, 240]
    assert parts[1][0] == text[380] and parts[-1][-1] == text[-1]
    assert windows.windows(text[:780], 400, 380) == [text[:400], text[380:780]]
    assert windows.windows("短", 400, 380) == ["短"] and windows.windows(text, 0, 380) == [text]
    parts, starts = windows.split([text, "短"], 400, 380)
    assert (len(parts), starts) == (4, [0, 3])
    assert windows.fold(np.array([[0.1, 0.9, 0.2, 0.5]]), starts).tolist() == [[0.9, 0.5]]


def test_slices_and_the_page_of_the_worst_queries():
    passages = {"p1": "长" * 301, "p2": "短<b>"}
    judged = {"q1": {"p1": 1}, "q2": {"p2": 1}}
    test = benchmark.Benchmark(passages, {"q1": "问" * 16, "q2": "问"}, judged, [], {"q1": "年报"})
    assert slices.classes(test) == {
        "query_length": {"q1": "16-30", "q2": "0-15"},
        "passage_length": {"q1": "301+", "q2": "0-100"},
        "source": {"q1": "年报", "q2": "none"},
    }
    assert slices.sliced({"q1": 0.5, "q2": 1.0}, {"q1": "a", "q2": "a"}) == {"a": {"queries": 2, "mean": 0.75}}
    page = slices.worst_page("t", {"q1": [("p2", 1.0)], "q2": [("p2", 1.0)]}, {"q1": 0.0, "q2": 1.0}, test)
    assert page.index("0.000") < page.index("1.000")
    assert "not found" in page and "短&lt;b&gt;" in page and "rank 1" in page


def test_run_files_come_back(tmp_path):
    run = {"q": [("b", 0.5), ("a", 0.5), ("c", 0.25)]}
    (tmp_path / "r.trec").write_text(runs.trec(run, "dense-模型 r"))
    (tmp_path / "r.json").write_text(json.dumps(runs.flag_embedding(run, "m", "test", "d")))
    assert runs.read(tmp_path / "r.trec") == runs.read(tmp_path / "r.json") == run
    (tmp_path / "bad.trec").write_text("q Q0 b 1 0.5\n")
    with pytest.raises(errors.UserError) as raised:
        runs.read(tmp_path / "bad.trec")
    assert (
        str(raised.value)
        == f"{tmp_path / 'bad.trec'} line 1 has 5 words: 'query Q0 passage rank score tag' was expected"
    )
    (tmp_path / "bad.trec").write_text("q Q0 b 1 0.5 x\nq Q0 a 2 high x\n")
    with pytest.raises(errors.UserError) as raised:
        runs.read(tmp_path / "bad.trec")
    assert str(raised.value) == f"{tmp_path / 'bad.trec'} line 2 has the score 'high': a number was expected"
    found = runs.mteb({"ndcg@10": 0.5, "recall@100": 1.0}, "t", "test", "r", 1.0)
    assert found["scores"]["test"][0]["main_score"] == found["scores"]["test"][0]["ndcg_at_10"] == 0.5


def test_close_scores_keep_their_places_in_a_run_file(tmp_path):
    """Reciprocal rank fusion gives places 15 and 28 a little more than 9 and 38: 0.02469697 and 0.02469684."""
    run = {"q": [("c", 0.8765432), ("d", 0.8765431), ("a", 1 / 75 + 1 / 88), ("b", 1 / 69 + 1 / 98)]}
    (tmp_path / "r.trec").write_text(runs.trec(run, "r"))
    assert [passage for passage, _ in runs.read(tmp_path / "r.trec")["q"]] == [passage for passage, _ in run["q"]]


def test_hits_outside_the_corpus_are_left_out_and_counted(caplog):
    test = benchmark.Benchmark({"p": "甲", "r": "乙"}, {"q": "甲", "s": "丙"}, {"q": {"p": 1}, "s": {"r": 1}}, [])
    run = {"q": [("x", 0.9), ("p", 0.8), ("y", 0.7)], "t": [("p", 1.0)], "s": []}
    assert evaluate.known_queries(run, "a.trec", test) == {"q": [("p", 0.8)], "s": []}
    assert caplog.messages == ["a.trec: 2 hits left out, as the corpus or the sample of it lacks them"]
    with pytest.raises(errors.UserError) as raised:
        evaluate.known_queries({"q": [("x", 0.9)]}, "a.trec", test)
    assert str(raised.value) == (
        "a.trec ranks no passage of the corpus for any of the 2 judged queries: is it a run over the same data?"
    )


def test_a_run_over_the_whole_corpus_beside_a_sample(beir, tiny_encoder, tmp_path):
    ranked = [(f"p{n}", 1 / (n + 1)) for n in range(32)]
    run = tmp_path / "whole.trec"
    run.write_text(runs.trec({f"q{n}": ranked for n in range(32)}, "x"))
    argv = ["--model_name_or_path", tiny_encoder, "--data", beir, "--output_dir", tmp_path / "o", "--runs", run]
    evaluate.main([str(word) for word in [*argv, "--max_queries", 2, "--max_passages", 5]])
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert (results["n_passages"], results["runs"]["run-whole"]["recall@10"]) == (5, 1.0)


def test_a_plain_encoder_is_read_by_its_cls_or_by_the_mean(beir, tiny_encoder, tmp_path):
    """The run's hits are those of vectors pooled here by hand."""
    texts = benchmark.load(str(beir), "test").passages.values()
    for pooling in ("cls", "mean"):
        argv = ["--data", beir, "--model_name_or_path", tiny_encoder, "--output_dir", tmp_path / pooling]
        evaluate.main([str(word) for word in [*argv, "--sentence_pooling_method", pooling]])
        vectors = encoder.SentenceEncoder(str(tiny_encoder), pooling=pooling).encode(list(texts))
        model = transformers.AutoModel.from_pretrained(tiny_encoder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_encoder)
        with torch.no_grad():
            states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in texts]
        expected = torch.stack([one[0] if pooling == "cls" else one.mean(0) for one in states])
        assert np.allclose(vectors, torch.nn.functional.normalize(expected, dim=-1), atol=2e-2)  # bf16, where there is
    first, second = (next((tmp_path / one / "runs").glob("dense*")).read_text() for one in ("cls", "mean"))
    assert first != second


def test_options_that_evaluate_refuses(capsys):
    argv, name = ["--data", "d", "--output_dir", "o"], "finbert2 retriever evaluate: error: "
    for depth in (0, 101):
        assert refused(capsys, evaluate.main, [*argv, "--rerank_depth", depth]) == (
            f"{name}--rerank_depth {depth}: it has to be from 1 to 100, the hits of a run"
        )
    assert refused(capsys, evaluate.main, [*argv, "--model_name_or_path", "a/m", "../a/m", "b"]) == (
        f"{name}a/m and ../a/m are models of one name: results are kept as a_m; rename one"
    )
    assert refused(capsys, evaluate.main, [*argv, "--runs", "a/bm25.trec", "b/bm25.json"]) == (
        f"{name}--runs names bm25 twice: results are kept by the file's name; rename one of them"
    )


class Api(BaseHTTPRequestHandler):
    asked: list = []
    broken = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Api.asked.append((self.path, self.headers.get("Authorization"), body))
        if Api.broken:
            Api.broken -= 1
            self.send_error(503)
            return
        data = [{"index": n, "embedding": [len(text), 1.0]} for n, text in enumerate(body["input"])]
        answer = json.dumps({"data": data[::-1]}).encode()
        self.send_response(200 if body["model"] == "m" else 404)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "geheim")
    server = HTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Api.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_an_endpoint_is_asked_once_for_a_text(api, tmp_path):
    cache = tmp_path / "c.jsonl"
    Api.broken = 1
    vectors = Endpoint(api, "m", cache, batch_size=2, pause=0.01).encode(["甲", "乙乙", "甲", "丙丙丙"])
    assert vectors == pytest.approx(
        np.array([[1, 1], [2, 1], [1, 1], [3, 1]]) / [[2**0.5], [5**0.5], [2**0.5], [10**0.5]]
    )
    assert [body["input"] for _, _, body in Api.asked] == [["甲", "乙乙"], ["甲", "乙乙"], ["丙丙丙"]]
    assert Api.asked[0][:2] == ("/v1/embeddings", "Bearer geheim")
    cache.write_text(cache.read_text() + '{"key": "half')
    assert Endpoint(api, "m", cache).encode(["丙丙丙"]).shape == (1, 2)
    assert len(Api.asked) == 3 and "geheim" not in cache.read_text()
    with pytest.raises(
        errors.UserError,
        match="/v1/embeddings refused a request \\(HTTP 404 Not Found: .*check --endpoint, --endpoint_model",
    ):
        Endpoint(api, "x", cache, pause=0.01).encode(["甲"])


def test_a_half_written_line_spoils_no_later_run(api, tmp_path):
    cache = tmp_path / "c.jsonl"
    Endpoint(api, "m", cache).encode(["甲", "乙乙"])
    whole = cache.read_text()
    for text in (whole[:-30], whole[:-30] + whole, whole[:-1]):  # half a line; one and a whole; no line break
        cache.write_text(text)
        Endpoint(api, "m", cache).encode(["甲", "乙乙", "丙丙丙"])
        Api.asked.clear()
        Endpoint(api, "m", cache).encode(["甲", "乙乙", "丙丙丙"])
        assert Api.asked == []


@pytest.fixture
def cross_encoder(tiny_encoder, tmp_path):
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny_encoder, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "cross")
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path / "cross")
    return tmp_path / "cross"


def test_the_rerankers_scores_are_sentence_transformers(cross_encoder, monkeypatch):
    import torch
    from sentence_transformers import CrossEncoder

    from finbert2 import runtime

    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    pairs = [("半导体", "半导体芯片行业"), ("白酒", "煤炭开采需求回升" * 19), ("银行", "商业")]
    pairs += [("白酒消费" * 50, "煤炭"), ("白酒消费" * 50, "煤炭开采需求回升" * 19)]  # a query as long as the limit
    peer = CrossEncoder(str(cross_encoder), max_length=128).predict(pairs, activation_fn=torch.nn.Identity())
    assert Reranker(str(cross_encoder), 2).score(pairs) == pytest.approx(peer.tolist(), abs=1e-5)


def test_everything_in_one_table(beir, tiny_encoder, cross_encoder, api, tmp_path, capsys):
    out, bad = tmp_path / "o", jsonl(tmp_path / "bad.json", [])
    argv = [
        "--model_name_or_path", tiny_encoder, "--data", beir, "--output_dir", out, "--endpoint", api,
        "--endpoint_model", "m", "--window", 6, "--stride", 4, "--reranker", cross_encoder, "--rerank_depth", 5,
    ]  # fmt: skip
    evaluate.main([str(word) for word in argv])
    results = json.loads((out / "results.json").read_text())
    assert list(results["models"]) == [str(tiny_encoder), "m"] == list(results["reranked"])
    names = list(results["intervals"])
    assert names[0] == "bm25" and len(names) == 7
    for name in names:
        low, high = results["intervals"][name]
        assert 0 <= low <= high <= 1
        assert set(results["p_values"][name]) == set(names) - {name}
        assert (out / "worst" / f"{name}.html").exists()
        assert len(runs.read(out / "runs" / f"{name}.json")) == 16
        assert json.loads((out / "mteb" / name / "beir.json").read_text())["scores"]["test"][0]["main_score"] >= 0
    assert sum(part["queries"] for part in results["slices"]["bm25"]["query_length"].values()) == 16
    assert "p to BM25" in capsys.readouterr().out
    again = [
        "--model_name_or_path",
        tiny_encoder,
        "--data",
        beir,
        "--output_dir",
        tmp_path / "p",
        "--runs",
        out / "runs/bm25.trec",
    ]
    evaluate.main([str(word) for word in again])
    second = json.loads((tmp_path / "p/results.json").read_text())
    assert second["runs"]["run-bm25"] == results["bm25"]
    assert refused(capsys, evaluate.main, [*again, bad]) == (
        f"error: {bad} has no 'search_results': FlagEmbedding's search files do; TREC runs end in .trec"
    )
