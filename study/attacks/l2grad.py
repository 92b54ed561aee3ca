"""One step along the gradient, of fixed Euclidean length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.ball import l2_radius, l2_step_in_box
from study.attacks.gradient import input_gradient
from study.attacks.losses import Loss


def l2grad(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """x + radius g / ||g||_2 with g = d loss / d x, clipped to [0, 1]; the radius is `l2_radius` of epsilon.

    Arguments and result as in `study.attacks.fgsm.fgsm`, epsilon being the root mean square of the step's pixels.
    An image whose gradient is exactly 0 stays.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 2 and Table 5, L2GRAD; the radius is our choice.
    """
    direction = input_gradient(model, x, y, loss)
    return l2_step_in_box(x, direction, l2_radius(epsilon, x[0].numel()))
