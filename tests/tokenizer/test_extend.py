import json

import numpy as np
import pytest
import torch

from finbert2 import encoder
from finbert2.tokenizer.base_tokenizer import train_base
from finbert2.tokenizer.embeddings import cooccurrences, extend_model, focus, means, sparsemax
from finbert2.tokenizer.extend import MARKS, added_words, extend_tokenizer, missing_marks

from ..conftest import TEXTS, WORDS

NEW = ["公司公告", "营业收入同比", "汽车渗透"]


def load(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["AutoModelForMaskedLM", "AutoModel"])
def test_a_new_word_starts_as_the_mean_of_its_characters(tiny_bert, kind):
    import transformers

    base = load(tiny_bert)
    model = getattr(transformers, kind).from_pretrained(tiny_bert)
    head = model.get_output_embeddings()
    if head is not None:
        torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(1))
        before_bias = head.bias.detach().clone()
    before = model.get_input_embeddings().weight.detach().clone()
    extended = extend_tokenizer(base, NEW)
    extend_model(model, base, extended)
    after = model.get_input_embeddings().weight
    assert torch.equal(after[: len(base)], before) and len(after) == len(extended) == len(base) + 3
    for row, word in enumerate(NEW, start=len(base)):
        ids = base(word, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(after[row], before[ids].mean(0))
        if head is not None:
            torch.testing.assert_close(model.get_output_embeddings().bias[row], before_bias[ids].mean())
    if head is not None:
        assert torch.equal(model.get_output_embeddings().bias[: len(base)], before_bias)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_extending_leaves_the_base_alone(tiny_bert):
    base = load(tiny_bert)
    extended = extend_tokenizer(base, NEW)
    assert len(extended) == len(base) + 3 and base.tokenize(NEW[0]) == list(NEW[0])


@pytest.mark.parametrize("text", [*TEXTS, "营业收入 净利润\t半导体设备EPS", "喆净利润喆"])
def test_offsets_cut_the_text_exactly(tokenizer_folder, text):
    encoded = load(tokenizer_folder)(text, return_offsets_mapping=True, add_special_tokens=False)
    cut = [text[start:end] for start, end in encoded["offset_mapping"]]
    assert "".join(cut) == "".join(text.split())
    tokens = [token.removeprefix("##") for token in encoded.tokens()]
    assert all(token in (piece.lower(), "[UNK]") for token, piece in zip(tokens, cut, strict=True))


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_the_text_back_up_to_case_and_blanks(tokenizer_folder, text):
    tokenizer = load(tokenizer_folder)
    decoded = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
    assert "".join(decoded.split()) == "".join(text.lower().split())


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("公司公告称，净利润增长 12.5%。", "公司公告称，净利润增长12.5%。"),
        ("“买入”评级……10:30，1,200万元", "“买入”评级……10:30，1,200万元"),
        ("The company said its EPS rose.", "the company said its eps rose."),
        ("2024-12-05", "2024-12-05"),
    ],
)
def test_no_blanks_come_into_chinese_text_and_numbers(text, decoded):
    tokenizer = extend_tokenizer(train_base([text, *TEXTS] * 3, 600), WORDS)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == decoded


def test_marks_that_a_base_lacks(tmp_path):
    from transformers import BertTokenizer

    base = BertTokenizer(vocab={t: n for n, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "公", "—"])})
    assert missing_marks(base) == [mark for mark in MARKS if mark != "—"]
    assert missing_marks(train_base(["公"], 400)) == []
    extended = extend_tokenizer(base, missing_marks(base))
    assert extended.tokenize("“公”—…") == ["“", "公", "”", "—", "…"] and missing_marks(extended) == []


def test_a_saved_tokenizer_is_the_same(tmp_path):
    base = train_base(TEXTS, 400)
    extended = extend_tokenizer(base, WORDS)
    encoder.save_tokenizer(extended, tmp_path)
    again = load(tmp_path)
    for one in TEXTS:
        assert again(one, one[:5]) == extended(one, one[:5]) and set(again(one)) == set(base(one))
    assert again.decode(again(TEXTS[0])["input_ids"]) == extended.decode(extended(TEXTS[0])["input_ids"])
    assert again.model_max_length == 512 and added_words(again) == WORDS and added_words(base) == []


