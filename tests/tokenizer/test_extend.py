import pytest
import torch

from finbert2.tokenizer.base import train_base
from finbert2.tokenizer.embeddings import extend_model
from finbert2.tokenizer.extend import MARKS, added_words, extend_tokenizer, missing_marks, save_tokenizer

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


