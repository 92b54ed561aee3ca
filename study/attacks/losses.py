"""The two losses an attack ascends: the published cross-entropy and one that does not cancel in float32."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
"""`loss(logits (n, classes), y (n,) int64)` -> scalar, SUMMED so that each sample keeps its own gradient."""


def cross_entropy_sum(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the batch, in the dtype of the logits (as published: float32).

    Its gradient holds p_y - 1, which cancels to rounding noise or to 0 once p_y rounds to 1.

    Source: the loss J of FGSM, Goodfellow et al. 2015 (arXiv:1412.6572), section 4.
    """
    return cross_entropy(logits, y, reduction="sum")


def stable_margin_sum(logits: Tensor, y: Tensor) -> Tensor:
    """logsumexp(logits of the other classes) - logit of the true class, summed over the batch.

    With this margin m, cross-entropy is log(1 + exp(m)), whose gradient is (1 - p_y) grad m. The two losses
    thus have the same gradient direction for every sample, and the factor 1 - p_y that cancels in float32 is
    gone. Needs at least two classes.
    """
    true_class = y.unsqueeze(1)
    others = logits.scatter(1, true_class, float("-inf")).logsumexp(dim=1)
    return (others - logits.gather(1, true_class).squeeze(1)).sum()


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy_sum,
    "stable": stable_margin_sum,
}
