"""Checkpoints and tokenizers that do not do: what `evaluate` and `run` refuse, and what they say."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from finbert2.errors import UserError
from finbert2.pretrain import build, checkpoint, evaluate, run
from tests.pretrain.test_run import flags, refused


@pytest.fixture
def without_head(tiny_bert, tmp_path) -> str:
    """The tiny BERT saved as a bare encoder, with its tokenizer."""
    folder = tmp_path / "bare"
    shutil.copytree(tiny_bert, folder)
    transformers.BertModel.from_pretrained(tiny_bert).save_pretrained(folder)
    return str(folder)


def evaluation(folder: str, corpus_file: Path, *more: str) -> list[str]:
    """Return the flags of an evaluation of `folder`."""
    return ["--model_name_or_path", folder, "--valid_data", str(corpus_file), "--max_seq_length", "48",
            "--output_dir", str(corpus_file.parent / "out"), *more]  # fmt: skip


def evaluation_refused(arguments: list[str], capsys) -> str:
    """Return the message that an evaluation is refused with; nothing was tokenised."""
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(arguments)
    assert stopped.value.code == 2
    assert not list(Path(arguments[arguments.index("--output_dir") + 1]).glob("tokens"))
    return capsys.readouterr().err


def test_evaluate_wants_a_head(without_head, corpus_file, capsys):
    """A random head would be measured as if it had been trained."""
    assert evaluation_refused(evaluation(without_head, corpus_file), capsys) == (
        f"error: {without_head} has no masked-language-model head, so it predicts nothing: "
        "name a checkpoint that `pretrain run` or BertForMaskedLM wrote\n"
    )


def test_a_run_says_that_its_head_starts_at_random(without_head, corpus_file, tmp_path, caplog):
    """A bare encoder may be gone on from, with a warning; a decoder of RetroMAE's is new anyway and is no reason."""
    run.main(flags(corpus_file, tmp_path / "out", "--model_name_or_path", without_head, "--max_steps", "1",
                   "--objective", "retromae"))  # fmt: skip
    warning = f"pretrain: {without_head} has no masked-language-model head: a random one is trained from the start"
    assert warning in caplog.messages
    caplog.clear()
    run.main(flags(corpus_file, tmp_path / "two", "--model_name_or_path", str(tmp_path / "out"), "--max_steps", "1",
                   "--objective", "retromae"))  # fmt: skip
    assert not [message for message in caplog.messages if "head" in message]


def test_evaluate_wants_a_bert(tiny_bert, corpus_file, tmp_path, capsys):
    """transformers would load RoBERTa's weights into no place of BERT's."""
    folder = tmp_path / "roberta"
    shutil.copytree(tiny_bert, folder)
    (folder / "config.json").unlink()
    config = transformers.BertConfig.from_pretrained(tiny_bert).to_dict() | {"pad_token_id": 0}
    transformers.RobertaForMaskedLM(transformers.RobertaConfig(**config)).save_pretrained(folder)
    message = f"error: {folder} is a 'roberta' model: a BERT checkpoint was expected\n"
    assert evaluation_refused(evaluation(str(folder), corpus_file), capsys) == message


def test_an_encoder_that_is_not_whole_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """The number of weights and the first of them."""
    folder = tmp_path / "part"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1.output.dense" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert evaluation_refused(evaluation(str(folder), corpus_file), capsys) == (
        f"error: {folder} lacks 2 weights of a BERT encoder, such as bert.encoder.layer.1.output.dense.bias: they "
        "would be random; name a folder that save_pretrained wrote whole\n"
    )


def test_evaluate_wants_positions_for_its_windows(tiny_bert, corpus_file, capsys):
    """The tiny BERT has 128."""
    assert evaluation_refused(evaluation(tiny_bert, corpus_file, "--max_seq_length", "1024"), capsys) == (
        f"error: --max_seq_length 1024 is more than the 128 positions of {tiny_bert}: longer texts make several "
        "windows, so that nothing is lost by a smaller one\n"
    )


