"""Loading models by name, with errors that help; sentence vectors of a plain BERT."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from finbert2 import encoder, packing, runtime
from finbert2.errors import UserError


def test_a_missing_hub_model_says_how_to_go_on():
    """The name that was tried, and the local folder as the way out."""
    with pytest.raises(UserError) as error:
        encoder.load(AutoTokenizer.from_pretrained, "nobody/no-such-model")
    message = str(error.value)
    assert message.startswith("the model 'nobody/no-such-model' could not be loaded (")
    assert message.endswith(
        "check the name and the network (HF_ENDPOINT names a mirror, HF_TOKEN a token), or download it elsewhere and "
        f"give the local folder; there is no folder {Path('nobody/no-such-model').absolute()}"
    )


def test_a_hub_name_may_carry_a_revision(tmp_path):
    """owner/name@revision; a local folder with such a name stays a folder."""
    asked = []
    encoder.load(lambda name, **options: asked.append((name, options)), "owner/name@v1.0", num_labels=2)
    encoder.load(lambda name, **options: asked.append((name, options)), "owner/name")
    (tmp_path / "a@b").mkdir()
    (tmp_path / "a@b" / "config.json").write_text("{}", encoding="utf-8")
    encoder.load(lambda name, **options: asked.append((name, options)), str(tmp_path / "a@b"))
    assert asked == [
        ("owner/name", {"num_labels": 2, "revision": "v1.0"}), ("owner/name", {}), (str(tmp_path / "a@b"), {}),
    ]  # fmt: skip


def test_a_folder_without_a_model_says_what_is_in_it(tmp_path):
    """A path is never looked up on the Hub."""
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="is not a model folder \\(no config.json there; found: notes.txt\\)"):
        encoder.load(AutoTokenizer.from_pretrained, str(tmp_path))
    with pytest.raises(UserError, match="found: no such folder"):
        encoder.load(AutoTokenizer.from_pretrained, "./nowhere")


def test_a_plain_bert_is_read_by_its_normalised_cls(tiny_bert, monkeypatch):
    """sentence-transformers itself would take the mean of the tokens."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    texts = ["央行下调存款准备金率。", "公司公告称，净利润2.1亿元，同比增长8.3%。"]
    ours = encoder.SentenceEncoder(tiny_bert).encode(texts)
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        cls = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].numpy() for text in texts]
    expected = np.stack([vector / np.linalg.norm(vector) for vector in cls])
    assert ours.dtype == np.float32
    assert ours == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["owner/plain", "owner/plain@" + "a" * 40])
