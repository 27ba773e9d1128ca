import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from finbert2 import encoder
from finbert2.errors import UserError
from finbert2.retriever import benchmark, metrics, options, train, trainer

from .conftest import jsonl, refused

TEXTS = ["半导体芯片需求回升", "商业银行利润承压。", "白酒"]


def flags(train_file, tiny_encoder, out, *more):
    return [
        "--model_name_or_path", tiny_encoder, "--train_data", train_file, "--output_dir", out, "--train_group_size", 5,
        "--per_device_train_batch_size", 4, "--query_max_len", 48, "--passage_max_len", 32, "--disable_tqdm", "True",
        "--save_steps", 4, "--logging_steps", 1, *more,
    ]  # fmt: skip


def run(argv):
    train.main([str(word) for word in argv])


def test_training_lowers_the_loss_and_its_folder_opens_everywhere(train_file, tiny_encoder, tmp_path):
    out = tmp_path / "out"
    run(flags(train_file, tiny_encoder, out, "--num_train_epochs", 8, "--learning_rate", 5e-3, "--bf16", "False"))
    results = json.loads((out / "results.json").read_text())
    assert (results["n_rows"], results["steps"]) == (32, 64)
    assert results["loss_last"] < 0.5 * results["loss_first"]
    assert [module["type"] for module in json.loads((out / "modules.json").read_text())] == [
        f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")
    ]
    pooling = json.loads((out / "1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_cls_token"] and not pooling["pooling_mode_mean_tokens"]
    assert (out / "README.md").read_text().count("train.jsonl") == 1
    model = SentenceTransformer(str(out))
    assert model.prompts == {"query": options.INSTRUCTION, "document": ""}
    assert model.max_seq_length == 48
    vectors = model.encode(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    plain, tokenizer = AutoModel.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        cls = plain(**tokenizer(TEXTS, padding=True, return_tensors="pt")).last_hidden_state[:, 0]
    assert np.allclose(torch.nn.functional.normalize(cls, dim=-1).numpy(), vectors, atol=1e-5)
    with_prompt = model.encode(TEXTS, prompt_name="query")
    assert np.allclose(with_prompt, model.encode([options.INSTRUCTION + text for text in TEXTS]), atol=1e-5)
    assert np.allclose(encoder.SentenceEncoder(str(out)).encode(TEXTS, is_query=True), with_prompt, atol=2e-2)  # bf16


def test_an_interrupted_run_resumes_to_the_same_weights(train_file, tiny_encoder, tmp_path, monkeypatch, capsys):
    more = ("--max_steps", 12, "--mini_batch_tokens", 50, "--hub_token", "hf_geheim")
    argv = flags(train_file, tiny_encoder, tmp_path / "a", *more)
    run(argv)
    whole = (tmp_path / "a/model.safetensors").read_bytes()
    written = (tmp_path / "a/checkpoint-12/training_args.bin").read_bytes()
    assert b"output_dir" in written and b"hf_geheim" not in written
    for name in ("checkpoint-12", "results.json", "model.safetensors"):
        path = tmp_path / "a" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(options.RetrieverTrainingArguments, "world_size", 2)  # rows would be met again
        assert "--gradient_accumulation_steps) was 4, is 8): choose" in refused(capsys, train.main, argv)
    run(argv)
    assert json.loads((tmp_path / "a/results.json").read_text())["resumed_at_step"] == 8
    assert (tmp_path / "a/model.safetensors").read_bytes() == whole
    before = (tmp_path / "a/results.json").stat().st_mtime_ns
    run(argv)  # finished: nothing is done
    assert (tmp_path / "a/results.json").stat().st_mtime_ns == before


def test_evaluation_stops_early_and_keeps_the_best(train_file, tiny_encoder, beir, tmp_path):
    out = tmp_path / "out"
    run(flags(
        train_file, tiny_encoder, out, "--max_steps", 40, "--learning_rate", 2e-2, "--bf16", "False",
        "--eval_data", beir, "--eval_strategy", "steps", "--eval_steps", 4, "--early_stopping_patience", 2,
        "--matryoshka_dims", 8,
    ))  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    scores = [entry["eval_ndcg@10"] for entry in results["evaluations"]]
    best = scores.index(max(scores))
    assert results["best_ndcg@10"] == scores[best]
    assert [Path(name).name for name in results["data"]] == ["train.jsonl", "corpus.jsonl", "queries.jsonl", "dev.tsv"]
    assert results["steps"] == 4 * len(scores) and (len(scores) == best + 3 or results["steps"] == 40)
    assert len(results["positive_rank"]) == results["steps"] and min(results["positive_rank"]) >= 1
    kept = encoder.load_sentence_transformer(str(out))
    measured = metrics.measure(
        trainer.encoder_run(kept, benchmark.load(beir, "dev")), benchmark.load(beir, "dev").judgements
    )
    assert measured["ndcg@10"] == pytest.approx(scores[best], abs=1e-6)


def test_patience_is_not_begun_anew_by_a_resumed_run(train_file, tiny_encoder, beir, tmp_path):
    """A run that was interrupted after its last evaluation goes on by a step at most, and keeps the best weights."""
    out = tmp_path / "out"
    argv = flags(
        train_file, tiny_encoder, out, "--max_steps", 40, "--learning_rate", 2e-2, "--bf16", "False",
        "--eval_data", beir, "--eval_strategy", "steps", "--eval_steps", 4, "--early_stopping_patience", 2,
        "--save_total_limit", 20,
    )  # fmt: skip
    run(argv)
    whole, weights = json.loads((out / "results.json").read_text()), (out / "model.safetensors").read_bytes()
    last = whole["steps"]
    assert last < 40
    for kept in (last, last - 4):
        (out / "results.json").unlink()
        for path in out.glob("checkpoint-*"):
            if int(path.name.rpartition("-")[2]) > kept:
                shutil.rmtree(path)
        run(argv)
        again = json.loads((out / "results.json").read_text())
        assert again["resumed_at_step"] == kept and 0 <= again["steps"] - last <= (kept == last)
        assert (out / "model.safetensors").read_bytes() == weights


def test_checkpoints_follow_evaluations_that_follow_the_log():
    """Without --eval_steps transformers evaluates at each logging: the best of these is to be there at the end."""
    told = options.RetrieverTrainingArguments("o", eval_strategy="steps", logging_steps=4)
    assert (told.eval_steps, told.save_steps, told.load_best_model_at_end) == (4, 4, True)


def test_the_start_is_mixed_in(tiny_encoder):
    told = options.RetrieverArguments([""], str(tiny_encoder), query_max_len=48, passage_max_len=32)
    start, trained = train.load_model(told), train.load_model(told)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 1
    train.mix(trained, start, 0.25)
    for one, other in zip(trained.parameters(), start.parameters(), strict=True):
        assert torch.allclose(one, other + 0.75, atol=1e-6)


def test_sources_guide_and_teacher_train_together(training_rows, tiny_encoder, tmp_path):
    for row in training_rows[:16]:
        row |= {"pos_scores": [1.0], "neg_scores": [0.1] * len(row["neg"])}
    first, second = jsonl(tmp_path / "a.jsonl", training_rows[:16]), jsonl(tmp_path / "b.jsonl", training_rows[16:])
    out = tmp_path / "out"
    run(flags(
        first, tiny_encoder, out, "--train_data", first, second, "--data_ratio", 3, 1, "--one_source_a_batch", "True",
        "--no_in_batch_negatives", second, "--guide_model", tiny_encoder, "--distillation_weight", 1, "--max_steps", 4,
    ))  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert results["steps"] == 4 and results["loss_last"] > 0


def test_messages_of_train(train_file, tiny_encoder, tmp_path, capsys):
    argv = flags(train_file, tiny_encoder, tmp_path / "a")
    assert refused(capsys, train.main, [*argv, "--passage_max_len", 512]) == (
        f"error: --query_max_len 48 and --passage_max_len 512: {tiny_encoder} reads at most 128 tokens; lower them"
    )
    assert refused(capsys, train.main, [*argv, "--per_device_train_batch_size", 64]) == (
        "error: 32 rows do not fill one step of 64 on 1 process(es): "
        "lower --per_device_train_batch_size or give more rows"
    )
    name = "finbert2 retriever train: error: "
    for more, message in (
        (["--temperature", 0], "--temperature 0.0 has to be above 0"),
        (["--start_share", 1], "--start_share 1.0: it has to be from 0 to below 1"),
        (["--data_ratio", 1, 2], "--data_ratio has 2 numbers for 1 of --train_data: one each"),
        (["--no_in_batch_negatives", "x"], "--no_in_batch_negatives x: it is not one of --train_data"),
    ):
        assert refused(capsys, train.main, [*argv, *more]) == name + message
    assert refused(capsys, train.main, [*argv, "--eval_data", "x"]) == (
        "error: evaluation during training takes both --eval_data FOLDER and --eval_strategy steps (or epoch): "
        "--eval_data is x, --eval_strategy is no"
    )
    assert refused(capsys, train.main, [*argv, "--distillation_weight", 1]) == (
        "error: --distillation_weight 1.0: no row has 'pos_scores' and 'neg_scores'; "
        "`retriever mine --reranker` writes them"
    )
    assert refused(capsys, train.main, [*flags(train_file, tiny_encoder, tmp_path / "m"), "--matryoshka_dims", 64]) == (
        f"error: --matryoshka_dims 64: the vectors of {tiny_encoder} are 32 long"
    )


def test_only_classic_layouts_are_trained(tiny_encoder):
    from sentence_transformers.sentence_transformer.modules import Dense

    from finbert2.retriever import folder

    model = encoder.load_sentence_transformer(str(tiny_encoder))
    model.append(Dense(32, 8))
    with pytest.raises(UserError) as raised:
        folder.check(model, "x")
    assert str(raised.value) == (
        "x is made of Transformer, Pooling, Normalize, Dense: Transformer, Pooling and Normalize can be trained here; "
        "start from a plain BERT folder or such a model"
    )


def test_data_of_one_row_only(tiny_encoder, tmp_path, capsys):
    path = jsonl(tmp_path / "one.jsonl", [{"query": "甲", "pos": ["一"], "neg": ["二"]}])
    assert refused(capsys, train.main, flags(path, tiny_encoder, tmp_path / "b")) == (
        "error: the data hold 2 different passages, too few for groups of 5 (a positive and 4 negatives): "
        "lower --train_group_size or give more rows"
    )