def test_evaluate_wants_berts_special_tokens(tiny_bert, corpus_file, tmp_path, capsys):
    """A tokenizer without [MASK] and [PAD]."""
    folder = tmp_path / "special"
    shutil.copytree(tiny_bert, folder)
    rules = str(folder / "tokenizer.json")
    specials = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_file=rules, **specials).save_pretrained(folder)
    assert evaluation_refused(evaluation(str(folder), corpus_file), capsys) == (
        f"error: the tokenizer {folder} has no mask_token, pad_token: a BERT tokenizer was expected\n"
    )


def test_windows_hold_a_token(tiny_bert, corpus_file, capsys):
    """Between [CLS] and [SEP]."""
    message = evaluation_refused(evaluation(tiny_bert, corpus_file, "--max_seq_length", "2"), capsys)
    assert "finbert2 pretrain evaluate: error: --max_seq_length is 2: [CLS], a token and [SEP] are 3\n" in message


def test_ids_are_compared_with_a_checkpoint_on_the_hub(tiny_bert, without_head, tmp_path, monkeypatch):
    """Hub names like folders; a checkpoint without a tokenizer has nothing to compare with."""
    from finbert2.tokenizer.base_tokenizer import train_base

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (Path(without_head) / file).unlink()
    for name, folder in (("fin", tiny_bert), ("bare", without_head)):
        cached = tmp_path / "hub" / f"models--owner--{name}"
        shutil.copytree(folder, cached / "snapshots" / ("a" * 40))
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    other = train_base(["甲乙丙丁戊己庚辛" * 3], 200)
    checkpoint.check_same_ids(checkpoint.load_tokenizer(tiny_bert), "owner/fin")
    checkpoint.check_same_ids(other, "owner/bare")
    with pytest.raises(UserError) as refusal:
        checkpoint.check_same_ids(other, "owner/fin")
    own, ids = checkpoint.load_tokenizer(tiny_bert).get_vocab(), other.get_vocab()
    number, token = min((i, token) for token, i in own.items() if ids.get(token) != i)
    assert str(refusal.value) == (
        f"the tokenizer gives {token!r} the id {ids.get(token)}, owner/fin has its embedding at {number}: "
        "they do not belong together; use the checkpoint's own tokenizer, or one grown from it"
    )


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


def test_a_tokenizer_with_other_ids_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """As many tokens, but in other places: the first that moved is named."""
    from finbert2.tokenizer.base_tokenizer import train_base

    train_base(["甲乙丙丁戊己庚辛" * 3], 200).save_pretrained(tmp_path / "other")
    message = refused(flags(corpus_file, tmp_path / "out", "--model_name_or_path", tiny_bert, "--tokenizer_name",
                            str(tmp_path / "other")), capsys)  # fmt: skip
    assert f"{tiny_bert} has its embedding at " in message
    assert "they do not belong together; use the checkpoint's own tokenizer" in message


def test_windows_longer_than_the_positions_are_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """The message names both lengths."""
    message = refused(flags(corpus_file, tmp_path / "out", "--model_name_or_path", tiny_bert, "--max_seq_length",
                            "256"), capsys)  # fmt: skip
    assert f"--max_seq_length 256 is more than the 128 positions of {tiny_bert}" in message


def test_a_checkpoint_that_is_no_bert_is_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """The kind that was found is named."""
    folder = tmp_path / "roberta"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}), encoding="utf-8")
    message = refused(flags(corpus_file, tmp_path / "out", "--model_name_or_path", str(folder)), capsys)
    assert f"{folder} is a 'roberta' model: a BERT checkpoint was expected" in message


def test_weights_of_other_dimensions_are_refused(tiny_bert, corpus_file, tmp_path, capsys):
    """config.json and weights that do not fit, and the decoder of another model."""
    folder = tmp_path / "wide"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}), encoding="utf-8")
    message = refused(flags(corpus_file, tmp_path / "out", "--model_name_or_path", str(folder)), capsys)
    assert f"the weights of {folder} do not fit its config.json" in message
    folder = tmp_path / "strange_decoder"
    shutil.copytree(tiny_bert, folder)
    save_file({"attention.self.query.weight": torch.zeros(3, 3)}, folder / build.DECODER_FILE)
    message = refused(flags(corpus_file, tmp_path / "out2", "--model_name_or_path", str(folder), "--objective",
                            "retromae"), capsys)  # fmt: skip
    assert f"{folder / build.DECODER_FILE} is the decoder of another model (" in message
