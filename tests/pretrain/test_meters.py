"""Speed, MFU, held-out loss by source."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig

from finbert2.errors import UserError
from finbert2.pretrain import evaluate, meters, run, trainer
from finbert2.pretrain.model import BertForMaskedLM
from finbert2.pretrain.options import PretrainingArguments, PretrainingTrainingArguments, check_together
from finbert2.pretrain.retromae import RetroMAE
from tests.pretrain.test_run import flags, refused, weights

SIZE = {"vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}


def test_flops_by_hand():
    """6 · (N_enc + f · N_head) + 12 · layers · s̄ · d, with the decoder's layer and predictions for RetroMAE."""
    layer = 4 * (8 * 8 + 8) + 2 * 8 + (8 * 16 + 16) + (16 * 8 + 8) + 2 * 8
    head = (8 * 8 + 8 + 2 * 8) + (100 * 8 + 100)
    mlm = BertForMaskedLM(BertConfig(**SIZE))
    expected = 6 * (3 * layer + 0.15 * head) + 12 * 3 * 20 * 8
    assert meters.flops_per_token(mlm, 20.0, 0.15) == pytest.approx(expected)
    retromae = RetroMAE(BertConfig(**SIZE))
    expected = 6 * (4 * layer + (0.3 + 0.9) * head) + 12 * 4 * 20 * 8
    assert meters.flops_per_token(retromae, 20.0, 0.3, 0.9) == pytest.approx(expected)


def test_peaks_are_those_of_the_data_sheets(monkeypatch):
    """Named by a flag, known by the GPU's name, or unknown: then there is no MFU."""
    assert meters.peak_flops(100.0, bf16=False) == 1e14
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, peak in (
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert meters.peak_flops(0, bf16=True) == peak
        assert meters.peak_flops(0, bf16=False) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert meters.peak_flops(0, bf16=True) is None


def test_held_out_loss_by_source(tiny_bert, tmp_path):
    """Sources add up to the whole; a row without one counts in the whole alone."""
    path = tmp_path / "mixed.jsonl"
    rows = [{"text": "央行下调存款准备金率0.5个百分点。", "source": "news"}] * 9
    rows += [{"text": "公司公告称，净利润2.1亿元，同比增长8.3%。", "source": "report"}] * 9 + [
        {"text": "订单饱满。"}
    ] * 9
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    output = tmp_path / "out"
    evaluate.main(["--model_name_or_path", tiny_bert, "--valid_data", str(path), "--max_seq_length", "48",
                   "--output_dir", str(output)])  # fmt: skip
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    sources = results["by_source"]
    assert set(sources) == {"news", "report"}
    assert sum(s["predictions"] for s in sources.values()) < results["predictions"]
    assert all(5 < s["loss_per_token"] < 7 and 0 <= s["masked_accuracy"] <= 1 for s in sources.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"later_mask_ratios": ["0.9"]}, "--later_mask_ratios takes SHARE:RATIO such as 0.9:0.15, not '0.9'"),
        ({"later_mask_ratios": ["0.9:0.1", "0.8:0.05"]}, "'0.8:0.05' is not a later share of the run"),
        ({"mask_token_share": 0.95}, "--mask_token_share and --random_token_share are shares that add up to 1 at most"),
        ({"span_words": 0.5}, "--span_words is a mean of 1 or more words, not 0.5"),
        ({"decoder_target_share": 0.0}, "--decoder_target_share is a share up to 1, not 0.0"),
        ({"average_last": 3}, "--average_last keeps the mean only if its held-out loss is lower: give --valid_data"),
        ({"bag_of_words_weight": 0.1}, "--bag_of_words_weight belongs to --objective retromae"),
        (
            {"objective": "retromae", "new_rows_steps": 5, "frozen_encoder_steps": 9},
            "--new_rows_steps and --frozen_encoder_steps each hold back what the other one trains: give one of them",
        ),
        ({"max_seq_length": 2}, "--max_seq_length is 2: [CLS], a token and [SEP] are 3"),
        ({"row_length": 65537}, "--row_length is 65537: a row holds 65536 tokens at most"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options, message):
    """In the user's words."""
    with pytest.raises(ValueError) as refused:
        PretrainingArguments(train_data=[], model_name_or_path="x", **options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label_smoothing_factor": 0.1},
            "--label_smoothing_factor is not for pretraining: its losses are taken of the true tokens",
        ),
        (
            {"metric_for_best_model": "eval_loss"},
            "--metric_for_best_model is loss: it can be loss_per_token, loss_per_char, pseudo_perplexity, "
            "masked_accuracy",
        ),
    ],
)
def test_training_options_that_pretraining_does_not_have_are_refused(tmp_path, options, message):
    """Before anything is read."""
    with pytest.raises(ValueError) as refused:
        PretrainingTrainingArguments(output_dir=str(tmp_path), report_to="none", **options)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("options", "metric", "greater"),
    [
        ({}, None, None),
        ({"load_best_model_at_end": True}, "loss_per_token", False),
        (
            {"load_best_model_at_end": True, "metric_for_best_model": "eval_masked_accuracy"},
            "eval_masked_accuracy",
            True,
        ),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "loss_per_token", False),
    ],
)
def test_the_best_checkpoint_has_the_lowest_loss(tmp_path, options, metric, greater):
    """transformers would look for a loss that is not measured, and take loss_per_token for a score."""
    arguments = PretrainingTrainingArguments(
        output_dir=str(tmp_path), report_to="none", eval_strategy="steps", eval_steps=1, save_steps=1, **options
    )
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == (metric, greater)


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"eval_strategy": "steps", "eval_steps": 2}, "strategy"), ({"eval_on_start": True}, "on_start")],
)
def test_measures_on_the_way_want_a_held_out_text(tmp_path, options, flag):
    """Transformers would say so after the corpus was tokenised."""
    arguments = PretrainingTrainingArguments(output_dir=str(tmp_path), report_to="none", **options)
    with pytest.raises(UserError) as refused:
        check_together(PretrainingArguments(train_data=[], model_name_or_path="x"), arguments)
    assert str(refused.value) == f"--eval_{flag} measures the model on held-out text: name it by --valid_data"


