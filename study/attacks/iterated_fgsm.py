"""The fast gradient sign method in ten small steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.losses import Loss
from study.attacks.pgd import pgd

FGSM10_STEPS = 10


def fgsm10_step_size(epsilon: float) -> float:
    """epsilon / 10: ten steps reach the surface of the ball and never leave it."""
    return epsilon / FGSM10_STEPS


def fgsm10(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Ten times x_adv <- x_adv + (epsilon / 10) sign(d loss / d x_adv), clipped to [0, 1].

    This is projected gradient descent from x itself: ten steps of epsilon / 10 stay in the ball, so that its
    projection does no more than the clip, and takes off what rounding adds.

    Arguments and result as in `study.attacks.fgsm.fgsm`.

    Source: Yao et al. 2018 (arXiv:1802.08241), Algorithm 1 with n = 10 and Table 5, FGSM10; Kurakin et al.
        2017 (arXiv:1607.02533), section 2.2.
    """
    step_size = fgsm10_step_size(epsilon)
    return pgd(model, x, y, epsilon=epsilon, loss=loss, steps=FGSM10_STEPS, step_size=step_size, random_start=False)
