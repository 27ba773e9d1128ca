import json
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from finbert2 import encoder
from finbert2.errors import UserError
from finbert2.retriever import data, train
from finbert2.retriever.draw import Batches, Groups
from finbert2.retriever.loss import Collator, info_nce, pack

from .conftest import jsonl, refused

TEXTS = ["半导体芯片需求回升", "商业银行利润承压。", "白酒"]


@pytest.fixture
def rows(train_file):
    return data.read_training_rows([train_file])[0]


def flags(train_file, tiny_encoder, out, *more):
    return [
        "--model_name_or_path", tiny_encoder, "--train_data", train_file, "--output_dir", out, "--train_group_size", 5,
        "--per_device_train_batch_size", 4, "--query_max_len", 48, "--passage_max_len", 32, "--disable_tqdm", "True",
        "--save_steps", 4, "--logging_steps", 1, *more,
    ]  # fmt: skip


def run(argv):
    train.main([str(word) for word in argv])


def test_draws_repeat_by_seed_differ_by_epoch_and_hold_no_positive(rows):
    groups = Groups(rows, 5, "指令：", seed=1)
    again = Groups(rows, 5, "指令：", seed=1)
    epochs = [[groups[epoch, n] for n in range(len(rows))] for epoch in (0, 1)]
    assert epochs[0] == [again[0, n] for n in range(len(rows))] != epochs[1]
    assert epochs[0] != [Groups(rows, 5, "指令：", seed=2)[0, n] for n in range(len(rows))]
    for row, group in zip(rows, epochs[0], strict=True):
        assert group.query == "指令：" + row.query
        assert group.passages[0] in row.positives
        assert len(set(group.passages)) == 5
        assert set(group.passages[1:]) <= set(row.negatives)


def test_a_row_with_few_negatives_is_filled_up_without_repeats_or_positives():
    known = [
        data.TrainingRow("甲", ["一"], ["二"]),
        data.TrainingRow("甲", ["三"], []),
        data.TrainingRow("乙", ["四"], ["五"]),
    ]
    groups = Groups(known, 4, "", seed=0)
    assert groups.short_rows() == 3
    for epoch in range(20):
        assert sorted(groups[epoch, 0].passages) == sorted(["一", "二", "四", "五"])
    with pytest.raises(UserError) as raised:
        Groups(known, 5, "", seed=0)
    assert str(raised.value) == (
        "the data hold 5 different passages, too few for groups of 5 (a positive and 4 negatives): "
        "lower --train_group_size or give more rows"
    )


def test_a_prompt_of_the_row_takes_the_instructions_place():
    rows = [data.TrainingRow("甲", ["一"], ["二"], prompt="问：")]
    assert Groups(rows, 2, "指令：", 0)[0, 0].query == "问：甲"


@pytest.mark.parametrize("together", [1, 2])
def test_batches_hold_no_false_negative(rows, together):
    groups = Groups(rows, 5, "", seed=3)
    batches = Batches(groups, 4, together)
    for epoch in range(3):
        groups.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches) == 8
        assert found == list(batches)
        for first in range(0, len(found), together):
            places = [place for batch in found[first : first + together] for place in batch]
            assert len({rows[n].query for _, n in places}) == len(places) == 4 * together
            for epoch_, n in places:
                others = [groups[epoch_, m].passages for _, m in places if m != n]
                assert not set(rows[n].positives) & {text for passages in others for text in passages}


def test_rows_that_cannot_share_a_batch():
    same = [data.TrainingRow("甲", ["一"], ["二", "三"]) for _ in range(4)]
    with pytest.raises(UserError, match="too many rows share queries or passages for batches of 2 without false"):
        list(Batches(Groups(same, 2, "", 0), 2))