def test_a_plain_bert_is_read_by_its_cls_from_the_hub_too(tiny_bert, tmp_path, monkeypatch, name):
    """A cache as huggingface_hub lays it out, of a repository without modules.json."""
    repository = tmp_path / "models--owner--plain"
    shutil.copytree(tiny_bert, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    transformer, pooling, normalize = encoder.load_sentence_transformer(name)
    assert pooling.pooling_mode == "cls"
    assert type(normalize).__name__ == "Normalize"


def test_a_model_without_a_tokenizer_is_refused(tiny_bert, tmp_path):
    """transformers would read every character as unknown."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(f"{tiny_bert}/{name}", tmp_path)
    with pytest.raises(UserError) as error:
        encoder.load(AutoTokenizer.from_pretrained, str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path} has no vocabulary: copy tokenizer.json (or vocab.txt) and tokenizer_config.json into it"
    )


def test_a_damaged_file_and_an_unknown_kind_of_model_are_said(tiny_bert, tmp_path):
    """The whole reason stands in the message: what helps is in transformers' last lines."""
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_text("cut off", encoding="utf-8")
    with pytest.raises(UserError) as error:
        encoder.load(AutoModel.from_pretrained, str(tmp_path))
    assert str(error.value).startswith(f"the model '{tmp_path}' has a damaged file (")
    assert str(error.value).endswith("): fetch or save it anew")

    def unknown(name):
        raise ValueError("Couldn't open it from one of:\n  (1) a file\nYou need sentencepiece.")

    with pytest.raises(UserError) as error:
        encoder.load(unknown, str(tmp_path))
    assert str(error.value) == (
        f"the model '{tmp_path}' cannot be opened: Couldn't open it from one of: (1) a file You need sentencepiece."
    )


def test_a_weight_is_cast_to_bf16_once_however_many_batches(tiny_bert, bf16_casts):
    """Of two layers twice; under `torch.inference_mode` autocast would cast it once a batch."""
    reader = encoder.SentenceEncoder(tiny_bert, batch_size=1)
    assert bf16_casts(lambda: reader.encode(["央行下调存款准备金率。", "公司公告称，净利润2.1亿元。"])) == 2


def test_texts_without_padding_have_the_vectors_of_sentence_transformers(tiny_bert, monkeypatch):
    """Whatever the batches, and back in the order of the texts; a model that cannot be packed is read by its peer."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    texts = ["央行", "公司公告称，净利润2.1亿元，同比增长8.3%。" * 3, "", "半导体设备国产化加速", "央行"]
    monkeypatch.setattr(packing, "KINDS", set())
    expected = encoder.SentenceEncoder(tiny_bert).encode(texts)
    monkeypatch.undo()
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    for batch_size in (1, 2, 64):
        assert encoder.SentenceEncoder(tiny_bert, batch_size).encode(texts) == pytest.approx(expected, abs=1e-5)


def test_an_fp16_checkpoint_is_read_beside_bf16_on_a_cpu(tiny_bert, tmp_path, monkeypatch):
    """Autocast there takes bf16 beside fp32 alone: a layer norm in fp16 would raise."""
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    AutoModel.from_pretrained(tiny_bert, dtype=torch.float16).save_pretrained(tmp_path)
    monkeypatch.setattr(runtime, "device", lambda: "cpu")
    monkeypatch.setattr(runtime, "has_bf16", lambda: True)
    texts = ["央行下调存款准备金率。", "公司公告称，净利润2.1亿元。"]
    expected = encoder.SentenceEncoder(tiny_bert).encode(texts)
    assert encoder.SentenceEncoder(str(tmp_path)).encode(texts) == pytest.approx(expected, abs=2e-2)


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 8), st.integers(5, 60))
def test_batches_hold_every_place_within_both_limits(lengths, most, tokens):
    """A text longer than the budget is alone."""
    order = list(range(len(lengths)))[::-1]
    found = list(encoder.batches(order, lengths, most, tokens))
    assert [place for batch in found for place in batch] == order
    for batch in found:
        assert len(batch) == 1 or (len(batch) <= most and sum(lengths[place] for place in batch) <= tokens)


def test_no_text_gives_no_vector(tiny_bert):
    """An empty list is an empty matrix of the right width."""
    assert encoder.SentenceEncoder(tiny_bert).encode([]).shape == (0, 32)


@pytest.fixture
def prompted(tiny_bert, tmp_path):
    """A function that saves a SentenceTransformer by the tiny BERT's mean, and opens it here and by its own library."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    def save(include_prompt=True, **options):
        pooling = Pooling(32, pooling_mode="mean", include_prompt=include_prompt)
        modules = [Transformer(tiny_bert), pooling, Normalize()]
        SentenceTransformer(modules=modules, device="cpu", **options).save(str(tmp_path))
        return encoder.SentenceEncoder(str(tmp_path)), SentenceTransformer(str(tmp_path), device="cpu")

    return save


@pytest.mark.parametrize(
    "options",
    [
        {"prompts": {"query": "查询：", "document": "公告："}},
        {"prompts": {"query": "查询：", "document": "公告："}, "include_prompt": False},
        {"truncate_dim": 8},
    ],
)
def test_prompts_and_widths_are_those_of_the_models_own_library(prompted, monkeypatch, options):
    """A document's prompt, one that is read but not pooled, and vectors cut to their beginning."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    ours, peer = prompted(**options)
    texts = ["央行下调存款准备金率。", "公司公告称，净利润2.1亿元。"]
    for is_query, encode in ((True, peer.encode_query), (False, peer.encode_document)):
        expected = encode(texts, normalize_embeddings=True)
        assert ours.encode(texts, is_query) == pytest.approx(expected, abs=1e-5)


def test_a_berts_decoder_is_read_as_it_looks_back(tiny_bert, tmp_path, monkeypatch):
    """Packed attention looks both ways."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    decoder = AutoModel.from_pretrained(tiny_bert, is_decoder=True).eval()
    decoder.save_pretrained(tmp_path)
    tokenizer, text = AutoTokenizer.from_pretrained(tiny_bert), "央行下调存款准备金率。"
    with torch.no_grad():
        states = decoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    found = encoder.SentenceEncoder(str(tmp_path), pooling="mean").encode([text])[0]
    expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_model_whose_texts_do_not_begin_with_cls_is_refused(tiny_bert, tmp_path):
    """Its first token would be taken for one."""
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    rules = f"{tiny_bert}/tokenizer.json"
    PreTrainedTokenizerFast(tokenizer_file=rules, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has a tokenizer that puts no \\[CLS\\] before a text"):
        encoder.SentenceEncoder(str(tmp_path))
    assert encoder.SentenceEncoder(str(tmp_path), pooling="mean").width == 32
