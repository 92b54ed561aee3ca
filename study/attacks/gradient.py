"""The gradient of a loss with respect to the input pixels, and to nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.losses import Loss


def logits_and_input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """One forward and one backward pass: logits (n, classes), detached, and d loss / d x, of the shape of x.

    The weights' `requires_grad` and `.grad` are left alone. Freezing the weights would save nothing: asked
    for x only, autograd skips the products that lead to weight gradients (measured: equal time with and
    without).

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
    """d loss / d x, of the shape of x, each sample's own gradient since `loss` is summed. Errors as above."""
    return logits_and_input_gradient(model, x, y, loss)[1]
