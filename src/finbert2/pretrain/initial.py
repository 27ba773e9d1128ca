"""What a corpus's counts tell an encoder from scratch before its first step.

A small encoder from random weights spends its first million tokens on three things: how frequent each token is, which
tokens stand near which, and that neighbours are what to look at. The first two are counted in seconds; the third can be
written down. docs/pretrain.md holds what each of them gives.
"""

from typing import Any

import numpy as np
import torch
from scipy import sparse

REACH = 5  # tokens to either side that count as near, the nearer the more
SAMPLE, BLOCK = 2**25, 2**20  # tokens that are counted, and those counted at a time
SMOOTHING = 0.75  # power of the contexts' frequencies
UNSEEN = 0.1  # what a token that was not seen counts
LONGEST_PERIOD = 600  # tokens; the shortest is that of a sine, 2 π
MATCH = 8.0  # attention logit of a token and the one that its head looks for


def start_from_counts(model: Any, ids: np.ndarray, special_ids: list[int], seed: int) -> None:
    """Give a BERT with a tied head an output bias, embeddings and first heads by the tokens of its corpus.

    `ids` (tokens,) are its windows one after the other, each between specials; of more than `SAMPLE` some blocks are
    taken. Everything else stays as it is.
    """
    counts, near = count(ids, special_ids, model.config.vocab_size)
    with torch.no_grad():
        bias_by_frequency(model, counts)
        embeddings_by_neighbours(model, near, seed)
        heads_for_neighbours(model)


def count(ids: np.ndarray, special_ids: list[int], size: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Return how often each token stands in a corpus (size,), and how near which others, both ways (size, size)."""
    counts = np.zeros(size)
    near = sparse.csr_matrix((size, size))
    for block in sample(ids):
        special = np.isin(block, special_ids)
        counts += np.bincount(block[~special], minlength=size)
        near += neighbours(block, special, size)
    return counts, near + near.T


def sample(ids: np.ndarray) -> list[np.ndarray]:
    """Return blocks of at most `BLOCK` tokens, `SAMPLE` in all, spread evenly over the corpus."""
    blocks = -(-min(len(ids), SAMPLE) // BLOCK)
    starts = np.linspace(0, len(ids) - BLOCK, blocks).astype(int) if len(ids) > SAMPLE else np.arange(blocks) * BLOCK
    return [np.asarray(ids[start : start + BLOCK]) for start in starts]


def neighbours(ids: np.ndarray, special: np.ndarray, size: int) -> sparse.csr_matrix:
    """Return how often a token stands before another (size, size), by one through the distance, not across specials."""
    found = sparse.csr_matrix((size, size))
    segment = np.cumsum(special)
    for distance in range(1, min(REACH, len(ids) - 1) + 1):
        near = (segment[:-distance] == segment[distance:]) & ~special[:-distance]
        pairs = (ids[:-distance][near].astype(np.int64), ids[distance:][near].astype(np.int64))
        weights = np.full(len(pairs[0]), 1 / distance)
        found += sparse.coo_matrix((weights, pairs), shape=(size, size)).tocsr()
    return found


def bias_by_frequency(model: Any, counts: np.ndarray) -> None:
    """Let the head's bias be the logarithm of each token's share (size,)."""
    model.cls.predictions.bias.copy_(torch.from_numpy(np.log((counts + UNSEEN) / (counts + UNSEEN).sum())))


def embeddings_by_neighbours(model: Any, near: sparse.csr_matrix, seed: int) -> None:
    """Let tokens that have the same neighbours be alike, in the dimensions that positions leave."""
    words, first = model.bert.embeddings.word_embeddings.weight, room(model)
    vectors = ppmi_vectors(near, words.shape[1] - first, seed)
    known = np.flatnonzero(np.abs(vectors).sum(axis=1))
    scale = model.config.initializer_range * np.sqrt(vectors.shape[1])
    words[known, first:] = 0  # a small vocabulary has fewer singular vectors than there are dimensions
    words[known, first : first + vectors.shape[1]] = torch.from_numpy((vectors[known] * scale).astype(np.float32))


def room(model: Any) -> int:
    """Return how many dimensions of the embeddings are kept for positions: a head's width."""
    return int(model.config.hidden_size // model.config.num_attention_heads)


def ppmi_vectors(near: sparse.csr_matrix, width: int, seed: int) -> np.ndarray:
    """Return unit vectors of tokens (size, width or fewer) from symmetric counts (size, size); zeros of unseen ones.

    Singular vectors of the positive pointwise mutual information (Levy, Goldberg & Dagan 2015, §2), with smoothed
    contexts (§3.2), weighted by the square roots of the singular values (§3.3).
    """
    from sklearn.utils.extmath import randomized_svd

    total = np.asarray(near.sum(axis=1)).ravel()
    context = total**SMOOTHING / ((total**SMOOTHING).sum() or 1)
    pairs = near.tocoo()
    values = np.log(pairs.data / (total[pairs.row] * context[pairs.col]))
    positive = values > 0
    information = sparse.csr_matrix((values[positive], (pairs.row[positive], pairs.col[positive])), shape=near.shape)
    left, singular, _ = randomized_svd(information, min(width, near.shape[0] - 1), n_iter=3, random_state=seed)
    vectors = left * np.sqrt(singular)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), 0.0)


def heads_for_neighbours(model: Any) -> None:
    """Keep the first dimensions for positions, as sinusoids, and let each of the first heads look to one side.

    A sinusoid's shift is a rotation (Vaswani et al. 2017, §3.5): keys read the position, queries the position turned by
    −1, 1, −2, 2 …, a head each.
    """
    width, scale = room(model), model.config.initializer_range * 2**0.5
    pairs = width // 2
    frequencies = (2 * np.pi / LONGEST_PERIOD) ** (np.arange(pairs) / max(1, pairs - 1))
    embeddings, layer = model.bert.embeddings, model.bert.encoder.layer[0].attention.self
    embeddings.word_embeddings.weight[:, :width] = 0
    embeddings.token_type_embeddings.weight.zero_()  # the same for all tokens: it would only drown what differs
    positions = embeddings.position_embeddings.weight.zero_()
    angles = torch.arange(len(positions)).unsqueeze(1) * torch.from_numpy(frequencies).float()
    positions[:, 0 : 2 * pairs : 2] = scale * angles.sin()
    positions[:, 1 : 2 * pairs : 2] = scale * angles.cos()
    strength = (MATCH / width**0.5) ** 0.5
    for head in range(model.config.num_attention_heads):
        offset = (head // 2 + 1) * (1 if head % 2 else -1)
        rows = slice(head * width, (head + 1) * width)
        layer.key.weight[rows, :width] += strength * torch.eye(width)
        layer.query.weight[rows, :width] += strength * turned(frequencies * offset, width)


def turned(angles: np.ndarray, width: int) -> torch.Tensor:
    """Return the matrix (width, width) that turns (sin x, cos x) of each pair into (sin (x + a), cos (x + a))."""
    turn = torch.zeros(width, width)
    for pair, angle in enumerate(angles.tolist()):
        one, two = 2 * pair, 2 * pair + 1
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = np.sin(angle), -np.sin(angle)
    return turn
