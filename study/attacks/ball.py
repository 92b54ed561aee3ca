"""The allowed adversarial images: a ball around an image, cut with the box of valid pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor


def linf_ball_in_box(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of every pixel within `epsilon` of x and within [0, 1]; both shaped as x.

    Both sets are boxes aligned with the axes, so clamping between the two bounds is the exact Euclidean
    projection on their intersection.
    """
    return (x - epsilon).clamp_(min=0.0), (x + epsilon).clamp_(max=1.0)


def l2_step_in_box(x: Tensor, direction: Tensor, radius: float) -> Tensor:
    """x + radius direction / ||direction||_2 image by image, clipped to [0, 1].

    Args:
        x: images (n, ...) in [0, 1].
        direction: of the shape of x; of any scale, also one whose square would underflow. An image with a
            direction of exactly 0 stays.
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


def l2_radius(epsilon: float, n_pixels: int) -> float:
    """epsilon sqrt(n_pixels): the length of a step of epsilon in every pixel, n_pixels counting the channels.

    Our choice: Yao et al. 2018 (arXiv:1802.08241) state no radius for their L2 attacks, and one of epsilon itself
    hardly moves an image: the accuracies in their Tables 3 and 4 cannot be reached with it.
    """
    return epsilon * math.sqrt(n_pixels)


RADII: Mapping[str, Callable[[float, int], float]] = {
    "linf": lambda epsilon, n_pixels: epsilon,
    "l2": l2_radius,
}
"""Norm -> radius of its ball, in pixel units, from epsilon and the number of pixels of an image."""
