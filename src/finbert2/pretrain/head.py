"""The MLM head's cross-entropy without ever holding all logits."""

from typing import Any

import torch

from finbert2.pretrain.masking import IGNORED

# Logits that exist at a time, in fp32: 32 MiB stay in a processor's cache, 256 MiB keep a GPU busy.
CHUNK_LOGITS, CHUNK_LOGITS_ON_GPU = 2**23, 2**26


@torch.compiler.disable
def summed_loss(
    head: Any, states: torch.Tensor, labels: torch.Tensor, items: torch.Tensor | int | None
) -> torch.Tensor:
    """Return the cross-entropy summed over labels that are not -100, divided by `items` (default: their number).

    `head` is BERT's prediction head (transform, tied decoder, bias), `states` (predictions, width) go into it. A step
    without a prediction, of one short text, has the loss 0.
    """
    count = torch.as_tensor((labels != IGNORED).sum() if items is None else items).clamp(min=1)
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
        gradients = Gradients(low_states, low_weight) if any(ctx.needs_input_grad) else None
        rows = max(1, (CHUNK_LOGITS_ON_GPU if device == "cuda" else CHUNK_LOGITS) // len(weight))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(labels), rows):
                part = slice(start, start + rows)
                known = labels[part] != IGNORED
                scores = torch.log_softmax((low_states[part] @ low_weight.T).float().add_(bias), dim=1)
                picked = scores.gather(1, labels[part].clamp(min=0).unsqueeze(1))[:, 0]
                total -= (picked * known).sum()
                if gradients:
                    gradients.add(scores, labels[part], known, part)
        if gradients:
            ctx.save_for_backward(gradients.of_states, gradients.of_weight, gradients.of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Return the gradients found in the forward pass, scaled."""
        states, weight, bias = ctx.saved_tensors
        return states * grad.to(states.dtype), weight * grad, bias * grad, None


class Gradients:
    """The gradients of the summed loss, chunk by chunk."""

    def __init__(self, states: torch.Tensor, weight: torch.Tensor) -> None:
        self.states, self.weight = states, weight
        self.of_states = torch.empty_like(states)
        self.of_weight = self.of_bias = torch.zeros((), device=states.device)

    def add(self, scores: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, part: slice) -> None:
        """Add a chunk's share; `scores` (chunk, words) are log-probabilities and are overwritten."""
        errors = scores.exp_()  # softmax − one-hot is the gradient of the logits
        errors[torch.arange(len(labels), device=labels.device), labels.clamp(min=0)] -= 1
        low, counted = errors.to(self.states.dtype), known.to(self.states.dtype).unsqueeze(1)
        self.of_states[part] = (low @ self.weight) * counted
        of_weight, of_bias = (low.T @ (self.states[part] * counted)).float(), known.float() @ errors
        # The first share is the sum: nothing as large as the vocabulary is filled with zeros.
        self.of_weight = of_weight if self.of_weight.dim() == 0 else self.of_weight.add_(of_weight)
        self.of_bias = of_bias if self.of_bias.dim() == 0 else self.of_bias.add_(of_bias)
