"""The attacks that step along the Newton direction of the loss in place of its gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.ball import l2_radius, l2_step_in_box
from study.attacks.losses import Loss
from study.attacks.newton import NEWTON_STEPS, NEWTON_TOLERANCE, newton_direction


def fhsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
    newton_steps: int = NEWTON_STEPS,
    newton_tolerance: float = NEWTON_TOLERANCE,
) -> Tensor:
    """x + epsilon sign(H^-1 g), clipped to [0, 1]: the fast Hessian sign method.

    With one Newton step it is FGSM, bit for bit. An image whose gradient is exactly 0 stays.

    Args:
        model: maps pixels in [0, 1] to logits (n, classes), each image by itself.
        x: images (n, ...) in [0, 1], on the model's device and in its dtype.
        y: true classes (n,), int64.
        epsilon: radius of the max-norm ball, in pixel units.
        loss: summed loss that g is the gradient of; H is the cross-entropy's.
        generator: not used.
        newton_steps, newton_tolerance: see `study.attacks.newton.newton_direction`, which also says what H is.

    Returns:
        Adversarial images of the shape of x; x itself is not changed.

    Raises:
        ValueError: newton_steps below 1 or newton_tolerance outside (0, 1).

    Source: Yao et al. 2018 (arXiv:1802.08241), section 2 and Table 5, FHSM.
    """
    direction = newton_direction(model, x, y, loss=loss, newton_steps=newton_steps, newton_tolerance=newton_tolerance)
    return x.detach().add(direction.sign().to(x.dtype), alpha=epsilon).clamp_(0.0, 1.0)


def l2hess(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
    newton_steps: int = NEWTON_STEPS,
    newton_tolerance: float = NEWTON_TOLERANCE,
) -> Tensor:
    """x + radius H^-1 g / ||H^-1 g||_2, clipped to [0, 1]; the radius is `l2_radius` of epsilon.

    Arguments, result and errors as in `fhsm`, epsilon being the root mean square of the step's pixels.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 2 and Table 5, L2HESS; the radius is our choice.
    """
    direction = newton_direction(model, x, y, loss=loss, newton_steps=newton_steps, newton_tolerance=newton_tolerance)
    return l2_step_in_box(x, direction, l2_radius(epsilon, x[0].numel()))
