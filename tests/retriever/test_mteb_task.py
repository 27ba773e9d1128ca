"""The suite's sets inside MTEB."""

import json

import pytest

from finbert2.errors import UserError
from finbert2.retriever import evaluate
from finbert2.retriever.mteb_task import mteb_task


@pytest.mark.slow
def test_mteb_scores_a_set_as_we_do(beir, tiny_encoder, tmp_path, monkeypatch):
    """The same model on the same folder: MTEB's own evaluator and ours agree."""
    mteb = pytest.importorskip("mteb")
    from finbert2 import encoder, runtime

    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    folder = tmp_path / "model"
    encoder.load_sentence_transformer(str(tiny_encoder)).save(str(folder))
    evaluate.main(["--model_name_or_path", str(folder), "--data", str(beir), "--output_dir", str(tmp_path / "ours")])
    ours = json.loads((tmp_path / "ours" / "results.json").read_text(encoding="utf-8"))
    task = mteb_task(beir, "TinyBeir")
    assert (task.metadata.name, task.metadata.eval_splits) == ("TinyBeir", ["test"])
    found = mteb.evaluate(encoder.load_sentence_transformer(str(folder)), task, cache=None, show_progress_bar=False)
    score = found.task_results[0].scores["test"][0]["ndcg_at_10"]
    assert score == pytest.approx(ours["models"][str(folder)]["ndcg@10"], abs=1e-5) and 0 < score < 1


def test_without_mteb_the_message_says_how_to_get_it(beir, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mteb.abstasks.retrieval", None)
    with pytest.raises(UserError, match=r"pip install 'finbert2\[mteb\]'"):
        mteb_task(beir, "x")
