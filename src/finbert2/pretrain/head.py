"""The MLM head's cross-entropy without ever holding all logits."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from finbert2.pretrain.masking import IGNORED

CHUNK_LOGITS = 2**23  # logits that exist at a time: 32 MiB in fp32


@torch.compiler.disable
def summed_loss(
    head: Any, states: torch.Tensor, labels: torch.Tensor, items: torch.Tensor | int | None
) -> torch.Tensor:
    """Return the cross-entropy summed over labels that are not -100, divided by `items` (default: their number).

    `head` is BERT's prediction head (transform, tied decoder, bias), `states` (predictions, width) go into it.
    """
    count = (labels != IGNORED).sum() if items is None else items
    transformed = head.transform(states)
    return ChunkedCrossEntropy.apply(transformed, head.decoder.weight, head.decoder.bias, labels) / count


class ChunkedCrossEntropy(torch.autograd.Function):
    """Linear layer and cross-entropy in one, a chunk of predictions at a time.

    The gradient of the logits is softmax − one-hot, known as soon as the logits are: each chunk's share of the
    gradients is summed in the forward pass and its logits are forgotten. Of 8,192 predictions over 35,000 words 2.2 GB
    need never exist; the products are the same as without chunks.
    """

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the summed loss (); states (predictions, width), weight (words, width), bias (words,)."""
        device = states.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        low_states, low_weight = states.to(dtype), weight.to(dtype)
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        wanted = any(ctx.needs_input_grad)
        if wanted:
            grads = torch.empty_like(low_states), torch.zeros_like(weight), torch.zeros_like(bias)
        rows = max(1, CHUNK_LOGITS // len(weight))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(labels), rows):
                part = slice(start, start + rows)
                logits = (low_states[part] @ low_weight.T).float() + bias
                total += cross_entropy(logits, labels[part], ignore_index=IGNORED, reduction="sum")
                if wanted:
                    add_gradients(grads, logits, low_states[part], low_weight, labels[part], part)
        if wanted:
            ctx.save_for_backward(*grads)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Return the gradients found in the forward pass, scaled."""
        states, weight, bias = ctx.saved_tensors
        return states * grad.to(states.dtype), weight * grad, bias * grad, None


def add_gradients(
    grads: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    logits: torch.Tensor,
    states: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    part: slice,
) -> None:
    """Write a chunk's gradient for its states and add those for weight and bias; `logits` are overwritten."""
    known = labels != IGNORED
    errors = torch.softmax(logits, dim=1, out=logits)
    errors[torch.arange(len(labels), device=labels.device), labels.clamp(min=0)] -= 1
    errors *= known.unsqueeze(1)
    grads[2].add_(errors.sum(0))
    low = errors.to(states.dtype)
    grads[0][part] = low @ weight
    grads[1].add_(low.T @ states)
