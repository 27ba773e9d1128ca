"""Packed = separate, masked-only = full, RetroMAE = its formula."""

import math

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from finbert2 import attention
from finbert2.pretrain.data import PackedRows, load_windows
from finbert2.pretrain.evaluate import load_model
from finbert2.pretrain.masking import IGNORED, Collator, Masker
from finbert2.pretrain.retromae import RetroMAE, segment_numbers, uniform, visible_sets


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    """The tiny tokenizer."""
    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def batch(tokenizer, corpus_file, tmp_path):
    """Four packed rows of 96 tokens with everything RetroMAE wants."""
    windows = load_windows([str(corpus_file)], "text", tokenizer, 48, tmp_path, "train")
    rows = PackedRows(windows, 96, tokenizer.pad_token_id, seed=0)
    masker = Masker(tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer), 0.2, 0)
    return Collator(masker, for_retromae=True)([rows[(0, number)] for number in range(4)])


def mlm(batch):
    """Return the part of the batch that masked language modelling takes."""
    return {name: batch[name] for name in ("input_ids", "position_ids", "masked_places", "lengths", "labels")}


def retromae(tiny_bert, tokenizer) -> RetroMAE:
    """Return a RetroMAE on the tiny BERT, without dropout."""
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = RetroMAE.from_pretrained(tiny_bert, attn_implementation=attention.register(), **options)
    model.special_ids = tuple(tokenizer.all_special_ids)
    model.start_decoder_from_encoder()
    return model


def test_packed_rows_equal_separate_documents(tiny_bert, batch):
    """Each segment's hidden states are those of stock BERT on that document alone."""
    packed = load_model(tiny_bert).eval()
    stock = transformers.BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).eval()
    with torch.no_grad():
        hidden = packed.bert(batch["input_ids"], position_ids=batch["position_ids"], lengths=batch["lengths"])
        parts = hidden.last_hidden_state[0].split(batch["lengths"])
        for ids, part in zip(batch["input_ids"][0].split(batch["lengths"]), parts, strict=True):
            assert torch.allclose(stock(ids.unsqueeze(0)).last_hidden_state[0], part, atol=2e-6)


def test_packed_attention_equals_a_block_mask(tiny_bert, batch):
    """transformers' own 4D-mask path is the reference."""
    packed = load_model(tiny_bert).eval()
    stock = transformers.BertModel.from_pretrained(
        tiny_bert, attn_implementation="sdpa", add_pooling_layer=False
    ).eval()
    segments, _ = segment_numbers(batch["lengths"], torch.device("cpu"))
    mask = (segments.unsqueeze(0) == segments.unsqueeze(1))[None, None]
    with torch.no_grad():
        ours = packed.bert(batch["input_ids"], position_ids=batch["position_ids"], lengths=batch["lengths"])
        theirs = stock(batch["input_ids"], position_ids=batch["position_ids"], attention_mask=mask)
    assert torch.allclose(ours.last_hidden_state, theirs.last_hidden_state, atol=2e-6)


def test_masked_only_loss_and_gradient_equal_the_full_ones(tiny_bert, batch):
    """The head on all places and a mean over the masked ones give the same loss and gradients."""
    ours = load_model(tiny_bert).eval()
    theirs = load_model(tiny_bert).eval()
    ours(**mlm(batch)).loss.backward()
    hidden = theirs.bert(batch["input_ids"], position_ids=batch["position_ids"], lengths=batch["lengths"])
    labels = torch.full_like(batch["input_ids"], IGNORED)
    used = batch["labels"] != IGNORED
    labels[0, batch["masked_places"][used]] = batch["labels"][used]
    full = cross_entropy(theirs.cls(hidden.last_hidden_state).view(-1, theirs.config.vocab_size), labels.view(-1))
    full.backward()
    assert ours(**mlm(batch)).loss.item() == pytest.approx(full.item(), rel=1e-6)
    for (name, one), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if other.grad is not None:
            assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_loss_is_a_sum_over_the_items_of_the_step(tiny_bert, batch):
    """Two halves divided by the whole's count add up to the whole's loss: accumulation changes nothing."""
    model = load_model(tiny_bert).eval()
    whole = model(**mlm(batch)).loss.item()
    count = int((batch["labels"] != IGNORED).sum())
    cut = len(batch["labels"]) // 2
    halves = [
        model(
            **mlm(batch) | {"masked_places": batch["masked_places"][part], "labels": batch["labels"][part]},
            num_items_in_batch=count,
        ).loss.item()
        for part in (slice(None, cut), slice(cut, None))
    ]
    assert sum(halves) == pytest.approx(whole, rel=1e-6)


def test_visible_sets_follow_equation_7():
    """Specials always, oneself never, other segments never, words whole, and the rest at 1 − ratio."""
    segments = torch.tensor([[0] * 40 + [1] * 24]).expand(64, -1)
    word_ids = torch.cumsum(torch.randint(0, 2, (64, 64), generator=torch.Generator().manual_seed(0)), 1)
    ordinary = torch.ones(64, 64, dtype=torch.bool)
    ordinary[:, [0, 39, 40, 63]] = False
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, 2**62, 64))
    seen = visible_sets(segments, word_ids, ordinary, draws, 0.5)
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    assert not seen[~same].any()
    assert seen[:, 1:40, 0].all()
    assert seen[:, 1:39, 39].all()
    diagonal = torch.diagonal(seen, dim1=1, dim2=2)
    assert not diagonal[ordinary].any()
    assert diagonal[~ordinary].all()
    inner = seen[:, 1:39, 1:39][~torch.eye(38, dtype=torch.bool).expand(64, -1, -1)]
    assert inner.float().mean().item() == pytest.approx(0.5, abs=0.01)
    for row in (0, 7):
        for word in word_ids[row, 1:39].unique():
            columns = [j for j in range(1, 39) if word_ids[row, j] == word and j != 20]
            assert len({bool(seen[row, 20, j]) for j in columns}) <= 1
    assert not torch.equal(seen[:, 5], seen[:, 6])  # each row has a set of its own


