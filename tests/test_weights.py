"""Checkpoints that are not whole, or not of one piece with their config or tokenizer: refused by whoever opens them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification, RobertaConfig, RobertaModel

from finbert2 import encoder, runtime, vocabulary, weights
from finbert2.errors import UserError
from finbert2.labeler import fit
from finbert2.labeler.features import Task
from finbert2.labeler.model import Labeler
from finbert2.retriever.reranker import Reranker
from finbert2.tokenizer import train as tokenizer_train

TASK = Task("classification", ["a", "b"], False, [], [])


@pytest.fixture
def folder(tiny_bert, tmp_path):
    """A copy of the tiny BERT."""
    return shutil.copytree(tiny_bert, tmp_path / "model")


def configure(folder, **values):
    """Change values of a folder's config."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refusals(folder):
    """Return what the encoder, a labeler's training and the growing of embeddings say of a checkpoint."""
    said = []
    for use in (encoder.SentenceEncoder, lambda name: fit.load_model(name, TASK)):
        with pytest.raises(UserError) as refusal:
            use(str(folder))
        said.append(str(refusal.value))
    return said


def test_weights_by_other_names_are_not_made_up(folder):
    """`module.` before each, as DataParallel saves them: all of the encoder would be random, without a word."""
    found = load_file(folder / "model.safetensors")
    save_file(
        {f"module.{name}": value for name, value in found.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    for message in refusals(folder):
        assert message.startswith(f"{folder} lacks 37 weights of a bert, such as ")
        assert message.endswith("they would be random; name a folder that save_pretrained wrote whole, with its own "
                                "config.json")  # fmt: skip


def test_a_base_model_that_is_not_whole_is_not_grown(folder, corpus_file, tmp_path, capsys):
    """Only a missing head is said and goes on."""
    configure(folder, num_hidden_layers=3)
    with pytest.raises(SystemExit) as stopped:
        tokenizer_train.main(["--corpus", str(corpus_file), "--base_model", str(folder), "--num_added_tokens", "8",
                              "--unigram_vocab_size", "300", "--output_dir", str(tmp_path / "out")])  # fmt: skip
    assert stopped.value.code == 2
    assert f"{folder} lacks 16 weights of a bert, such as bert.encoder.layer.2." in capsys.readouterr().err
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_weights_of_other_shapes_are_not_made_up(folder):
    """A labeler's head may have other shapes, its encoder not."""
    configure(folder, intermediate_size=96)
    first, second = refusals(folder)
    assert first == f"the weights of {folder} do not fit its config.json: their shapes are others"
    assert second == (
        f"the weights of {folder} do not fit its config.json: bert.encoder.layer.0.intermediate.dense.bias is (64,) in "
        "the file, (96,) by the config"
    )


def test_the_head_of_another_task_and_a_new_pooler_are_welcome(tiny_bert, folder):
    """So are they in any fine-tuning."""
    BertForSequenceClassification.from_pretrained(tiny_bert, num_labels=5).save_pretrained(folder)
    assert fit.load_model(str(folder), TASK).classifier.weight.shape == (2, 32)
    encoder.SentenceEncoder(tiny_bert)


def test_a_classifier_and_a_reranker_have_their_heads(tiny_bert, folder):
    """A plain encoder would score at random."""
    with pytest.raises(UserError, match="lacks 4 weights of a bert, such as bert.pooler.dense.bias"):
        Reranker(tiny_bert)
    BertForSequenceClassification.from_pretrained(tiny_bert, num_labels=2).save_pretrained(folder)
    with pytest.raises(UserError, match=r"classifier.bias is \(2,\) in the file, \(1,\) by the config"):
        Reranker(str(folder))
    found = load_file(folder / "model.safetensors")
    save_file({n: v for n, v in found.items() if "classifier" not in n}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="lacks 2 weights of a bert, such as classifier.bias"):
        Labeler.from_pretrained(str(folder))


def test_a_tokenizer_with_words_that_have_no_embedding_is_refused(folder, tiny_bert):
    """It ended in an IndexError at the first text with such a word. A [MASK] that stands in no text does no harm."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["央行"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="they do not belong together; grow the model"):
        encoder.SentenceEncoder(str(folder))
    own, config = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).config
    own.add_special_tokens({"mask_token": "[NEW]"})
    vocabulary.check_size(own, config, tiny_bert)
    with pytest.raises(UserError):
        vocabulary.check_size(own, config, tiny_bert, masked=True)


def test_texts_are_cut_where_roberta_has_no_more_positions(tiny_bert, folder):
    """It counts from behind the padding's number; its tokenizer need not say so."""
    config = RobertaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(tiny_bert)), hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    opened = encoder.SentenceEncoder(str(folder))
    assert opened.model.max_seq_length == 32
    assert opened.encode(["公司公告称，净利润2.1亿元。" * 9]).shape == (1, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_on_a_cpu(tiny_bert, monkeypatch, dtype):
    """Where a processor has no bf16, a checkpoint in it would be computed in it by emulation."""
    monkeypatch.setattr(runtime, "device", lambda: "cpu")
    assert weights.widened(AutoModel.from_pretrained(tiny_bert, dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("in_zip", [True, False])
@pytest.mark.parametrize("kept", ["all", "half", "none", "pointer"])
def test_a_pytorch_file_is_read_or_said_to_be_damaged(tiny_bert, folder, in_zip, kept):
    """The old format too; cut off, empty, or the pointer that git leaves without LFS."""
    model, path = AutoModel.from_pretrained(tiny_bert), folder / "pytorch_model.bin"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=in_zip)
    (folder / "model.safetensors").unlink()
    if kept == "all":
        assert encoder.SentenceEncoder(str(folder)).width == 32
        return
    whole = path.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    path.write_bytes({"half": whole[: len(whole) // 2], "none": b"", "pointer": pointer}[kept])
    with pytest.raises(UserError, match="has a damaged file .*: fetch or save it anew"):
        encoder.SentenceEncoder(str(folder))


def test_the_fingerprint_changes_with_the_weights(tiny_bert, tmp_path):
    """Two folders with the same weights have the same one."""
    model = AutoModel.from_pretrained(tiny_bert)
    model.save_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    assert weights.fingerprint(str(tmp_path / "a")) == weights.fingerprint(str(tmp_path / "b"))
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5, 5] += 1
    model.save_pretrained(tmp_path / "b")
    assert weights.fingerprint(str(tmp_path / "a")) != weights.fingerprint(str(tmp_path / "b"))
    before = weights.fingerprint(str(tmp_path / "b"))
    (tmp_path / "b" / "2_Dense").mkdir()
    (tmp_path / "b" / "2_Dense" / "model.safetensors").write_text("of a layer behind the pooling", encoding="utf-8")
    assert weights.fingerprint(str(tmp_path / "b")) != before


def test_folders_without_weights_are_told_apart_by_name(tmp_path):
    """Such as of an ONNX file alone: vectors kept of the one are not the other's."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert weights.fingerprint(str(tmp_path / "a")) != weights.fingerprint(str(tmp_path / "b"))


def test_a_hub_name_has_the_fingerprint_of_its_weights(tiny_bert, tmp_path, monkeypatch):
    """The folder's that it was downloaded to; another one once `main` is another commit, not once it was pinned."""
    repository = tmp_path / "models--owner--plain"
    shutil.copytree(tiny_bert, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert weights.fingerprint("owner/plain") == weights.fingerprint(tiny_bert)
    later = repository / "snapshots" / ("b" * 40)
    later.mkdir()
    (later / "pytorch_model.bin").write_text("other weights", encoding="utf-8")
    (repository / "refs" / "main").write_text("b" * 40, encoding="utf-8")
    assert weights.fingerprint("owner/plain") == weights.fingerprint(str(later)) != weights.fingerprint(tiny_bert)
    assert weights.fingerprint("owner/plain@" + "a" * 40) == weights.fingerprint(tiny_bert)
    with pytest.raises(UserError, match="^the model 'owner/none' could not be loaded "):
        weights.fingerprint("owner/none")
