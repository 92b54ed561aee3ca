"""Attacks in the max-norm ball around an image: FGSM, FGSM10 and PGD.

    x_adv <- clip(x_adv + step_size sign(d loss / d x_adv)),

where `clip` projects on the ball of radius epsilon around x and on the box [0, 1] of valid pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks.losses import Loss, input_gradient

FGSM10_STEPS = 10

PGD_STEPS = 40
"""Madry et al. 2018 (arXiv:1706.06083), section 5: 40 iterations on MNIST."""


def of_each(values: Tensor, x: Tensor) -> Tensor:
    """One value an image (n,), to be multiplied with images (n, ...)."""
    return values.view(-1, *[1] * (x.ndim - 1))


@dataclass
class PerImage:
    """Tensors with one entry an image in each field of a dataclass, of which an attack leaves settled images out."""

    def only(self, kept: Tensor) -> Self:
        """Those of the images that the mask `kept` (n,) names."""
        places = kept.nonzero().squeeze(1)  # a GPU is waited for here, once, not in each field
        return type(self)(*(getattr(self, one.name)[places] for one in fields(self)))


def linf_ball_in_box(x: Tensor, epsilon: float | Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of every pixel within `epsilon` of x and within [0, 1]; both of the shape of x.

    Both sets are boxes aligned with the axes, so clamping between the two bounds is the exact Euclidean projection on
    their intersection.
    """
    return (x - epsilon).clamp_(min=0.0), (x + epsilon).clamp_(max=1.0)


@full_precision()
def fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The fast gradient sign method: x + epsilon sign(d loss / d x), clipped to [0, 1].

    Args:
        model: maps pixels in [0, 1] to logits (n, classes).
        x: images (n, ...) in [0, 1], on the model's device and in its dtype.
        y: true classes (n,), int64.
        epsilon: radius of the max-norm ball, in pixel units.
        loss: to increase, one value an image.
        generator: not used, FGSM draws nothing. It is a parameter so that all attacks are called in the same way.

    Returns:
        Adversarial images of the shape of x; x itself is not changed. A pixel whose gradient is exactly 0 is not moved.

    Source: Goodfellow et al. 2015 (arXiv:1412.6572), section 4; Yao et al. 2018 (arXiv:1802.08241), section 3.2.
    """
    direction = input_gradient(model, x, y, loss).sign()
    return x.detach().add(direction, alpha=epsilon).clamp_(0.0, 1.0)


@full_precision()
def fgsm10(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Ten FGSM steps of epsilon / 10, each clipped to [0, 1].

    This is PGD without a random start: ten steps of epsilon / 10 stay in the ball, so its projection changes nothing
    but rounding errors. Arguments and result as in `fgsm`.

    Source: Yao et al. 2018 (arXiv:1802.08241), Algorithm 1 with n = 10 and Table 5, FGSM10; Kurakin et al. 2017
        (arXiv:1607.02533), section 2.2.
    """
    step_size = epsilon / FGSM10_STEPS
    return pgd(model, x, y, epsilon=epsilon, loss=loss, steps=FGSM10_STEPS, step_size=step_size, random_start=False)


def pgd_step_size(epsilon: float, steps: int = PGD_STEPS) -> float:
    """As published, 40 steps of epsilon / 30: Madry's .01 at his MNIST epsilon of .3 (arXiv:1706.06083, section 5).

    They travel 1.33 epsilon, so from a random start they cannot reach every point of the ball. Any other number of
    steps is taken to cross it, at 2.5 epsilon / steps each: Madry et al.'s rule for their attacks in the 2-norm.
    """
    return epsilon / 30 if steps == PGD_STEPS else 2.5 * epsilon / max(1, steps)


def uniform_start(x: Tensor, epsilon: float, generator: torch.Generator | None) -> Tensor:
    """A uniform point of the max-norm ball around each image (n, ...), not yet clipped to the box; errors as `pgd`."""
    if generator is None:
        raise ValueError("pgd with a random start needs a generator: pass generator=torch.Generator().manual_seed(0)")
    noise = torch.empty(x.shape, dtype=x.dtype, device=generator.device)
    return x + noise.uniform_(-epsilon, epsilon, generator=generator).to(x.device)


@full_precision()
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
    """Projected gradient descent: repeated sign steps, projected on ball and box after each.

    Args:
        model, x, y, epsilon, loss: as in `fgsm`.
        generator: draws the random start, on the generator's own device. With a CPU generator, images attacked in
            several consecutive batches get the same start as in one batch, and a GPU gets the same start as a CPU.
        steps: number of gradient steps.
        step_size: in pixel units; None for `pgd_step_size(epsilon, steps)`.
        random_start: start uniformly in the ball, clipped to the box; else at x.
        start: first iterate, of the shape of x, projected before use; given, it replaces the random start.

    Returns:
        The last iterate, of the shape of x; x and `start` are not changed.

    Raises:
        ValueError: a random start without a generator.

    Source: Madry et al. 2018 (arXiv:1706.06083), section 2.1; natural-training paper (2020), PGD.
    """
    x = x.detach()
    step_size = pgd_step_size(epsilon, steps) if step_size is None else step_size
    lower, upper = linf_ball_in_box(x, epsilon)
    if start is None:
        start = uniform_start(x, epsilon, generator) if random_start else x
    x_adv = start.detach().clamp(lower, upper)
    for _ in range(steps):
        direction = input_gradient(model, x_adv, y, loss).sign()
        # In place is safe: the graph that used x_adv was freed with the gradient.
        x_adv.add_(direction, alpha=step_size).clamp_(lower, upper)
    return x_adv
