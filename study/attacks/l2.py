"""Attacks that take one step of fixed Euclidean length: the step itself, its length, and L2GRAD."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks.losses import Loss, input_gradient


def l2_radius(epsilon: float, n_pixels: int) -> float:
    """epsilon sqrt(n_pixels): the length of a step of epsilon in every pixel, n_pixels counting the channels.

    Our choice: Yao et al. 2018 (arXiv:1802.08241) give no radius for their L2 attacks. With a radius of epsilon an
    image hardly changes, and the accuracies in their Tables 3 and 4 cannot be reached.
    """
    return epsilon * math.sqrt(n_pixels)


def l2_step_in_box(x: Tensor, direction: Tensor, radius: float) -> Tensor:
    """x + radius direction / ||direction||_2 image by image, clipped to [0, 1].

    Args:
        x: images (n, ...) in [0, 1].
        direction: of the shape of x and of any scale, even one whose square would underflow. An image whose direction
            is exactly 0 is not moved.
        radius: Euclidean length of the step before the clip, in pixel units.

    Returns:
        Images of the shape and dtype of x; x itself is not changed.
    """
    rows = direction.detach().double().flatten(1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    rows = rows / largest.where(largest > 0, 1.0)
    length = rows.norm(dim=1, keepdim=True)
    step = rows * (radius / length.where(length > 0, 1.0))
    return x.detach().add(step.view_as(x).to(x.dtype)).clamp_(0.0, 1.0)


@full_precision()
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

    Arguments and result as in `study.attacks.linf.fgsm`, except that epsilon is the root mean square of the step's
    pixels. An image whose gradient is exactly 0 is not moved.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 2 and Table 5, L2GRAD; the radius is our choice.
    """
    direction = input_gradient(model, x, y, loss)
    return l2_step_in_box(x, direction, l2_radius(epsilon, x[0].numel()))
