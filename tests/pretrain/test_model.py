"""Packed = separate, masked-only = full, RetroMAE = its formula."""

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from finbert2 import attention
from finbert2.attention import Segments
from finbert2.pretrain.evaluate import load_model
from finbert2.pretrain.head import summed_loss
from finbert2.pretrain.masking import IGNORED
from tests.pretrain.conftest import all_states, masked_tokens


def test_packed_rows_equal_separate_documents(tiny_bert, batch):
    """Each segment's hidden states are those of stock BERT on that document alone."""
    packed = load_model(tiny_bert).eval()
    stock = transformers.BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).eval()
    lengths = batch["segments"].lengths.tolist()
    with torch.no_grad():
        for ids, part in zip(
            batch["input_ids"][0].split(lengths), all_states(packed, batch).split(lengths), strict=True
        ):
            assert torch.allclose(stock(ids.unsqueeze(0)).last_hidden_state[0], part, atol=2e-6)


def test_packed_attention_equals_a_block_mask(tiny_bert, batch):
    """transformers' own 4D-mask path is the reference."""
    packed = load_model(tiny_bert).eval()
    stock = transformers.BertModel.from_pretrained(
        tiny_bert, attn_implementation="sdpa", add_pooling_layer=False
    ).eval()
    segments = torch.from_numpy(batch["segments"].numbers())
    mask = (segments.unsqueeze(0) == segments.unsqueeze(1))[None, None]
    with torch.no_grad():
        theirs = stock(batch["input_ids"], position_ids=batch["position_ids"], attention_mask=mask)
        assert torch.allclose(all_states(packed, batch), theirs.last_hidden_state[0], atol=2e-6)


def test_packed_attention_under_bf16_has_an_fp32_gradient():
    """On a CPU the gradient is that of fp32 at the same (bf16) inputs, rounded once; the output stays bf16."""
    torch.manual_seed(0)
    narrow = [torch.randn(1, 2, 50, 16).bfloat16().requires_grad_() for _ in range(3)]
    wide = [tensor.detach().float().requires_grad_() for tensor in narrow]
    segments, output = Segments(np.array([7, 30, 13])), torch.randn(1, 50, 2, 16).bfloat16()
    for inputs, gradient in ((narrow, output), (wide, output.float())):
        with torch.autocast("cpu", torch.bfloat16):
            attended, _ = attention.packed_attention(torch.nn.Module(), *inputs, None, 0.25, segments=segments)
        assert attended.dtype == inputs[0].dtype
        attended.backward(gradient)
    for one, other in zip(narrow, wide, strict=True):
        assert torch.equal(one.grad, other.grad.bfloat16())


def test_the_flash_kernel_is_not_given_what_it_refuses():
    bf16, a100, t4 = torch.bfloat16, (8, 0), (7, 5)
    assert attention.flash_takes(64, bf16, a100) and attention.flash_takes(64, torch.float16, (9, 0))
    assert not attention.flash_takes(64, torch.float16, t4) and not attention.flash_takes(64, torch.float32, a100)
    assert not attention.flash_takes(26, bf16, a100) and not attention.flash_takes(320, bf16, a100)


def test_what_is_hidden_in_one_document_changes_no_other(tiny_bert, batch):
    """Neither another document nor padding is visible: changing its tokens moves nothing outside it."""
    model = load_model(tiny_bert).eval()
    segments = batch["segments"]
    ids = batch["input_ids"].clone()
    inside = torch.from_numpy(segments.numbers()) == 1
    ids[0, inside] = 7
    with torch.no_grad():
        before, after = all_states(model, batch), all_states(model, batch | {"input_ids": ids})
    assert torch.equal(before[~inside], after[~inside])
    assert (before[inside] != after[inside]).any()


