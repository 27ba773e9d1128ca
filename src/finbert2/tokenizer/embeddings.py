"""Growing a checkpoint's embeddings to an extended tokenizer: where the rows of new words start."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finbert2.tokenizer.extend import MARKS

if TYPE_CHECKING:
    import scipy.sparse
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Mixture = tuple[np.ndarray, np.ndarray]  # (ids, shares): what a new row is mixed from
WINDOW, WIDTH, MIN_COUNT = 5, 100, 5  # of the space in which FOCUS looks for neighbours
BLOCK = 512


def extend_model(
    model: "PreTrainedModel", base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase",
    init: str = "mean", texts: Sequence[str] = (),
) -> "PreTrainedModel":  # fmt: skip
    """Grow a checkpoint's embeddings in place to the extended tokenizer and return it.

    A new word's row, and its bias in the masked-language-model head, start by `init` as
    - `mean`: the mean of what its characters had (WoBERT; FVT, Gee et al. 2022);
    - `focus`: a mixture of the tokens nearest to it in `texts` (see `focus`), the mean where the texts lack it;
    - `hf`: a draw from one normal distribution for all words, transformers' own way; the bias is zero.
    """
    import torch

    model.resize_token_embeddings(len(extended), mean_resizing=init == "hf")
    if init == "hf":
        return model
    mixtures = means(base, extended)
    if init == "focus":
        mixtures |= focus(base, extended, texts)
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    bias = getattr(head, "bias", None)  # (tokens,), None for a bare encoder
    tables = [embeddings.weight.data] + ([bias.data] if bias is not None else [])
    with torch.no_grad():
        for row, (ids, shares) in mixtures.items():
            for table in tables:
                old = table[torch.from_numpy(ids)]  # (parts, width), or (parts,) of the bias
                table[row] = torch.from_numpy(shares).to(old) @ old
    return model


def means(base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase") -> dict[int, Mixture]:
    """Return for each new id its word's tokens in the base tokenizer, in equal parts; a mark's are its ASCII kin's."""
    ids = range(len(base), len(extended))
    words = [MARKS.get(word, word) for word in extended.convert_ids_to_tokens(list(ids))]
    pieces = base(words, add_special_tokens=False)["input_ids"] if words else []
    return {row: (np.array(p), np.full(len(p), 1 / len(p))) for row, p in zip(ids, pieces, strict=True) if p}


def focus(
    base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase", texts: Sequence[str]
) -> dict[int, Mixture]:
    """Return for each new id the old tokens it is like in `texts`, by shares that are mostly zero.

    FOCUS (Dobler & de Melo 2023, section 3): an auxiliary space is learnt on text cut by the new tokenizer, and a new
    token becomes the sparsemax-weighted mean of the old ones by its similarities there. The space is a truncated SVD
    of positive pointwise mutual information, which word2vec factors implicitly (Levy & Goldberg 2014), instead of
    fastText: no training, no dependency, the same result each time.
    """
    ids = [np.array(row) for row in extended(list(texts), add_special_tokens=False)["input_ids"]] if texts else []
    counts = np.bincount(np.concatenate([*ids, np.zeros(0, np.int64)]).astype(np.int64), minlength=len(extended))
    seen = counts >= MIN_COUNT
    seen[[i for i in extended.all_special_ids if i < len(seen)]] = False
    anchors, new = np.flatnonzero(seen[: len(base)]), len(base) + np.flatnonzero(seen[len(base) :])
    if not len(anchors) or not len(new):
        return {}
    space = auxiliary_space(cooccurrences(ids, len(extended)))
    found: dict[int, Mixture] = {}
    for start in range(0, len(new), BLOCK):
        rows = new[start : start + BLOCK]
        shares = sparsemax(space[rows] @ space[anchors].T)  # (rows, anchors)
        found |= {int(r): (anchors[s > 0], s[s > 0]) for r, s in zip(rows, shares, strict=True)}
    return found


def cooccurrences(ids: Sequence[np.ndarray], size: int) -> "scipy.sparse.csr_matrix":
    """Return how often two tokens stand within `WINDOW` tokens of each other, near ones counting more (size, size)."""
    import scipy.sparse

    line = np.concatenate([np.append(row, -1) for row in ids])  # -1 parts the texts
    total = scipy.sparse.csr_matrix((size, size), dtype=np.float64)
    gap = np.cumsum(line == -1)
    for distance in range(1, WINDOW + 1):
        left, right = line[:-distance], line[distance:]
        together = (gap[:-distance] == gap[distance:]) & (left >= 0) & (right >= 0)
        left, right = left[together], right[together]
        ones = np.full(len(left), 1 / distance)
        total = total + scipy.sparse.csr_matrix((ones, (left, right)), (size, size))
    return (total + total.T).tocsr()


def auxiliary_space(together: "scipy.sparse.csr_matrix") -> np.ndarray:
    """Return unit vectors (tokens, width): SVD of the positive pointwise mutual information of co-occurrence counts."""
    from sklearn.utils.extmath import randomized_svd

    pairs = together.tocoo()
    sums = np.asarray(together.sum(1)).ravel()
    context = sums**0.75 / (sums**0.75).sum()  # smoothed as word2vec's negative samples are
    information = np.log(pairs.data / sums[pairs.row] / context[pairs.col])
    pairs.data = np.maximum(information, 0)
    left, strengths, _ = randomized_svd(pairs.tocsr(), min(WIDTH, together.shape[0] - 1), random_state=0)
    vectors = left * np.sqrt(strengths)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def sparsemax(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities (rows, columns) nearest to the scores (Martins & Astudillo 2016, algorithm 1)."""
    ordered = -np.sort(-scores, axis=1)
    ranks = np.arange(1, scores.shape[1] + 1)
    sums = np.cumsum(ordered, axis=1)
    support = (1 + ranks * ordered > sums).sum(1)
    threshold = (sums[np.arange(len(scores)), support - 1] - 1) / support
    return np.maximum(scores - threshold[:, None], 0)
