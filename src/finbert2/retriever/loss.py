"""InfoNCE, its masks, distillation and Matryoshka, through sentence-transformers' GradCache."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.losses import CachedLossMixin
from sentence_transformers.util import all_gather_with_grad, get_rank
from torch.nn.functional import cross_entropy, normalize

from finbert2 import packing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, torch.Tensor]
Labels = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """The numbers of the objective.

    `margin`: with a guide, passages that it scores above the positive's score less this leave the softmax (GISTEmbed,
    Solatorio 2024). `distillation`: weight of the cross-entropy from the teacher's softmax over the group, its scores
    divided by `teacher_temperature`, added to InfoNCE as FlagEmbedding adds it. `dims`: lengths of the vectors'
    beginnings over which the loss is averaged (Kusupati et al. 2022); empty: whole vectors.
    """

    temperature: float
    margin: float = 0.0
    distillation: float = 0.0
    teacher_temperature: float = 1.0
    dims: tuple[int, ...] = ()


def cosine(queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
    """Return cosines (queries, passages) in fp32: at temperature 0.01 the rounding of bf16 would be worth 0.4."""
    with torch.autocast(queries.device.type, enabled=False):
        return normalize(queries.float(), dim=-1) @ normalize(passages.float(), dim=-1).T


def own_columns(n_queries: int, n_all: int, n_negatives: int, offset: int, device: torch.device) -> torch.Tensor:
    """Return the columns (queries, 1 + negatives) of each query's group among all passages, the positive first.

    The passages are the `n_all` positives of all processes, then `n_negatives` a query in the queries' order.
    """
    rows = torch.arange(offset, offset + n_queries, device=device)
    negatives = n_all + rows[:, None] * n_negatives + torch.arange(n_negatives, device=device)
    return torch.cat([rows[:, None], negatives], dim=1)


def contrast(cosines: torch.Tensor, own: torch.Tensor, hidden: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return InfoNCE, the mean of -log exp(cos(q, p⁺) / τ) / Σ_p exp(cos(q, p) / τ) over the passages not `hidden`.

    `cosines` and `hidden` are (queries, passages); `own` (queries, group) are the columns of the groups.
    """
    logits = (cosines / temperature).masked_fill(hidden, float("-inf"))
    return cross_entropy(logits, own[:, 0])


def distil(cosines: torch.Tensor, own: torch.Tensor, teacher: torch.Tensor, objective: Objective) -> torch.Tensor:
    """Return the cross-entropy of each group's softmax from the teacher's, the mean over rows with two scores or more.

    `teacher` is (queries, group), NaN where there is no score. FlagEmbedding's `kl_div` is this.
    """
    known = ~teacher.isnan()
    rows = known.sum(dim=1) > 1
    if not rows.any():
        return cosines.sum() * 0.0
    known, teacher = known[rows], teacher[rows]
    student = cosines.gather(1, own)[rows] / objective.temperature
    target = (teacher / objective.teacher_temperature).masked_fill(~known, float("-inf")).softmax(dim=1)
    logs = student.masked_fill(~known, float("-inf")).log_softmax(dim=1)
    return -(target * logs.masked_fill(~known, 0.0)).sum(dim=1).mean()


def hidden_columns(
    cosines: torch.Tensor, own: torch.Tensor, in_batch: torch.Tensor, guide: torch.Tensor | None, margin: float
) -> torch.Tensor:
    """Return which passages (queries, passages) a query does not see.

    Those of other rows where `in_batch` (queries,) is false, and false negatives by the guide's cosines.
    """
    group = torch.zeros_like(cosines, dtype=torch.bool).scatter_(1, own, torch.ones_like(own, dtype=torch.bool))
    hidden = ~(in_batch[:, None] | group)
    if guide is not None:
        false = guide > guide.gather(1, own[:, :1]) - margin
        hidden = hidden | false.scatter(1, own[:, :1], torch.zeros_like(own[:, :1], dtype=torch.bool))
    return hidden


