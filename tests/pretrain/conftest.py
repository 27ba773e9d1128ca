"""Batches of packed rows, and the models that take them."""

import pytest
from transformers import AutoTokenizer

from finbert2 import attention
from finbert2.pretrain.collator import Collator
from finbert2.pretrain.data import load_windows
from finbert2.pretrain.masking import Masker
from finbert2.pretrain.packing import PackedRows, Place
from finbert2.pretrain.retromae import RetroMAE


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    """The tiny tokenizer."""
    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def collate(tokenizer, corpus_file, tmp_path):
    """Returns a function that makes a batch of four packed rows of 96 tokens with a `Collator` of the given options."""
    windows = load_windows([str(corpus_file)], "text", tokenizer, 48, tmp_path, "train")
    rows = PackedRows(windows, 96, tokenizer.pad_token_id, seed=0)
    masker = Masker(tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer), 0)

    def make(numbers=range(4), **options):
        batch = Collator(masker, **options)(rows.__getitems__([Place(0, number, 0.2) for number in numbers]))
        batch.pop("origin")
        return batch

    return make


@pytest.fixture
def batch(collate):
    """Four rows with everything RetroMAE wants."""
    return collate(decoder_targets=1.0)


def mlm(batch):
    """Return the part of the batch that masked language modelling takes."""
    return {name: value for name, value in batch.items() if name not in ("target_ids", "decoder_batch")}


def masked_tokens(batch):
    """Return the places of the masked tokens among all (predictions,)."""
    return batch["kept_places"][batch["masked_places"]]


def retromae(tiny_bert) -> RetroMAE:
    """Return a RetroMAE on the tiny BERT, without dropout."""
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = RetroMAE.from_pretrained(tiny_bert, attn_implementation=attention.register(), **options)
    model.start_decoder_from_encoder()
    return model


def all_states(model, batch):
    """Return the last hidden states of all tokens (tokens, width)."""
    return model.encode(batch["input_ids"], batch["position_ids"], batch["segments"], None, None)
