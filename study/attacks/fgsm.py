"""The fast gradient sign method."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.gradient import input_gradient
from study.attacks.losses import Loss


def fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """x + epsilon sign(d loss / d x), clipped to [0, 1].

    Args:
        model: maps pixels in [0, 1] to logits (n, classes).
        x: images (n, ...) in [0, 1], on the model's device and in its dtype.
        y: true classes (n,), int64.
        epsilon: radius of the max-norm ball, in pixel units.
        loss: summed loss to ascend.
        generator: not used; FGSM draws nothing. Here so that all attacks are called alike.

    Returns:
        Adversarial images of the shape of x; x itself is not changed. A pixel with a gradient of exactly 0
        stays.

    Source: Goodfellow et al. 2015 (arXiv:1412.6572), section 4; Yao et al. 2018 (arXiv:1802.08241), section
        3.2.
    """
    direction = input_gradient(model, x, y, loss).sign()
    return x.detach().add(direction, alpha=epsilon).clamp_(0.0, 1.0)