def test_the_best_checkpoint_is_exported(tiny_bert, corpus_file, tmp_path, monkeypatch):
    """By the held-out loss per token, here said to be lowest in the middle of the run."""
    measure, losses = trainer.evaluate, iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(trainer, "evaluate", lambda *given: measure(*given) | {"loss_per_token": next(losses)})
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "6", "--valid_data",
                   str(corpus_file), "--eval_strategy", "steps", "--eval_steps", "2", "--save_steps", "2",
                   "--load_best_model_at_end", "True"))  # fmt: skip
    exported = weights(output)
    best, last = (load_file(output / f"checkpoint-{step}" / "model.safetensors") for step in (4, 6))
    assert all(torch.equal(value, best[name]) for name, value in exported.items())
    assert not all(torch.equal(value, last[name]) for name, value in exported.items())


def test_measures_on_the_way_without_a_text_are_refused_at_once(tiny_bert, corpus_file, tmp_path, capsys):
    """Before the folder is claimed."""
    message = refused(flags(corpus_file, tmp_path / "out", "--model_name_or_path", tiny_bert, "--eval_strategy",
                            "steps"), capsys)  # fmt: skip
    assert message == "error: --eval_strategy measures the model on held-out text: name it by --valid_data\n"
    assert not (tmp_path / "out").exists()


def test_ratios_are_a_schedule():
    """The first at 0, then as they are given."""
    options = PretrainingArguments(
        train_data=[], model_name_or_path="x", mask_ratio=0.3, later_mask_ratios=["0.7:0.15", "0.9:0.05"]
    )
    assert options.ratios() == ((0.0, 0.3), (0.7, 0.15), (0.9, 0.05))