def test_the_last_layer_on_some_tokens_equals_that_on_all(tiny_bert, batch):
    """Kept tokens alone have the states that they have among all."""
    model = load_model(tiny_bert).eval()
    with torch.no_grad():
        kept = model.encode(
            batch["input_ids"], batch["position_ids"], batch["segments"], batch["kept_places"], batch["kept_segments"]
        )
        assert torch.allclose(kept, all_states(model, batch)[batch["kept_places"]], atol=2e-6)


def test_masked_only_loss_and_gradient_equal_the_full_ones(tiny_bert, collate):
    """Stock layers, the head on all places and a mean over the masked ones give the same loss and gradients."""
    batch = collate()
    ours = load_model(tiny_bert).eval()
    theirs = load_model(tiny_bert).eval()
    ours(**batch).loss.backward()
    labels = torch.full_like(batch["input_ids"], IGNORED)
    used = batch["labels"] != IGNORED
    labels[0, masked_tokens(batch)[used]] = batch["labels"][used]
    full = cross_entropy(theirs.cls(all_states(theirs, batch)), labels.view(-1))
    full.backward()
    assert ours(**batch).loss.item() == pytest.approx(full.item(), rel=1e-6)
    for (name, one), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_chunks_of_the_head_change_nothing(tiny_bert, monkeypatch):
    """Three predictions at a time give the loss and gradients of all at once, ignored labels or not."""
    from finbert2.pretrain import head

    torch.manual_seed(0)
    states, labels = torch.randn(10, 32), torch.randint(5, 200, (10,))
    labels[[2, 9]] = IGNORED
    found = []
    for chunk in (None, 3):
        model = load_model(tiny_bert)
        asked = states.clone().requires_grad_()
        if chunk:
            monkeypatch.setattr(head, "CHUNK_LOGITS", chunk * model.config.vocab_size)
            loss = summed_loss(model.cls.predictions, asked, labels, None)
        else:
            loss = cross_entropy(model.cls(asked), labels)
        (2 * loss).backward()
        found.append((loss, asked.grad, *(p.grad for p in model.cls.parameters())))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_bf16_autocast_stays_near_fp32(tiny_bert, collate):
    """Under autocast the head works in bf16 as torch's own layers do; the loss is that of fp32 to bf16's precision."""
    batch = collate()
    model = load_model(tiny_bert)
    exact = model(**batch).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(**batch).loss
    rough.backward()
    assert rough.item() == pytest.approx(exact.item(), rel=1e-2)
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def test_loss_is_a_sum_over_the_items_of_the_step(tiny_bert, collate):
    """Two halves divided by the whole's count add up to the whole's loss: accumulation changes nothing."""
    model = load_model(tiny_bert).eval()
    whole = collate()
    count = int((whole["labels"] != IGNORED).sum())
    halves = [model(**collate(part), num_items_in_batch=count).loss.item() for part in ((0, 1), (2, 3))]
    assert sum(halves) == pytest.approx(model(**whole).loss.item(), rel=1e-6)


@pytest.mark.slow
def test_compiled_equals_eager(tiny_bert, collate):
    """`--torch_compile` changes no loss, and a batch of other segments is not compiled anew."""
    model = load_model(tiny_bert).eval()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        for numbers in ((0, 1), (2, 3), (1, 3)):
            batch = collate(numbers)
            assert compiled(**batch).loss.item() == pytest.approx(model(**batch).loss.item(), rel=1e-6)
    frames = torch._dynamo.utils.counters["frames"]
    assert frames["ok"] < 40


@pytest.mark.parametrize("bf16", [False, True])
def test_gradient_checkpointing_changes_neither_loss_nor_gradient(tiny_bert, collate, bf16):
    """What is worked out twice is the layer as it is without it, to the last bit, under autocast too."""
    batch, models = collate(), [load_model(tiny_bert).train() for _ in range(2)]
    for model in models:
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    models[1].gradient_checkpointing_enable()
    for model in models:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
    for (name, one), (_, other) in zip(*(model.named_parameters() for model in models), strict=True):
        assert torch.equal(one.grad, other.grad), name
