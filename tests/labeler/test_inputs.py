"""From texts and sentences to inputs: shortening, windows, first tokens."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from finbert2.labeler import data

from ..conftest import TEXTS


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.mark.parametrize(
    ("length", "limit", "policy", "kept"),
    [
        (5, 8, "head", [0, 1, 2, 3, 4]),
        (8, 8, "head_tail", list(range(8))),
        (12, 8, "head", list(range(8))),
        (12, 8, "head_tail", [0, 1, 6, 7, 8, 9, 10, 11]),
        (9, 3, "head_tail", [6, 7, 8]),
    ],
)
def test_shortening(length, limit, policy, kept):
    assert data.shorten(range(length), limit, policy) == kept


@pytest.mark.parametrize(("length", "sizes"), [(0, [2]), (6, [8]), (7, [5, 6]), (13, [6, 6, 7])])
def test_windows_are_of_nearly_equal_length(tokenizer, length, sizes):
    text = "公" * length
    windows, owners = data.encode_windows([text, "司"], tokenizer, 8)
    assert [len(window) for window in windows] == [*sizes, 3] and owners == [0] * len(sizes) + [1]
    body = [i for window in windows[:-1] for i in window[1:-1]]
    assert body == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_text_of_a_million_characters(tokenizer):
    text = "营业收入增长，" * 142_858
    windows, owners = data.encode_windows([text], tokenizer, 128)
    assert len(windows) == len(owners) == data.MAX_WINDOWS and all(len(window) <= 128 for window in windows)


def test_the_paper_keeps_128_tokens_of_the_head_and_382_of_the_tail():
    kept = data.shorten(range(2000), 510, "head_tail")
    assert kept == [*range(127), *range(2000 - 383, 2000)]  # a quarter of 510, rounded down


@pytest.mark.parametrize("text", TEXTS)
def test_encoding_equals_the_tokenizers_own_where_nothing_is_cut(tokenizer, text):
    assert data.encode_texts([text], tokenizer, 128, "head_tail") == [tokenizer(text)["input_ids"]]
    cut = tokenizer(text, truncation=True, max_length=16)["input_ids"]
    assert data.encode_texts([text], tokenizer, 16, "head") == [cut]


def naive_firsts(characters, piece, tokenizer):
    """The token of each character, by encoding the characters one by one."""
    place, firsts = 1, []
    for character in characters:
        ids = tokenizer(character, add_special_tokens=False)["input_ids"]
        firsts.append(place if ids else -1)
        assert piece.ids[place : place + len(ids)] == ids
        place += len(ids)
    return firsts


@pytest.mark.parametrize("length", [1, 15, 16, 500])
def test_no_character_of_a_long_sentence_is_lost(tokenizer, length):
    text = ("中信证券营业收入EPS 增１２.5%喆，\u200b净利润" * 30)[:length]
    pieces = data.encode_characters(list(text), tokenizer, 32)
    assert sum(len(piece.firsts) for piece in pieces) == length and all(len(piece.ids) <= 32 for piece in pieces)
    done = 0
    for piece in pieces:
        part = text[done : done + len(piece.firsts)]
        assert piece.firsts == naive_firsts(part, piece, tokenizer)
        done += len(part)
        assert all((first < 0) is (character in " \u200b") for first, character in zip(piece.firsts, part, strict=True))


def of_bytes():
    """A tokenizer of which every Chinese character makes three tokens, its bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: number for number, name in enumerate(["[CLS]", "[SEP]", *alphabet])}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, cls_token="[CLS]", sep_token="[SEP]")


def test_characters_that_make_many_tokens_are_none_left_out():
    text, tokenizer = list("央行下调A存款准备金率" * 10), of_bytes()
    pieces = data.encode_characters(text, tokenizer, 20)
    assert all(len(piece.ids) <= 20 and piece.ids[-1] == tokenizer.sep_token_id for piece in pieces)
    tokens = [piece.ids[first] for piece in pieces for first in piece.firsts]
    assert tokens == [tokenizer(character)["input_ids"][1] for character in text]
    (piece,) = data.encode_characters(["央"], tokenizer, 4)  # the one character that does not fit by itself
    assert piece.ids == [0, *tokenizer("央")["input_ids"][1:3], 1] and piece.firsts == [1]


def test_a_domain_word_does_not_swallow_an_entitys_beginning(tokenizer):
    word = "营业收入"
    (piece,) = data.encode_characters(list(word), tokenizer, 32)
    assert tokenizer.tokenize(word) == [word] and tokenizer.convert_ids_to_tokens(piece.ids[1:-1]) == list(word)
    assert np.array_equal(piece.firsts, [1, 2, 3, 4])
