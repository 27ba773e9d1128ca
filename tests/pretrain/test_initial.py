"""What a corpus's counts give an encoder before its first step."""

import json

import numpy as np
import pytest
import torch
from scipy import sparse
from transformers import BertConfig, BertForMaskedLM

from finbert2.pretrain import initial, run


def bert(width: int = 64) -> BertForMaskedLM:
    """Return a BERT of two layers with four heads and 40 tokens."""
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(
        vocab_size=40, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64,
    ))  # fmt: skip


def test_neighbours_count_by_distance_and_not_across_specials(monkeypatch):
    """Worked by hand: two windows, a reach of two; 0 is the special."""
    monkeypatch.setattr(initial, "REACH", 2)
    ids = np.array([0, 1, 2, 1, 0, 0, 2, 3, 0], dtype=np.uint16)
    found = initial.neighbours(ids, ids == 0, 4).toarray()
    expected = np.zeros((4, 4))
    expected[1, 2] = expected[2, 1] = expected[2, 3] = 1
    expected[1, 1] = 0.5
    np.testing.assert_array_equal(found, expected)


def test_counts_are_both_ways_and_without_specials():
    """As many as there are, and what stands before is counted as what stands behind."""
    counts, near = initial.count(np.array([0, 1, 2, 2, 0]), [0], 4)
    assert counts.tolist() == [0, 1, 2, 0]
    assert near[1, 2] == near[2, 1] == 1.5
    assert near[2, 2] == 2


def test_of_a_large_corpus_blocks_are_counted(monkeypatch):
    """So many tokens in all, from its first to its last; of a small one everything, once."""
    monkeypatch.setattr(initial, "BLOCK", 10)
    monkeypatch.setattr(initial, "SAMPLE", 40)
    blocks = initial.sample(np.arange(1000))
    assert [len(block) for block in blocks] == [10] * 4
    assert (blocks[0][0], blocks[-1][-1]) == (0, 999)
    assert np.concatenate(initial.sample(np.arange(35))).tolist() == list(range(35))


def test_vectors_are_those_of_the_dense_matrix():
    """Beside PPMI and numpy's SVD: the same angles between tokens, whatever the signs; an unseen token has none."""
    near = np.random.default_rng(0).integers(0, 9, (12, 12)).astype(float)
    near += near.T
    near[5] = near[:, 5] = 0
    found = initial.ppmi_vectors(sparse.csr_matrix(near), 4, seed=0)
    total = near.sum(axis=1)
    context = total**0.75 / (total**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        left, singular, _ = np.linalg.svd(np.nan_to_num(np.maximum(np.log(near / np.outer(total, context)), 0)))
    dense = left[:, :4] * np.sqrt(singular[:4])
    seen = np.arange(12) != 5
    dense = dense[seen] / np.linalg.norm(dense[seen], axis=1, keepdims=True)
    np.testing.assert_allclose(found[seen] @ found[seen].T, dense @ dense.T, atol=1e-6)
    assert not found[5].any()


def test_tokens_with_the_same_neighbours_start_alike():
    """1 and 2 stand between the same two, 3 elsewhere; the scale is that of random embeddings."""
    ids = np.array([0, 8, 1, 9, 0, 8, 2, 9, 0, 6, 3, 7, 0, 5, 4, 0] * 5)
    model = bert()
    initial.start_from_counts(model, ids, [0], seed=0)
    words = model.bert.embeddings.word_embeddings.weight.detach()
    assert torch.cosine_similarity(words[1], words[2], dim=0) > 0.99
    assert torch.cosine_similarity(words[1], words[3], dim=0) < 0.5
    shared = model.cls.predictions.bias.detach().softmax(0)
    assert shared[8] / shared[1] == pytest.approx(10.1 / 5.1, rel=1e-4)
    assert words[:10, 16:].pow(2).mean().sqrt().item() == pytest.approx(0.02, rel=0.7)


def test_first_heads_look_to_one_side():
    """Head by head one token before, one behind, two before, two behind, whatever the tokens are."""
    model = bert(256).eval()
    with torch.no_grad():
        initial.heads_for_neighbours(model)
        hidden = model.bert.embeddings(torch.randint(1, 40, (1, 60)))
        layer = model.bert.encoder.layer[0].attention.self
        query, key = (part(hidden).view(60, 4, 64).transpose(0, 1) for part in (layer.query, layer.key))
        weights = (query @ key.transpose(1, 2) / 8).softmax(-1)
    for head, offset in enumerate((-1, 1, -2, 2)):
        by_distance = {distance: weights[head].diagonal(distance).mean().item() for distance in range(-8, 9)}
        assert max(by_distance, key=lambda distance: by_distance[distance]) == offset
        assert by_distance[offset] > 0.25 > 10 * by_distance[-4 * offset // abs(offset)]


def test_a_run_starts_from_its_corpus(tokenizer_folder, corpus_file, tmp_path):
    """The held-out loss is lower before the first step and after the last; a second run gives the same weights."""
    found = {}
    for name in ("True", "False", "again"):
        output = tmp_path / name
        run.main([
            "--train_data", str(corpus_file), "--valid_data", str(corpus_file), "--output_dir", str(output),
            "--tokenizer_name", tokenizer_folder, "--hidden_size", "32", "--num_hidden_layers", "2",
            "--num_attention_heads", "2", "--intermediate_size", "64", "--max_seq_length", "48", "--row_length", "96",
            "--max_steps", "5", "--per_device_train_batch_size", "2", "--learning_rate", "1e-3", "--report_to", "none",
            "--bf16", "False", "--disable_tqdm", "True", "--start_from_counts", name.replace("again", "True"),
        ])  # fmt: skip
        found[name] = json.loads((output / "results.json").read_text(encoding="utf-8"))
    for part in ("valid_before", "valid"):
        assert found["True"][part]["loss_per_char"] < found["False"][part]["loss_per_char"] - 0.3
        assert found["True"][part] == found["again"][part]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--model_name_or_path", "m"],
            "--start_from_counts is for a model from scratch, m has its own: leave it out, or start anew by "
            "--model_name_or_path '' --tokenizer_name TOKENIZER",
        ),
        (
            ["--tokenizer_name", "t", "--num_attention_heads", "1"],
            "--start_from_counts keeps a head's width for positions: --num_attention_heads 2 at least",
        ),
    ],
)
def test_where_there_is_no_start_to_give(tmp_path, capsys, more, message):
    """Exit code 2 and the whole message."""
    with pytest.raises(SystemExit) as stopped:
        run.main(["--train_data", "x", "--output_dir", str(tmp_path / "out"), "--start_from_counts", "True", *more])
    assert stopped.value.code == 2
    assert f"finbert2 pretrain run: error: {message}\n" in capsys.readouterr().err
