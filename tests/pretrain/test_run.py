"""The commands: train, resume, export, evaluate, refuse."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, TrainerCallback, pipeline

from finbert2.pretrain import build, evaluate, run

FLAGS = [
    "--max_seq_length", "48", "--row_length", "96", "--per_device_train_batch_size", "2", "--learning_rate", "5e-3",
    "--warmup_steps", "0.1", "--logging_steps", "1", "--report_to", "none", "--bf16", "False", "--disable_tqdm", "True",
]  # fmt: skip


def flags(corpus_file: Path, output: Path, *more: str) -> list[str]:
    """Return a run's flags."""
    return ["--train_data", str(corpus_file), "--output_dir", str(output), *FLAGS, *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return a folder's weights."""
    return load_file(folder / "model.safetensors")


def test_mlm_learns_and_exports_plain_bert(tiny_bert, corpus_file, tmp_path):
    """The loss falls; the folder opens in AutoModel, AutoModelForMaskedLM and fill-mask with BERT's own dropout."""
    output = tmp_path / "mlm"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file),
                   "--max_steps", "40"))  # fmt: skip
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["loss_last"] < results["loss_first"] - 1
    assert results["valid"]["loss_per_char"] < results["valid_before"]["loss_per_char"]
    assert results["valid"]["loss_per_char"] == pytest.approx(
        results["valid"]["loss_per_token"] * results["valid"]["tokens_per_char"]
    )
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForMaskedLM"]
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.1
    _, report = AutoModelForMaskedLM.from_pretrained(output, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert type(AutoModel.from_pretrained(output)) is transformers.BertModel
    assert len(pipeline("fill-mask", str(output))("公司公告称，净利[MASK]增长。")) == 5


def test_retromae_keeps_its_decoder_beside_a_plain_encoder(tiny_bert, corpus_file, tmp_path):
    """The encoder's folder is plain BERT; a second run starts from the saved decoder."""
    first, second = tmp_path / "one", tmp_path / "two"
    common = ("--objective", "retromae", "--max_steps", "6")
    run.main(flags(corpus_file, first, "--model_name_or_path", tiny_bert, *common))
    _, report = AutoModelForMaskedLM.from_pretrained(first, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    results = json.loads((first / "results.json").read_text(encoding="utf-8"))
    assert results["loss_last"] < results["loss_first"]
    run.main(flags(corpus_file, second, "--model_name_or_path", str(first), *common, "--learning_rate", "0"))
    before, after = (load_file(folder / build.DECODER_FILE) for folder in (first, second))
    assert all(torch.equal(before[name], after[name]) for name in before)


class Stop(Exception):
    """Stands for a kill."""


class StopAt(TrainerCallback):
    """Raises after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        """Raise at the step, after its checkpoint of an earlier step is whole."""
        if state.global_step == self.step:
            raise Stop


@pytest.mark.parametrize("objective", ["mlm", "retromae"])
@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_killed_run_resumes_bitwise(tiny_bert, corpus_file, tmp_path, monkeypatch, objective, workers):
    """Killed in the middle of an epoch and started again, a run ends with the very weights of one left alone."""
    more = ("--objective", objective, "--model_name_or_path", tiny_bert, "--max_steps", "14", "--save_steps", "4",
            "--dataloader_num_workers", workers)  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run.main(flags(corpus_file, whole, *more))
    build_trainer = build.build_trainer

    def build_and_stop(*parts):
        trainer = build_trainer(*parts)
        trainer.add_callback(StopAt(6))
        return trainer

    monkeypatch.setattr(build, "build_trainer", build_and_stop)
    with pytest.raises(Stop):
        run.main(flags(corpus_file, killed, *more))
    assert (killed / "checkpoint-4").is_dir()
    monkeypatch.setattr(build, "build_trainer", build_trainer)
    run.main(flags(corpus_file, killed, *more))
    one, other = weights(whole), weights(killed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_accumulation_changes_nothing(tiny_bert, corpus_file, tmp_path):
    """Four rows at once and four times one row take the same step."""
    results = []
    for name, size, times in (("once", "4", "1"), ("often", "1", "4")):
        output = tmp_path / name
        run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "3",
                       "--per_device_train_batch_size", size, "--gradient_accumulation_steps", times))  # fmt: skip
        results.append((weights(output), json.loads((output / "results.json").read_text(encoding="utf-8"))))
    for one, other in zip(results[0][1]["curve"]["loss"], results[1][1]["curve"]["loss"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    worst = max((results[0][0][n] - results[1][0][n]).abs().max().item() for n in results[0][0])
    assert worst < 1e-4


def test_from_scratch_by_the_tokenizer_alone(tokenizer_folder, corpus_file, tmp_path):
    """An empty --model_name_or_path is none; the vocabulary is rounded up to a multiple of 64."""
    output = tmp_path / "scratch"
    run.main(flags(corpus_file, output, "--model_name_or_path", "", "--tokenizer_name", tokenizer_folder,
                   "--hidden_size", "32", "--num_hidden_layers", "1", "--num_attention_heads", "2",
                   "--intermediate_size", "64", "--max_steps", "2"))  # fmt: skip
    assert json.loads((output / "config.json").read_text(encoding="utf-8"))["vocab_size"] % 64 == 0


def test_evaluate_agrees_with_the_run(tiny_bert, corpus_file, tmp_path, capsys):
    """`pretrain evaluate` prints and writes the measures that a run takes of the same checkpoint."""
    output = tmp_path / "evaluation"
    evaluate.main(["--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file), "--max_seq_length", "48",
                   "--output_dir", str(output)])  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in printed} == printed
    assert printed["loss_per_token"] == pytest.approx(6.0, abs=1.0)  # ln 400, untrained


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mask_ratio", "1.5"], "--mask_ratio is a share between 0 and 1, not 1.5"),
        ([], "give --model_name_or_path to go on from a checkpoint, or --tokenizer_name to start anew"),
    ],
)
def test_contradictory_flags_are_refused(corpus_file, tmp_path, capsys, more, message):
    """Exit code 2 and the whole message."""
    start = ["--tokenizer_name", "x"] if more else []
    with pytest.raises(SystemExit) as stopped:
        run.main(flags(corpus_file, tmp_path / "out", *start, *more))
    assert stopped.value.code == 2
    assert f"finbert2 pretrain run: error: {message}\n" in capsys.readouterr().err


def test_a_tokenizer_of_another_model_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """More tokens than embeddings cannot belong together."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.add_tokens([f"词{n}" for n in range(100)])
    tokenizer.save_pretrained(tmp_path / "larger")
    with pytest.raises(SystemExit):
        run.main(flags(corpus_file, tmp_path / "out", "--model_name_or_path", tiny_bert,
                       "--tokenizer_name", str(tmp_path / "larger")))  # fmt: skip
    assert (
        f"the tokenizer has {len(tokenizer)} tokens, the model {tiny_bert} has embeddings for"
        in capsys.readouterr().err
    )


def test_the_folder_of_another_run_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """The message says which option differs."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "1"))
    with pytest.raises(SystemExit):
        run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "2"))
    assert "holds another run (--max_steps was 1, is 2)" in capsys.readouterr().err
