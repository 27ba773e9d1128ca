"""The objective against sentence-transformers' losses, formulas written out, and itself in pieces."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer import losses
from torch.nn.functional import normalize

from finbert2 import packing
from finbert2.retriever import options, train
from finbert2.retriever.batches import Group
from finbert2.retriever.collate import Collator
from finbert2.retriever.loss import Contrastive, Objective, distil, drain, hidden_columns, own_columns, watch

from .conftest import FACTS, TOPICS

GROUPS = [
    Group(
        f"为这个：{topic}{fact}", tuple(f"{TOPICS[(t + step) % 8]}行业{FACTS[(t * step) % 4]}。" for step in range(5))
    )
    for t, (topic, fact) in enumerate(zip(TOPICS[:4], FACTS, strict=True))
]
KEYS = ("input_ids", "position_ids", "cu_seq_lens_q")


@pytest.fixture
def model(tiny_encoder):
    model = (
        train.load_model(options.RetrieverArguments([""], str(tiny_encoder), query_max_len=48, passage_max_len=32))
        .eval()
        .cpu()
    )
    packing.pack(model)
    return model


def features(model, groups=GROUPS):
    batch = Collator(model.tokenizer, 48, 32)(groups)
    columns = ("query", "positive", "negative") if len(groups[0].passages) > 1 else ("query", "positive")
    return [{key: batch[f"{column}_{key}"] for key in KEYS} for column in columns], batch["label"]


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def padded(model, groups=GROUPS):
    """The columns query, positive, negative_1 … of sentence-transformers' own collation, of an unpacked model."""
    model[0].auto_model.set_attn_implementation("sdpa")
    texts = [[group.query for group in groups]] + [
        [g.passages[n] for g in groups] for n in range(len(groups[0].passages))
    ]
    return [model.tokenizer(column, padding=True, return_tensors="pt") for column in texts]


def test_loss_and_gradient_are_sentence_transformers(model):
    loss = Contrastive(model, Objective(0.01))(*features(model))
    found = gradient(model, loss)
    peer = losses.MultipleNegativesRankingLoss(model, scale=100)(padded(model), None)
    assert loss.item() == pytest.approx(peer.item(), abs=1e-4)
    assert relative(found, gradient(model, peer)) < 1e-4


def test_a_batch_that_fits_into_a_chunk_is_read_once(model):
    """GradCache's second pass is for what does not fit; both ways give the same loss."""
    inputs, extra = features(model)
    tokens = sum(one["input_ids"].numel() for one in inputs)
    cached = Contrastive(model, Objective(0.05), tokens - 1)(*features(model))
    reads = []
    model.register_forward_pre_hook(lambda *_: reads.append(1))
    whole = Contrastive(model, Objective(0.05), tokens)(inputs, extra)
    assert len(reads) == 1 and whole.item() == pytest.approx(cached.item(), abs=1e-5)


def test_the_loss_is_flag_embeddings_formula(model):
    """AbsEmbedderModel: scores over all passages, group by group, / τ; the target of row i is passage i · group."""
    inputs, extra = features(model)
    extra["teacher"] = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) * 4
    loss = Contrastive(model, Objective(0.02, distillation=1.0))(inputs, extra)
    model[0].auto_model.set_attn_implementation("sdpa")
    queries = embed(model, [group.query for group in GROUPS])
    passages = embed(model, [text for group in GROUPS for text in group.passages])
    scores = queries @ passages.T / 0.02
    direct = torch.nn.functional.cross_entropy(scores, torch.arange(4) * 5)
    local = torch.stack([scores[row, row * 5 : row * 5 + 5] for row in range(4)])
    direct += -(local.log_softmax(1) * extra["teacher"].softmax(1)).sum(1).mean()  # its `kl_div`
    assert loss.item() == pytest.approx(direct.item(), abs=1e-4)


def embed(model, texts):
    tokens = model.tokenizer(texts, padding=True, return_tensors="pt")
    return normalize(model[0].auto_model(**tokens).last_hidden_state[:, 0], dim=-1)


@pytest.mark.parametrize("tokens", [1, 50, 10_000])
def test_gradcache_gives_the_direct_gradient(model, tokens):
    objective = Objective(0.01, margin=0.1, distillation=0.5, dims=(32, 16))
    inputs, extra = features(model)
    extra["teacher"] = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    direct = Contrastive(model, objective, guide=model)(inputs, extra)
    expected = gradient(model, direct)
    cached = Contrastive(model, objective, tokens, guide=model)(inputs, extra)
    assert cached.item() == pytest.approx(direct.item(), abs=1e-5)
    assert relative(gradient(model, cached), expected) < 1e-5


