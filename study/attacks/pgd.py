"""Projected gradient descent in the max-norm ball."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.ball import linf_ball_in_box
from study.attacks.gradient import input_gradient
from study.attacks.losses import Loss

PGD_STEPS = 40
"""Madry et al. 2018 (arXiv:1706.06083), section 5: 40 iterations on MNIST."""


def pgd_step_size(epsilon: float) -> float:
    """epsilon / 30: Madry's .01 at his MNIST epsilon of .3 (arXiv:1706.06083, section 5), scaled."""
    return epsilon / 30


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
    steps: int = PGD_STEPS,
    step_size: float | None = None,
    random_start: bool = True,
    start: Tensor | None = None,
) -> Tensor:
    """Repeat x_adv <- x_adv + step_size sign(d loss / d x_adv), projected on ball and box after each step.

    Args:
        model: maps pixels in [0, 1] to logits (n, classes).
        x: images (n, ...) in [0, 1], on the model's device and in its dtype.
        y: true classes (n,), int64.
        epsilon: radius of the max-norm ball, in pixel units.
        loss: summed loss to ascend.
        generator: draws the random start, on the generator's own device. With a CPU generator a batch cut
            into contiguous pieces gets the same start as the whole, and a GPU gets the same start as a CPU.
        steps: number of gradient steps.
        step_size: in pixel units; None for epsilon / 30.
        random_start: start uniformly in the ball, clipped to the box; else at x.
        start: first iterate, of the shape of x, projected before use; given, it replaces the random start.

    Returns:
        The last iterate, of the shape of x; x and `start` are not changed.

    Raises:
        ValueError: a random start is asked for without a generator.

    Source: Madry et al. 2018 (arXiv:1706.06083), section 2.1; natural-training paper (2020) uses it as PGD.
    """
    x = x.detach()
    step_size = pgd_step_size(epsilon) if step_size is None else step_size
    lower, upper = linf_ball_in_box(x, epsilon)
    if start is None:
        start = uniform_start(x, epsilon, generator) if random_start else x
    x_adv = start.detach().clamp(lower, upper)
    for _ in range(steps):
        direction = input_gradient(model, x_adv, y, loss).sign()
        # In place is safe: the graph that saw x_adv was freed with the gradient.
        x_adv.add_(direction, alpha=step_size).clamp_(lower, upper)
    return x_adv


def uniform_start(x: Tensor, epsilon: float, generator: torch.Generator | None) -> Tensor:
    """A point of the max-norm ball around each image (n, ...), not yet clipped to the box; errors as in `pgd`."""
    if generator is None:
        raise ValueError("pgd with a random start needs a generator: pass generator=torch.Generator().manual_seed(0)")
    noise = torch.empty(x.shape, dtype=x.dtype, device=generator.device)
    return x + noise.uniform_(-epsilon, epsilon, generator=generator).to(x.device)
