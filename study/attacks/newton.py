"""The Newton direction H^-1 g of each image's cross-entropy, by conjugate gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.attacks.losses import Loss
from study.autograd import curvature_root, error_probabilities, largest_eigenvalue, margin_jacobian

NEWTON_STEPS = 10
"""Conjugate-gradient iterations at most. Our choice: Yao et al. 2018 state none; the rank is classes - 1 at most."""

NEWTON_TOLERANCE = 0.1
"""Residual ||H v - g|| / ||g|| at which they stop. Our choice, as above: a tenth decides nearly every sign."""

FLAT = 1e-12
"""A direction p with p'Hp <= FLAT lambda1 ||p||^2 is one along which H is 0 up to rounding: iterations stop there."""

MEMORY_BYTES = 2**28
"""For the margins' Jacobian and its float64 copy: 700 CIFAR-10 or 70 CIFAR-100 images."""


def check_newton(newton_steps: int, newton_tolerance: float) -> None:
    """Refuse, with ValueError, steps that are no whole number from 1 up or a tolerance outside (0, 1)."""
    if not isinstance(newton_steps, int) or newton_steps < 1:
        raise ValueError(f"newton_steps must be a whole number of at least 1, not {newton_steps!r}")
    if not 0 < newton_tolerance < 1:
        raise ValueError(f"newton_tolerance must be in (0, 1), a relative residual, not {newton_tolerance!r}")


def newton_direction(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss,
    newton_steps: int = NEWTON_STEPS,
    newton_tolerance: float = NEWTON_TOLERANCE,
    memory_bytes: int = MEMORY_BYTES,
) -> Tensor:
    """A positive multiple of H^-1 g for each image, by conjugate gradients from 0.

    g is the gradient of `loss`, as autograd gives it. H is the input Hessian of the cross-entropy whatever the
    loss; as the stable loss has the gradient of cross-entropy up to a positive factor an image, both have the same
    Newton direction in exact arithmetic. H is applied as J'AJ (see `study.autograd`): exact for piecewise-linear
    networks, the Gauss-Newton matrix for others. It is singular, so this is the pseudo-inverse where g is in its range.
    Solved exactly it raises the margins of all wrong classes alike, whatever their probabilities; a loose tolerance
    keeps to the probable ones, as g does.

    All iterates lie in the span of g and of the classes - 1 rows of the margins' Jacobian. They are kept as
    coordinates in it, with the inner products of those vectors in float64, so that iterations cost nothing beside the
    classes backward passes. After one iteration the direction is g itself. Tolerances of .01 and below may take more
    than classes - 1 iterations, H being ill-conditioned; those below 1e-7 drown in rounding.

    Args:
        model: maps pixels to logits (n, classes), each image by itself (batch normalization in eval mode).
        x: images (n, ...), on the model's device and in its dtype.
        y: true classes (n,), int64.
        loss: summed loss that g is taken of.
        newton_steps: iterations at most.
        newton_tolerance: residual ||H v - g|| / ||g|| at which an image is done.
        memory_bytes: images are taken in pieces whose Jacobian and its float64 copy fit.

    Returns:
        Directions of the shape of x, float64. Exactly 0 where g is; g where H has no curvature along it.

    Raises:
        ValueError: bad settings, or a model that cuts the graph between its input and its logits.
    """
    check_newton(newton_steps, newton_tolerance)
    leaf = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        value = loss(logits, y)
    at_once = max(1, memory_bytes // (logits.shape[1] * x[0].numel() * (x.element_size() + 8)))
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
                memory_bytes=memory_bytes,
            )
            for start in range(0, len(x), at_once)
        ]
        return torch.cat(pieces)

    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError("no gradient reaches the input: remove detach() or no_grad() from the model's forward")
    g = gradient.double().flatten(1)
    jacobian = margin_jacobian(logits, leaf, y).double()
    q, s = error_probabilities(logits, y)
    coordinates = _conjugate_gradients(g, jacobian, q, s, newton_steps, newton_tolerance)
    direction = coordinates[:, :1] * g + (coordinates[:, None, 1:] @ jacobian).squeeze(1)
    return direction.view_as(x)


def _conjugate_gradients(g: Tensor, jacobian: Tensor, q: Tensor, s: Tensor, steps: int, tolerance: float) -> Tensor:
    """Coordinates (n, classes) of the solution in g and the rows of the Jacobian, the largest of modulus 1.

    The factor s of H is left out, as a scale that changes no direction and would underflow.
    """
    jacobian_gram, jacobian_g = jacobian @ jacobian.mT, (jacobian @ g.unsqueeze(2)).squeeze(2)
    root = curvature_root(q, s)
    flat = FLAT * largest_eigenvalue(jacobian_gram, root)
    to_jacobian = torch.cat([jacobian_g.unsqueeze(2), jacobian_gram], dim=2)
    first_row = torch.cat([g.square().sum(dim=1, keepdim=True), jacobian_g], dim=1)
    gram = torch.cat([first_row.unsqueeze(1), to_jacobian], dim=1)
    # H times (a vector of these coordinates) is a combination of the Jacobian's rows alone.
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
