"""The losses that attacks increase, and their gradient with respect to the input pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.autograd import gradient_at_input

Loss = Callable[[Tensor, Tensor], Tensor]
"""`loss(logits (n, classes), y (n,) int64)` -> (n,), the loss of each image."""


def cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats, in the dtype of the logits (as published: float32).

    Its gradient contains p_y - 1, which is rounding noise or 0 where p_y rounds to 1.

    Source: the loss J of FGSM, Goodfellow et al. 2015 (arXiv:1412.6572), section 4.
    """
    return cross_entropy(logits, y, reduction="none")


def stable_margins(logits: Tensor, y: Tensor) -> Tensor:
    """logsumexp(logits of the other classes) - logit of the true class.

    With m for this margin, cross-entropy is log(1 + exp(m)) and its gradient is (1 - p_y) grad m. So both losses have
    the same gradient direction for every sample, but this one lacks the factor 1 - p_y, which cancels in float32. There
    must be at least two classes.
    """
    return _others(logits, y).logsumexp(dim=1) - _logit(logits, y)


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """Largest logit of the other classes - logit of the true class: positive where the image is misclassified."""
    return _others(logits, y).amax(dim=1) - _logit(logits, y)


def logit_ratios(logits: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio (DLR): (largest logit of the other classes - logit of the true class) over
    (largest logit - third largest), which neither shift nor scale of the logits changes.

    With fewer than three classes there is no third: the margin alone.

    Source: Croce and Hein 2020 (arXiv:2003.01690), equation (6).
    """
    if logits.shape[1] < 3:
        return margins(logits, y)
    largest = logits.topk(3, dim=1).values
    return margins(logits, y) / (largest[:, 0] - largest[:, 2] + TINY)


def targeted_logit_ratios(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """DLR towards a class `target` (n,): (its logit - logit of the true class) over (largest logit - mean of the third
    and fourth largest). With fewer than four classes the difference of the two logits alone.

    Source: Croce and Hein 2020 (arXiv:2003.01690), equation (7).
    """
    margin = _logit(logits, target) - _logit(logits, y)
    if logits.shape[1] < 4:
        return margin
    largest = logits.topk(4, dim=1).values
    return margin / (largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + TINY)


TINY = 1e-12
"""As in the authors' code, so that equal logits are divided by no 0."""


def _logit(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes.unsqueeze(1)).squeeze(1)


def _others(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y.unsqueeze(1), float("-inf"))


LOSSES: dict[str, Loss] = {"ce": cross_entropies, "stable": stable_margins, "dlr": logit_ratios}


def forward_backward(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """One forward and one backward pass: logits (n, classes) and losses (n,), detached, and d loss / d x, of x's shape.

    The weights keep their `requires_grad` and `.grad`. Freezing them would save no time: autograd is asked for x only
    and skips the products that lead to weight gradients (measured).

    Raises:
        ValueError: the model cuts the graph between its input and its logits.
    """
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(x)
        losses = loss(logits, y)
        value = losses.sum()
    return logits.detach(), losses.detach(), gradient_at_input(value, x)


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """d loss / d x, of the shape of x: for each image that of its own loss. Errors as above."""
    return forward_backward(model, x, y, loss)[2]
