"""The commands: train, resume, export, evaluate, refuse."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

from finbert2.pretrain import build, evaluate, run
from finbert2.pretrain.options import PretrainingArguments, PretrainingTrainingArguments

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


@pytest.mark.parametrize("objective", ["mlm", "retromae"])
def test_accumulation_changes_nothing(tiny_bert, corpus_file, tmp_path, objective):
    """Eight rows at once and eight times one row take the same step."""
    results = []
    for name, size, times in (("once", "8", "1"), ("often", "1", "8")):
        output = tmp_path / name
        run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--objective", objective,
                       "--max_steps", "3", "--per_device_train_batch_size", size,
                       "--gradient_accumulation_steps", times))  # fmt: skip
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
    """`pretrain evaluate` prints and writes the measures that a run of any rows takes of the same checkpoint."""
    output, trained = tmp_path / "evaluation", tmp_path / "run"
    run.main(flags(corpus_file, trained, "--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file),
                   "--max_steps", "1"))  # fmt: skip
    capsys.readouterr()
    evaluate.main(["--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file), "--max_seq_length", "48",
                   "--output_dir", str(output)])  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in printed} == printed
    before = json.loads((trained / "results.json").read_text(encoding="utf-8"))["valid_before"]
    assert before["predictions"] == printed["predictions"]
    assert before["loss_per_token"] == pytest.approx(printed["loss_per_token"], abs=1e-2)
    assert printed["loss_per_token"] == pytest.approx(6.0, abs=1.0)  # ln 400, untrained


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mask_ratio", "1.5"], "--mask_ratio is a share between 0 and 1, not 1.5"),
        (
            ["--hidden_size", "256"],
            "--hidden_size 256 is no multiple of --num_attention_heads 12: give both, heads of 64 are usual",
        ),
        (
            ["--model_name_or_path", "m", "--num_hidden_layers", "4"],
            "--num_hidden_layers is for a model from scratch, m has its own: leave it out, or start anew by "
            "--model_name_or_path '' --tokenizer_name TOKENIZER",
        ),
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


def refused(arguments: list[str], capsys) -> str:
    """Return the message that a run is refused with."""
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_new_rows_without_added_words_are_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """A tokenizer of characters alone has no new rows."""
    from finbert2.tokenizer.base_tokenizer import train_base

    train_base(["甲乙丙丁戊己庚辛" * 3], 200).save_pretrained(tmp_path / "plain")
    message = refused(flags(corpus_file, tmp_path / "out", "--tokenizer_name", str(tmp_path / "plain"), "--hidden_size",
                            "32", "--num_hidden_layers", "1", "--num_attention_heads", "2", "--intermediate_size", "64",
                            "--new_rows_steps", "5"), capsys)  # fmt: skip
    assert "--new_rows_steps trains the embeddings of added words first; this tokenizer has none" in message


def test_wsd_and_evaluation_on_the_way(tiny_bert, corpus_file, tmp_path):
    """HuggingFace's flags work as they are: warmup-stable-decay by 1 − sqrt, held-out loss every few steps."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "8", "--valid_data",
                   str(corpus_file), "--lr_scheduler_type", "warmup_stable_decay", "--lr_scheduler_kwargs",
                   '{"num_decay_steps": 4, "decay_type": "1-sqrt"}', "--eval_strategy", "steps", "--eval_steps", "4",
                   "--peak_tflops", "0.1", "--save_steps", "8"))  # fmt: skip
    history = json.loads((output / "checkpoint-8" / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    rates = [entry["learning_rate"] for entry in history if "loss" in entry]
    assert rates[1:4] == [5e-3] * 3
    assert rates[5] == pytest.approx(5e-3 * (1 - (1 / 4) ** 0.5))
    assert [entry["step"] for entry in history if "eval_loss_per_char" in entry] == [4, 8]
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert 0 < results["mfu"] < 1
    assert 0 <= results["loader_wait"] < 1
    assert "held-out" in (output / "loss.svg").read_text(encoding="utf-8")


def test_the_folder_of_another_run_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """The message says which option differs."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "1"))
    with pytest.raises(SystemExit):
        run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "2"))
    assert "holds another run (--max_steps was 1, is 2)" in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["mlm", "retromae"])
def test_a_step_without_predictions_goes_by(tiny_bert, tmp_path, objective):
    """One short text: no whole word fits the ratio, the decoder draws few targets; no loss is 0 / 0."""
    corpus = tmp_path / "short.jsonl"
    corpus.write_text('{"text": "qwertyui"}\n', encoding="utf-8")
    more = ("--objective", "retromae", "--decoder_target_share", "0.01") if objective == "retromae" else ()
    run.main(flags(corpus, tmp_path / "out", "--model_name_or_path", tiny_bert, "--max_steps", "4", *more))
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["curve"]["loss"][0] == 0.0 if objective == "mlm" else results["loss_first"] > 0


def test_rows_of_unknown_characters_alone_go_by(tiny_bert, tmp_path):
    """The decoder has no target: its loss is 0, and each parameter has a gradient, as several processes want."""
    corpus = tmp_path / "unknown.jsonl"
    corpus.write_text('{"text": "😀 😁 😂"}\n', encoding="utf-8")
    options = PretrainingArguments(
        train_data=[str(corpus)], objective="retromae", model_name_or_path=tiny_bert, max_seq_length=48, row_length=48,
        cls_words_weight=1.0, bag_of_words_weight=1.0,
    )  # fmt: skip
    arguments = PretrainingTrainingArguments(output_dir=str(tmp_path), report_to="none", bf16=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows, _ = build.load_rows(options, tokenizer, tmp_path, 0)
    model, _ = build.build_model(options, tokenizer)
    batch = next(iter(build.build_trainer(model, tokenizer, rows, None, options, arguments).get_train_dataloader()))
    output = model(**batch)
    assert output.decoder_loss == 0.0
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_decoder_in_the_working_folder_is_not_taken_from_scratch(tokenizer_folder, tmp_path, monkeypatch):
    """Only one beside the checkpoint is the checkpoint's."""
    (tmp_path / build.DECODER_FILE).write_bytes(b"of something else")
    monkeypatch.chdir(tmp_path)
    options = PretrainingArguments(
        train_data=["x"], objective="retromae", tokenizer_name=tokenizer_folder, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64,
    )  # fmt: skip
    build.build_model(options, AutoTokenizer.from_pretrained(tokenizer_folder))


def test_ids_beyond_the_number_of_tokens(tiny_bert, corpus_file, tmp_path):
    """A vocab.txt with a line twice has ids up to its number of lines: it is trained on and measured like others."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    names = sorted(set("".join(json.loads(line)["text"] for line in corpus_file.open(encoding="utf-8"))) - {" "})
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", names[0], names[0], *names]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    run.main(flags(corpus_file, tmp_path / "out", "--tokenizer_name", str(folder), "--hidden_size", "32",
                   "--num_hidden_layers", "1", "--num_attention_heads", "2", "--intermediate_size", "64",
                   "--valid_data", str(corpus_file), "--max_steps", "2"))  # fmt: skip
    assert (tmp_path / "out" / "results.json").exists()