def mlm(folder):
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(folder)
    torch.nn.init.normal_(model.get_output_embeddings().bias, generator=torch.Generator().manual_seed(1))
    return model


def test_a_mark_starts_as_its_ascii_kin():
    from transformers import BertTokenizer

    base = BertTokenizer(vocab={t: n for n, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "'", "公"])})
    found = means(base, extend_tokenizer(base, ["‘", "公公'"]))
    assert {row: (list(ids), list(shares)) for row, (ids, shares) in found.items()} == {
        7: ([5], [1]), 8: ([6, 6, 5], [1 / 3] * 3),
    }  # fmt: skip


def test_focus_mixes_old_tokens_that_stand_alike(tiny_bert):
    base = load(tiny_bert)
    extended = extend_tokenizer(base, ["回购", "无踪"])
    # 回购 stands where 订 stands, among others.
    texts = [f"{a}{word}{b}" for a in "公司股" for b in "计划提升" for word in ("回购", "订") for _ in range(9)]
    found = focus(base, extended, texts)
    assert set(found) == {len(base)}  # 无踪 is not in the texts
    ids, shares = found[len(base)]
    assert shares.sum() == pytest.approx(1) and (shares > 0).all()
    assert base.convert_ids_to_tokens(int(ids[shares.argmax()])) == "订"
    model = extend_model(mlm(tiny_bert), base, extended, "focus", texts)
    rows, bias = model.get_input_embeddings().weight, model.get_output_embeddings().bias
    mix = torch.from_numpy(shares).float()
    torch.testing.assert_close(rows[len(base)], mix @ rows[torch.from_numpy(ids)])
    torch.testing.assert_close(bias[len(base)], mix @ bias[torch.from_numpy(ids)])
    parts = base("无踪", add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(rows[len(base) + 1], rows[parts].mean(0))  # the mean, where the texts lack it


def test_hf_leaves_the_start_to_transformers(tiny_bert):
    base = load(tiny_bert)
    model = extend_model(mlm(tiny_bert), base, extend_tokenizer(base, NEW), "hf")
    assert model.get_input_embeddings().weight.shape[0] == len(base) + 3
    assert not torch.allclose(*model.get_input_embeddings().weight[-2:])


def test_sparsemax_by_hand():
    found = sparsemax(np.array([[1.0, 0.5, -1.0], [3.0, 0.0, 0.0], [0.2, 0.2, 0.2]]))
    np.testing.assert_allclose(found, [[0.75, 0.25, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    scores = np.random.default_rng(0).normal(size=(20, 7))
    np.testing.assert_allclose(sparsemax(scores).sum(1), 1)


def test_cooccurrences_by_hand_and_not_across_texts():
    counts = cooccurrences([np.array([0, 1, 2]), np.array([2])], 4).toarray()
    assert counts[0, 1] == counts[1, 0] == counts[1, 2] == 1 and counts[0, 2] == 0.5 and counts[2, 2] == 0


def test_the_config_of_a_saved_tokenizer_names_the_special_tokens_alone(tmp_path):
    """Thousands of words in it cost half a second a load; they are in tokenizer.json, also after another save."""
    extended = extend_tokenizer(train_base(TEXTS, 400), WORDS)
    for folder in (tmp_path / "one", tmp_path / "two"):
        encoder.save_tokenizer(extended, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        names = [token["content"] for token in config["added_tokens_decoder"].values()]
        assert names == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        extended = load(folder)
        assert added_words(extended) == WORDS and not extended.added_tokens_decoder[len(extended) - 1].normalized


def test_a_bert_tokenizer_keeps_its_words(tmp_path):
    """It is built anew from its vocabulary and its config: published FinBERT2 folders are such."""
    from transformers import BertTokenizer

    base = BertTokenizer(vocab={t: n for n, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "公", "司"])})
    base.add_tokens(["公司"])
    encoder.save_tokenizer(base, tmp_path)
    assert load(tmp_path).tokenize("公司司") == base.tokenize("公司司") != ["公", "司", "司"]
