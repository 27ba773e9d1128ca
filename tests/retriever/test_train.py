import json
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from finbert2 import encoder
from finbert2.errors import UserError
from finbert2.retriever import benchmark, data, metrics, options, train, trainer
from finbert2.retriever.batches import Batches, Groups

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
            assert len({rows[n].query for _, n, _ in places}) == len(places) == 4 * together
            for epoch_, n, _ in places:
                others = [groups[epoch_, m].passages for _, m, _ in places if m != n]
                assert not set(rows[n].positives) & {text for passages in others for text in passages}


def sources(n_first, n_second, **options):
    def rows(name, number, source, **more):
        return [
            data.TrainingRow(f"{name}{n}", [f"{name}正{n}"], [f"{name}负{n}"], source=source, **more)
            for n in range(number)
        ]

    return Groups(rows("甲", n_first, 0) + rows("乙", n_second, 1, **options), 2, "", seed=0)


def test_sources_in_ratio_repeat_rows_with_new_draws():
    batches = Batches(sources(12, 4), 4, ratio=[1, 3])
    assert len(list(batches)) == len(batches) == 4
    found = batches.order([0, 1], 0)
    assert len(found) == 16 == len(set(found))
    assert sum(place.row < 12 for place in found) == 4
    assert sorted(place.copy for place in found if place.row >= 12) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("together", [1, 2])
def test_one_source_a_step(together):
    batches = Batches(sources(17, 9), 2, together, one_source=True)
    found = list(batches)
    assert len(found) == len(batches) == (16 + 8) // 2
    for first in range(0, len(found), together):
        assert len({place.row < 17 for batch in found[first : first + together] for place in batch}) == 1
    with pytest.raises(UserError, match="^the rows of a source do not fill one step of 10 on 1 process"):
        Batches(sources(17, 9), 10, one_source=True)


def test_rows_without_in_batch_negatives_ask_nothing_of_the_others():
    same = [data.TrainingRow(f"{n}", ["正"], ["负"], in_batch=False) for n in range(4)]
    assert len(list(Batches(Groups(same, 2, "", 0), 4))) == 1
    seeing = [data.TrainingRow("甲", ["正"], ["他"]), *same[:1], data.TrainingRow("丙", ["另"], ["外"])]
    for batch in Batches(Groups(seeing, 2, "", 0), 2):
        assert {place.row for place in batch} != {0, 1}


def test_a_teachers_scores_follow_the_draw():
    row = data.TrainingRow("甲", ["一"], ["二", "三"], pos_scores=[9.0], neg_scores=[1.0, 2.0])
    other = data.TrainingRow("乙", ["四"], ["五"])
    group = Groups([row, other], 4, "", 0)[0, 0]
    known = {"一": 9.0, "二": 1.0, "三": 2.0}
    assert [known.get(text) for text in group.passages[:3]] == list(group.scores[:3])
    assert group.scores[3] != group.scores[3]  # NaN: another row's passage
    assert Groups([row, other], 2, "", 0)[0, 1].scores == ()


def test_rows_that_cannot_share_a_batch():
    same = [data.TrainingRow("甲", ["一"], ["二", "三"]) for _ in range(4)]
    with pytest.raises(UserError, match="too many rows share queries or passages for batches of 2 without false"):
        list(Batches(Groups(same, 2, "", 0), 2))


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
    argv = flags(train_file, tiny_encoder, tmp_path / "a", "--max_steps", 12, "--mini_batch_tokens", 50)
    run(argv)
    whole = (tmp_path / "a/model.safetensors").read_bytes()
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
    assert results["steps"] == 4 * len(scores) and (len(scores) == best + 3 or results["steps"] == 40)
    assert len(results["positive_rank"]) == results["steps"] and min(results["positive_rank"]) >= 1
    kept = encoder.load_sentence_transformer(str(out))
    measured = metrics.measure(
        trainer.encoder_run(kept, benchmark.load(beir, "dev")), benchmark.load(beir, "dev").judgements
    )
    assert measured["ndcg@10"] == pytest.approx(scores[best], abs=1e-6)


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
