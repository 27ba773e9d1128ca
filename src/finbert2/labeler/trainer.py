"""HuggingFace's Trainer with the loss and the learning rates of a labeler."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from finbert2 import packing
from finbert2.labeler.features import IGNORED
from finbert2.labeler.options import LabelerTrainingArguments


class LabelTrainer(Trainer):
    """Cross entropy (single label, tags) or a binary one a label, weighted and smoothed, with R-Drop and FGM."""

    args: LabelerTrainingArguments
    model: Any

    def __init__(
        self, *arguments: Any, multi_label: bool = False, weights: list[float] | None = None, **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self.multi_label = multi_label
        self.weights = None if weights is None else torch.tensor(weights)
        self.model_accepts_loss_kwargs = False  # the loss is a mean: the Trainer divides by the accumulated steps

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a batch, and the model's output if asked for."""
        labels = inputs["labels"]
        features = {name: value for name, value in inputs.items() if name != "labels"}
        twice = model.training and self.args.r_drop > 0
        if twice:  # two passes with different dropout, as one batch (Liang et al. 2021, arXiv 2106.14448, algorithm 1)
            features = (
                packing.joined([features, features]) if "cu_seq_lens_q" in features
                else {name: torch.cat([value, value]) for name, value in features.items()}
            )  # fmt: skip
        output = model(**features)
        logits = output["logits"].float()
        value = self.label_loss(logits, torch.cat([labels, labels]) if twice else labels)
        if twice:
            one, other = logits.chunk(2)
            if labels.shape == one.shape[:-1]:  # of tags; what has none says nothing
                one, other = one[labels != IGNORED], other[labels != IGNORED]
            # Half of equation 4: the mean of the two cross entropies, so that the learning rate means the same.
            value = value + self.args.r_drop / 2 * divergence(one, other, self.multi_label)
        return (value, {"logits": output["logits"]}) if return_outputs else value  # BART and XLNet return more

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of logits (…, labels) for label ids (…), or for targets (batch, labels)."""
        smoothing = self.args.label_smoothing_factor
        weights = None if self.weights is None else self.weights.to(logits.device)
        if self.multi_label:
            targets = labels * (1 - smoothing) + smoothing / 2
            return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
        return functional.cross_entropy(
            logits.view(-1, logits.shape[-1]), labels.view(-1), weights, ignore_index=IGNORED,
            label_smoothing=smoothing,
        )  # fmt: skip

    def get_train_dataloader(self) -> Any:
        """Return batches of the training inputs by `Order`, of which accelerate gives each process its own."""
        if self.args.train_sampling_strategy not in ("group_by_length", "random"):
            return super().get_train_dataloader()
        rows: Any = self.train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        order = Order(
            [len(row["input_ids"]) for row in rows],
            self.args.train_batch_size * self.args.gradient_accumulation_steps if grouped else None,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
            lambda: int(self.state.epoch or 0),
        )
        loader = DataLoader(
            rows, self.args.train_batch_size, sampler=order, collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers, pin_memory=self.args.dataloader_pin_memory,
            drop_last=self.args.dataloader_drop_last, prefetch_factor=self.args.dataloader_prefetch_factor,
            persistent_workers=self.args.dataloader_persistent_workers,
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return batches of the development inputs in their order, by which windows are pooled."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        loader = DataLoader(rows, self.args.eval_batch_size, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Return the loss of a step after its backward pass, with FGM after a second one on shifted embeddings.

        FGM: Miyato et al. 2017 (arXiv 1605.07725, §3); the step is taken on the embedding table, as is usual for BERT.
        """
        if self.args.fgm == 0:
            return super().training_step(model, inputs, num_items_in_batch)
        table = self.accelerator.unwrap_model(model).get_input_embeddings().weight
        before = None if table.grad is None else table.grad.clone()  # of the batches that a step accumulates
        value = super().training_step(model, inputs, num_items_in_batch)
        if table.grad is not None:  # LoRA leaves it as it is
            if before is not None and self.accelerator.sync_gradients:  # which made the mean of all processes' of it
                before = self.accelerator.reduce(before, "mean")
            grad = table.grad if before is None else table.grad - before
            kept, norm = table.detach().clone(), grad.norm()
            if torch.isfinite(norm) and norm > 0:
                table.data.add_(grad, alpha=self.args.fgm / norm.item())
                super().training_step(model, inputs, num_items_in_batch)
                table.data.copy_(kept)
        return value

    def create_optimizer(self, *arguments: Any, **more: Any) -> torch.optim.Optimizer:
        """Make the optimizer; with `layer_lr_decay` each layer gets its own learning rate."""
        if self.args.layer_lr_decay == 1 or self.optimizer is not None:
            return super().create_optimizer(*arguments, **more)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        decayed = set(self.get_decay_parameter_names(self.model))
        depths = {name: depth(name, self.model.config.num_hidden_layers) for name, _ in self.model.named_parameters()}
        top = max(depths.values())
        groups = [
            {
                "params": [value], "lr": self.args.learning_rate * self.args.layer_lr_decay ** (top - depths[name]),
                "weight_decay": self.args.weight_decay if name in decayed else 0.0,
            }
            for name, value in self.model.named_parameters() if value.requires_grad
        ]  # fmt: skip
        self.optimizer = kind(groups, **options)
        return self.optimizer


class Order(Sampler[int]):
    """Yields the rows in an order that is a function of (seed, epoch), with a `batch` those of like length together.

    transformers draws this from the random numbers of each process, of which dropout on a CPU takes as many as there
    are tokens: processes shared out orders of their own, and a resumed run another order than it had begun. Rows came
    twice, others not at all.
    """

    def __init__(self, lengths: Sequence[int], batch: int | None, seed: int, epoch: Callable[[], int]) -> None:
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        if self.batch is None:
            yield from torch.randperm(len(self.lengths), generator=chance).tolist()
        else:
            yield from get_length_grouped_indices(self.lengths, self.batch, generator=chance)


def divergence(one: torch.Tensor, other: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """Return the mean of the two Kullback-Leibler divergences between predictions (…, labels), averaged over rows."""
    if multi_label:  # a Bernoulli distribution a label
        one, other = (torch.stack([x, torch.zeros_like(x)], -1).flatten(0, -2) for x in (one, other))
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    kl = functional.kl_div(q, p, reduction="batchmean", log_target=True)
    return (kl + functional.kl_div(p, q, reduction="batchmean", log_target=True)) / 2


def depth(name: str, layers: int) -> int:
    """Return how high in the encoder a parameter stands: 0 the embeddings, then the layers, then the head."""
    parts = name.split(".")
    if "embeddings" in parts:
        return 0
    places = [int(after) for part, after in zip(parts, parts[1:], strict=False) if part in ("layer", "layers")]
    return places[0] + 1 if places else layers + 1