def watch(cosines: torch.Tensor, own: torch.Tensor, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean rank of the positive, from 1, and its mean cosine less that of the best passage beside it."""
    with torch.no_grad():
        positive = cosines.gather(1, own[:, :1])
        others = cosines.masked_fill(hidden, float("-inf")).scatter(1, own[:, :1], float("-inf"))
        best = others.max(dim=1, keepdim=True).values
        margin = (positive - best)[best.isfinite()]
        return {
            "positive_rank": 1.0 + (others > positive).sum(dim=1).float().mean(),
            "positive_margin": margin.mean() if len(margin) else torch.zeros((), device=cosines.device),
        }


class Contrastive(CachedLossMixin, torch.nn.Module):
    """The objective over the columns query, positive, negatives; passages come from all processes, with gradient.

    With `mini_batch_tokens` other than 0 by GradCache (Gao et al. 2021): the same gradient for a second forward pass,
    in the memory of that many tokens. A batch that has no more is read in one pass, but for several processes, which
    have to go the same way. `seen` collects what `watch` found since it was last emptied.
    """

    mini_batch_size = 2**31  # never the limit: chunks are told by tokens

    def __init__(
        self,
        model: "SentenceTransformer",
        objective: Objective,
        mini_batch_tokens: int = 0,
        guide: "SentenceTransformer | None" = None,
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.uses_gradient_cache = bool(mini_batch_tokens)
        self.mini_batch_num_tokens = mini_batch_tokens or None
        self.guide = [Guide(guide, mini_batch_tokens)] if guide is not None else []  # a list: not saved, not trained
        self.seen: list[dict[str, torch.Tensor]] = []

    def forward(self, sentence_features: Iterable[Features], labels: Labels | None = None) -> torch.Tensor:
        """Return the loss of one batch; `labels` are the extras of `Collator`."""
        features, labels = list(sentence_features), dict(labels or {})
        if self.guide:
            labels["guide"] = self.guide[0].cosines(features)
        if self.uses_gradient_cache and (is_distributed() or self.exceeds_chunk(features)):
            return self.forward_cached(features, labels)  # type: ignore[arg-type]
        output = self.model(packing.joined(features))  # one pass: DDP counts the gradients of one
        texts = [len(one["cu_seq_lens_q"]) - 1 for one in features]
        return self.objective_of(output["sentence_embedding"].split(texts), labels)

    def exceeds_chunk(self, features: Sequence[Features]) -> bool:
        """Tell whether a batch has more tokens than may be read at a time."""
        return sum(one["input_ids"].numel() for one in features) > (self.mini_batch_num_tokens or 0)

    def calculate_loss(  # type: ignore[override]
        self, reps: list[list[torch.Tensor]], labels: Labels, *, with_backward: bool = False
    ) -> torch.Tensor:
        """Return the loss from GradCache's chunks of vectors."""
        loss = self.objective_of([torch.cat(chunks) for chunks in reps], labels)
        if with_backward:
            loss.backward()
            return loss.detach()
        return loss

    def objective_of(self, columns: Sequence[torch.Tensor], labels: Labels) -> torch.Tensor:
        """Return the objective from the vectors of the columns, each (texts, width)."""
        queries, passages, own = gather(columns)
        dims = self.objective.dims or (queries.shape[1],)
        losses = [self.at(queries[:, :dim], passages[:, :dim], own, labels, watched=dim == max(dims)) for dim in dims]
        return torch.stack(losses).mean()

    def at(
        self, queries: torch.Tensor, passages: torch.Tensor, own: torch.Tensor, labels: Labels, watched: bool
    ) -> torch.Tensor:
        """Return the loss of vectors of one length."""
        cosines = cosine(queries, passages)  # (queries, passages)
        in_batch = labels.get("in_batch", torch.ones(len(queries), dtype=torch.bool, device=queries.device))
        hidden = hidden_columns(cosines, own, in_batch, labels.get("guide"), self.objective.margin)
        if watched:
            self.seen.append(watch(cosines, own, hidden))
        loss = contrast(cosines, own, hidden, self.objective.temperature)
        if self.objective.distillation and "teacher" in labels:
            loss = loss + self.objective.distillation * distil(cosines, own, labels["teacher"], self.objective)
        return loss


class Guide(CachedLossMixin):
    """A second encoder that only judges which passages are false negatives."""

    mini_batch_size = 2**31

    def __init__(self, model: "SentenceTransformer", mini_batch_tokens: int) -> None:
        self.model = model.eval()
        self.mini_batch_num_tokens = mini_batch_tokens or None

    def cosines(self, features: Sequence[Features]) -> torch.Tensor:
        """Return the guide's cosines (queries, passages of all processes)."""
        columns = [
            torch.cat([vectors for vectors, _ in self.embed_minibatch_iter(feature, False, False)])
            for feature in features
        ]
        with torch.no_grad():
            queries, passages, _ = gather(columns)
            return cosine(queries, passages)


def gather(columns: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return this process's queries, the passages of all processes, and the columns of its own groups among them."""
    queries, n_queries = columns[0], len(columns[0])
    parts = list(columns[1:])
    n_negatives = len(parts[1]) // n_queries if len(parts) > 1 else 0
    if is_distributed():
        parts = [all_gather_with_grad(part) for part in parts]
    offset = get_rank() * n_queries
    own = own_columns(n_queries, len(parts[0]), n_negatives, offset, queries.device)
    return queries, torch.cat(parts), own


def is_distributed() -> bool:
    """Tell whether there are other processes to take passages from."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def drain(seen: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Return the means of what was watched, and empty the list."""
    found: dict[str, Any] = {
        name: round(float(torch.stack([one[name] for one in seen]).mean()), 4) for name in (seen[0] if seen else ())
    }
    seen.clear()
    return found