def test_uniform_is_uniform():
    """Quarters of the range come up a quarter of the time."""
    draws = torch.arange(16) * 7_777_777_777
    values = uniform(draws, 64, torch.arange(64).expand(16, -1))
    assert values.min() >= 0
    assert values.max() < 1
    assert torch.histc(values, 4, 0, 1).div(values.numel()).sub(0.25).abs().max() < 0.01


def test_retromae_equals_the_paper_written_out(tiny_bert, tokenizer, batch):
    """The loss is that of a token-by-token transcription of §3.3 with the same visible sets."""
    model = retromae(tiny_bert, tokenizer).eval()
    with torch.no_grad():
        ours = model(**batch)
        assert ours.decoder_loss.item() == pytest.approx(decoder_loss_by_hand(model, batch, tokenizer), abs=2e-5)
        encoder = load_model(tiny_bert).eval()(**mlm(batch)).loss
        assert ours.encoder_loss.item() == pytest.approx(encoder.item(), rel=1e-6)
        assert ours.loss.item() == pytest.approx(ours.encoder_loss.item() + ours.decoder_loss.item(), rel=1e-6)


def decoder_loss_by_hand(model: RetroMAE, batch, tokenizer) -> float:
    """Return −mean log p over all real tokens, one query row at a time: q_i, H2, Eq. 7, LN(W_o A + q), LN(FFN + u)."""
    hidden = model.bert(batch["input_ids"], position_ids=batch["position_ids"], lengths=batch["lengths"])
    hidden = hidden.last_hidden_state[0]
    segments, firsts = segment_numbers(batch["lengths"], hidden.device)
    rows, length = batch["target_ids"].shape
    special = torch.isin(batch["target_ids"], torch.tensor(tokenizer.all_special_ids))
    seen = visible_sets(segments.view(rows, length), batch["word_ids"], ~special, batch["draws"], 0.5).view(
        rows, length, length
    )
    table, block = model.bert.embeddings, model.enhanced_decoder
    heads, width = model.config.num_attention_heads, model.config.hidden_size // model.config.num_attention_heads
    attend, total, count = block.attention.self, 0.0, 0
    for row in range(rows):
        base = row * length
        positions = batch["position_ids"][0, base : base + length]
        context = table(input_ids=batch["target_ids"][row : row + 1], position_ids=positions[None])[0]
        context[positions == 0] = hidden[base : base + length][positions == 0]
        for i in range(length):
            if special[row, i]:
                continue
            sentence = hidden[firsts[segments[base + i]]]
            query = table(inputs_embeds=sentence[None, None], position_ids=positions[i][None, None])[0, 0]
            columns = context[seen[row, i]]
            q, k, v = attend.query(query), attend.key(columns), attend.value(columns)
            parts = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                weights = torch.softmax(k[:, part] @ q[part] / math.sqrt(width), 0)
                parts.append(weights @ v[:, part])
            u = block.attention.output.LayerNorm(block.attention.output.dense(torch.cat(parts)) + query)
            z = block.output.LayerNorm(block.output.dense(block.intermediate(u)) + u)
            total -= torch.log_softmax(model.cls(z[None])[0], -1)[batch["target_ids"][row, i]].item()
            count += 1
    return total / count


def test_a_token_has_no_gradient_to_its_own_prediction(tiny_bert, tokenizer, batch):
    """The clean embedding of token i does not move the decoder's output at i; that of [CLS]'s text does."""
    model = retromae(tiny_bert, tokenizer).eval()
    rows, length = batch["target_ids"].shape
    segments, _ = segment_numbers(batch["lengths"], torch.device("cpu"))
    special = torch.isin(batch["target_ids"], torch.tensor(tokenizer.all_special_ids))
    seen = visible_sets(segments.view(rows, length), batch["word_ids"], ~special, batch["draws"], 0.5)
    queries = torch.randn(rows, length, 32)
    contexts = torch.randn(rows, length, 32, requires_grad=True)
    i = int(torch.nonzero(~special[0])[3])
    decoded = model.enhanced_decoder(queries, contexts, seen)[0, i]
    (decoded * torch.randn(32)).sum().backward()  # a plain sum of a LayerNorm's output never changes
    moved = contexts.grad[0].abs().sum(-1) > 0
    assert not moved[i]
    assert torch.equal(moved, seen[0, i])


def test_retromae_without_targets_is_mlm(tiny_bert, tokenizer, batch):
    """Evaluation feeds it like a masked language model."""
    model = retromae(tiny_bert, tokenizer).eval()
    with torch.no_grad():
        assert model(**mlm(batch)).loss.item() == pytest.approx(load_model(tiny_bert).eval()(**mlm(batch)).loss.item())