def test_matryoshka_is_the_mean_of_sentence_transformers(model):
    loss = Contrastive(model, Objective(0.05, dims=(32, 16, 8)))(*features(model))
    peer = losses.MultipleNegativesRankingLoss(model, scale=20)
    peer = losses.MatryoshkaLoss(model, peer, [32, 16, 8])(padded(model), None)
    assert loss.item() == pytest.approx(peer.item() / 3, abs=1e-4)


def test_the_guides_mask_is_gistembeds(model):
    pairs = [Group(group.query, group.passages[:2]) for group in GROUPS]
    loss = Contrastive(model, Objective(0.05, margin=0.05), guide=model)(*features(model, pairs))
    plain = Contrastive(model, Objective(0.05))(*features(model, pairs))
    peer = losses.GISTEmbedLoss(
        model, model, temperature=0.05, margin_strategy="absolute", margin=0.05, contrast_anchors=False,
        contrast_positives=False,
    )  # fmt: skip
    assert loss.item() == pytest.approx(peer(padded(model, pairs), None).item(), abs=1e-4)
    assert loss.item() < plain.item() - 1e-3


def test_columns_of_a_group_among_those_of_two_processes():
    """Four positives, then two negatives a query: the second process's queries are 2 and 3."""
    assert own_columns(2, 4, 2, 2, torch.device("cpu")).tolist() == [[2, 8, 9], [3, 10, 11]]


def test_without_in_batch_negatives_a_query_sees_its_group():
    own = own_columns(2, 2, 1, 0, torch.device("cpu"))
    hidden = hidden_columns(torch.zeros(2, 4), own, torch.tensor([True, False]), None, 0.0)
    assert hidden.tolist() == [[False] * 4, [True, False, True, False]]
    guide = torch.tensor([[0.8, 0.7, 0.1, 0.1], [0.2, 0.5, 0.1, 0.6]])
    masked = hidden_columns(torch.zeros(2, 4), own, torch.tensor([True, True]), guide, 0.15)
    assert masked.tolist() == [[False, True, False, False], [False, False, False, True]]


def test_distillation_by_hand():
    cosines = torch.tensor([[0.9, 0.5, 0.1]], requires_grad=True)
    own, objective = torch.tensor([[0, 1, 2]]), Objective(0.5, teacher_temperature=2.0)
    teacher = torch.tensor([[2.0, 1.0, math.nan]])
    p = np.exp([1.0, 0.5]) / np.exp([1.0, 0.5]).sum()
    q = np.log(np.exp([1.8, 1.0]) / np.exp([1.8, 1.0]).sum())
    loss = distil(cosines, own, teacher, objective)
    assert loss.item() == pytest.approx(-(p * q).sum(), rel=1e-5)
    loss.backward()
    assert cosines.grad.isfinite().all() and cosines.grad[0, 2] == 0
    assert distil(cosines, own, torch.full((1, 3), math.nan), objective).item() == 0


def test_rank_and_margin_of_the_positive():
    own = own_columns(2, 2, 1, 0, torch.device("cpu"))
    cosines = torch.tensor([[0.9, 0.2, 0.5, 0.95], [0.1, 0.8, 0.3, 0.2]])
    seen = [watch(cosines, own, torch.zeros(2, 4, dtype=torch.bool))]
    assert drain(seen) == {"positive_rank": 1.5, "positive_margin": pytest.approx((-0.05 + 0.5) / 2)}
    assert seen == [] and drain(seen) == {}


WORKER = """
import os, sys, torch
from finbert2 import packing
from finbert2.retriever import options, train
from finbert2.retriever.loss import Contrastive, Objective
sys.path.insert(0, {root!r})
from tests.retriever.test_loss import GROUPS, features
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
told = options.RetrieverArguments([""], {folder!r}, query_max_len=48, passage_max_len=32)
model = train.load_model(told).eval().cpu()
packing.pack(model)
wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)  # as Trainer does
found = []
for tokens in (0, 50):
    model.zero_grad()
    value = Contrastive(wrapped, Objective(0.01), tokens)(*features(model, GROUPS[2 * rank : 2 * rank + 2]))
    value.backward()
    found.append((value.detach(), [p.grad for p in model.parameters()]))
torch.save(found, {out!r} + str(rank))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_equal_one(model, tiny_encoder, tmp_path):
    root, out = Path(__file__).parents[2], tmp_path / "rank"
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(root=str(root), folder=str(tiny_encoder), out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29613", script]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    whole = Contrastive(model, Objective(0.01))(*features(model))
    expected = gradient(model, whole)
    reached = [n for n, parameter in enumerate(model.parameters()) if parameter.grad is not None]  # not the pooler
    for one, other in zip(torch.load(f"{out}0"), torch.load(f"{out}1"), strict=True):
        assert (one[0] + other[0]).item() / 2 == pytest.approx(whole.item(), abs=1e-4)
        for grads in (one[1], other[1]):
            assert relative(torch.cat([grads[n].flatten() for n in reached]), expected) < 1e-4
