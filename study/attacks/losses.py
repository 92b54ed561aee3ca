"""The two losses that attacks increase, and their gradient with respect to the input pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
"""`loss(logits (n, classes), y (n,) int64)` -> scalar, a sum: so each sample has its own gradient."""


def cross_entropy_sum(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the batch, in the dtype of the logits (as published: float32).

    Its gradient contains p_y - 1, which is rounding noise or 0 where p_y rounds to 1.

    Source: the loss J of FGSM, Goodfellow et al. 2015 (arXiv:1412.6572), section 4.
    """
    return cross_entropy(logits, y, reduction="sum")


def stable_margin_sum(logits: Tensor, y: Tensor) -> Tensor:
    """logsumexp(logits of the other classes) - logit of the true class, summed over the batch.

    With m for this margin, cross-entropy is log(1 + exp(m)) and its gradient is (1 - p_y) grad m. So both losses have
    the same gradient direction for every sample, but this one lacks the factor 1 - p_y, which cancels in float32. There
    must be at least two classes.
    """
    true_class = y.unsqueeze(1)
    others = logits.scatter(1, true_class, float("-inf")).logsumexp(dim=1)
    return (others - logits.gather(1, true_class).squeeze(1)).sum()


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy_sum,
    "stable": stable_margin_sum,
}


def logits_and_input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """One forward and one backward pass: logits (n, classes), detached, and d loss / d x, of the shape of x.

    The weights keep their `requires_grad` and `.grad`. Freezing them would save no time: autograd is asked for x only
    and skips the products that lead to weight gradients (measured).

    Raises:
        ValueError: the model cuts the graph between its input and its logits.
    """
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(x)
        value = loss(logits, y)
    gradient = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise ValueError("no gradient reaches the input: remove detach() or no_grad() from the model's forward")
    return logits.detach(), gradient


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """d loss / d x, of the shape of x. Since `loss` is a sum, each sample gets its own gradient. Errors as above."""
    return logits_and_input_gradient(model, x, y, loss)[1]
