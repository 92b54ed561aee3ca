"""Attacks along the Newton direction H^-1 g of each image's cross-entropy, in place of its gradient g.

H is the input Hessian, applied exactly as J'AJ (see `study.autograd`); the system is solved by conjugate gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks.l2 import l2_radius, l2_step_in_box
from study.attacks.losses import Loss
from study.autograd import (
    curvature_root,
    error_probabilities,
    gradient_at_input,
    images_with_jacobian,
    largest_eigenvalue,
    margin_jacobian,
)

NEWTON_STEPS = 10
"""Largest number of conjugate-gradient iterations. Our choice: Yao et al. 2018 give none; the rank of H is at most
classes - 1."""

NEWTON_TOLERANCE = 0.1
"""Residual ||H v - g|| / ||g|| at which they stop. Our choice, as above: a tenth decides nearly every sign."""

FLAT = 1e-12
"""H counts as 0 along a direction p where p'Hp <= FLAT lambda1 ||p||^2: that is rounding, and iterations stop there."""


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

    With one Newton step it equals FGSM, bit for bit. An image whose gradient is exactly 0 is not moved.

    The generator is not used; epsilon is the radius of the max-norm ball, in pixel units. The other arguments and the
    errors are those of `newton_direction`. Returns images of the shape of x, which is not changed.

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

    Arguments, result and errors as in `fhsm`, except that epsilon is the root mean square of the step's pixels.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 2 and Table 5, L2HESS; the radius is our choice.
    """
    direction = newton_direction(model, x, y, loss=loss, newton_steps=newton_steps, newton_tolerance=newton_tolerance)
    return l2_step_in_box(x, direction, l2_radius(epsilon, x[0].numel()))


@full_precision()
def newton_direction(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss,
    newton_steps: int = NEWTON_STEPS,
    newton_tolerance: float = NEWTON_TOLERANCE,
) -> Tensor:
    """A positive multiple of H^-1 g for each image, by conjugate gradients from 0.

    g is the gradient of `loss`, as autograd computes it. H is the input Hessian of the cross-entropy for either loss.
    The stable loss has the gradient of cross-entropy up to a positive factor for each image, so in exact arithmetic
    both losses have the same Newton direction. J'AJ equals H for piecewise-linear networks and is the Gauss-Newton
    matrix for others. It is singular, so its pseudo-inverse is meant where g lies in its range. The exact solution
    raises the margins of all wrong classes alike, whatever their probabilities; with a loose tolerance mainly those of
    the probable classes rise, as along g.

    All iterates lie in the span of g and of the classes - 1 rows of the margins' Jacobian. They are stored as
    coordinates in that span, with the inner products of its vectors in float64, so that the iterations cost nothing
    compared with the backward passes, one for each class. After one iteration the direction is g itself. Tolerances of
    .01 and below may take more than classes - 1 iterations, because H is ill-conditioned. Below 1e-7 only
    rounding is left.

    Args:
        model: maps pixels to logits (n, classes), each image by itself (batch normalization in eval mode).
        x: images (n, ...), on the model's device and in its dtype.
        y: true classes (n,), int64.
        loss: loss whose gradient is g.
        newton_steps: largest number of iterations.
        newton_tolerance: residual ||H v - g|| / ||g|| at which iterations stop for an image.

    Returns:
        Directions of the shape of x, float64. Exactly 0 where g is 0; g where H has no curvature along it.

    Raises:
        ValueError: bad settings, or a model that cuts the graph between its input and its logits.
    """
    if not isinstance(newton_steps, int) or newton_steps < 1:
        raise ValueError(f"newton_steps must be a whole number of at least 1, not {newton_steps!r}")
    if not 0 < newton_tolerance < 1:
        raise ValueError(f"newton_tolerance must be in (0, 1), a relative residual, not {newton_tolerance!r}")
    leaf = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        value = loss(logits, y).sum()
    at_once = images_with_jacobian(x, logits.shape[1])
    if len(x) > at_once:
        del logits, value  # and with them the graph
        pieces = [
            newton_direction(
                model,
                x[start : start + at_once],
                y[start : start + at_once],
                loss=loss,
                newton_steps=newton_steps,
                newton_tolerance=newton_tolerance,
            )
            for start in range(0, len(x), at_once)
        ]
        return torch.cat(pieces)

    g = gradient_at_input(value, leaf, retain_graph=True).double().flatten(1)
    jacobian = margin_jacobian(logits, leaf, y).double()
    q, s = error_probabilities(logits, y)
    coordinates = _conjugate_gradients(g, jacobian, q, s, newton_steps, newton_tolerance)
    direction = coordinates[:, :1] * g + (coordinates[:, None, 1:] @ jacobian).squeeze(1)
    return direction.view_as(x)


def _conjugate_gradients(g: Tensor, jacobian: Tensor, q: Tensor, s: Tensor, steps: int, tolerance: float) -> Tensor:
    """Coordinates (n, classes) of the solution in g and the rows of the Jacobian, the largest of modulus 1.

    The factor s of H is left out: it changes no direction, and it could underflow.
    """
    jacobian_gram, jacobian_g = jacobian @ jacobian.mT, (jacobian @ g.unsqueeze(2)).squeeze(2)
    root = curvature_root(q, s)
    flat = FLAT * largest_eigenvalue(jacobian_gram, root)
    to_jacobian = torch.cat([jacobian_g.unsqueeze(2), jacobian_gram], dim=2)
    first_row = torch.cat([g.square().sum(dim=1, keepdim=True), jacobian_g], dim=1)
    gram = torch.cat([first_row.unsqueeze(1), to_jacobian], dim=1)
    # H times a vector with these coordinates is a combination of the Jacobian's rows only.
    hessian = torch.cat([torch.zeros_like(first_row).unsqueeze(1), root @ (root.mT @ to_jacobian)], dim=1)

    only_g = torch.zeros_like(first_row).index_fill_(1, torch.zeros(1, dtype=torch.int64, device=g.device), 1.0)
    solution, residual, p = torch.zeros_like(only_g), only_g, only_g
    squared = _inner(gram, residual, residual)
    enough = tolerance**2 * squared
    going = squared > 0
    for _ in range(steps):
        hessian_p = (hessian @ p.unsqueeze(2)).squeeze(2)
        curvature = _inner(gram, p, hessian_p)
        going = going & (curvature > flat * _inner(gram, p, p))
        step = (squared / curvature).where(going, 0.0).unsqueeze(1)
        solution = solution + step * p
        residual = residual - step * hessian_p
        squared, before = _inner(gram, residual, residual), squared
        going = going & (squared > enough)
        p = residual + (squared / before).where(going, 0.0).unsqueeze(1) * p
    largest = solution.abs().amax(dim=1, keepdim=True)
    return (solution / largest).where((largest > 0) & largest.isfinite(), only_g)


def _inner(gram: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(1) @ gram @ b.unsqueeze(2)).flatten()