@pytest.mark.parametrize("mini_batch_tokens", [0, 50])
def test_the_loss_is_info_nce(rows, tiny_encoder, mini_batch_tokens):
    options = train.Options([""], str(tiny_encoder), query_max_len=48, passage_max_len=32)
    model = train.load_model(options).eval()
    groups = [Groups(rows, 5, "为这个：", 0)[0, n] for n in (0, 5, 10, 15)]
    batch = Collator(model.tokenizer, 48, 32)(groups)
    keys = ("input_ids", "position_ids", "cu_seq_lens_q")
    features = [{key: batch[f"{column}_{key}"] for key in keys} for column in ("query", "positive", "negative")]
    pack(model)
    loss = info_nce(model, 0.01, mini_batch_tokens)(features, None)
    loss.backward()
    found = model[0].auto_model.embeddings.word_embeddings.weight.grad.clone()
    model.zero_grad()
    model[0].auto_model.set_attn_implementation("sdpa")

    def embed(texts):
        tokens = model.tokenizer(texts, padding=True, return_tensors="pt")
        return torch.nn.functional.normalize(model[0].auto_model(**tokens).last_hidden_state[:, 0], dim=-1)

    queries = embed([group.query for group in groups])
    passages = embed([group.passages[n] for n in range(5) for group in groups])  # all positives first
    direct = torch.nn.functional.cross_entropy(queries @ passages.T / 0.01, torch.arange(4))
    direct.backward()
    assert loss.item() == pytest.approx(direct.item(), abs=1e-4)
    expected = model[0].auto_model.embeddings.word_embeddings.weight.grad
    assert (found - expected).norm() / expected.norm() < 1e-4


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
    assert model.prompts == {"query": train.INSTRUCTION, "document": ""}
    assert model.max_seq_length == 48
    vectors = model.encode(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    plain, tokenizer = AutoModel.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        cls = plain(**tokenizer(TEXTS, padding=True, return_tensors="pt")).last_hidden_state[:, 0]
    assert np.allclose(torch.nn.functional.normalize(cls, dim=-1).numpy(), vectors, atol=1e-5)
    with_prompt = model.encode(TEXTS, prompt_name="query")
    assert np.allclose(with_prompt, model.encode([train.INSTRUCTION + text for text in TEXTS]), atol=1e-5)
    assert np.allclose(encoder.SentenceEncoder(str(out)).encode(TEXTS, is_query=True), with_prompt, atol=2e-2)  # bf16


def test_an_interrupted_run_resumes_to_the_same_weights(train_file, tiny_encoder, tmp_path):
    argv = flags(train_file, tiny_encoder, tmp_path / "a", "--max_steps", 12, "--mini_batch_tokens", 50)
    run(argv)
    whole = (tmp_path / "a/model.safetensors").read_bytes()
    for name in ("checkpoint-12", "results.json", "model.safetensors"):
        path = tmp_path / "a" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(argv)
    assert json.loads((tmp_path / "a/results.json").read_text())["resumed_at_step"] == 8
    assert (tmp_path / "a/model.safetensors").read_bytes() == whole
    before = (tmp_path / "a/results.json").stat().st_mtime_ns
    run(argv)  # finished: nothing is done
    assert (tmp_path / "a/results.json").stat().st_mtime_ns == before


def test_messages_of_train(train_file, tiny_encoder, tmp_path, capsys):
    argv = flags(train_file, tiny_encoder, tmp_path / "a")
    assert refused(capsys, train.main, [*argv, "--passage_max_len", 512]) == (
        f"error: --query_max_len 48 and --passage_max_len 512: {tiny_encoder} reads at most 128 tokens; lower them"
    )
    assert refused(capsys, train.main, [*argv, "--per_device_train_batch_size", 64]) == (
        "error: 32 rows do not fill one step of 64 on 1 process(es): "
        "lower --per_device_train_batch_size or give more rows"
    )
    assert refused(capsys, train.main, [*argv, "--temperature", 0]) == (
        "finbert2 retriever train: error: --temperature 0.0 has to be above 0"
    )
    assert refused(capsys, train.main, [*argv, "--eval_strategy", "steps", "--eval_steps", 2]).endswith(
        "there is no evaluation during training; use `retriever evaluate` after it"
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
