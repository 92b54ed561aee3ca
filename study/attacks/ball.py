"""The allowed adversarial images: the max-norm ball around an image, cut with the box of valid pixels."""

from __future__ import annotations

from torch import Tensor


def linf_ball_in_box(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of every pixel within `epsilon` of x and within [0, 1]; both shaped as x.

    Both sets are boxes aligned with the axes, so clamping between the two bounds is the exact Euclidean
    projection on their intersection.
    """
    return (x - epsilon).clamp_(min=0.0), (x + epsilon).clamp_(max=1.0)
