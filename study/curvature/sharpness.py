"""Measures of sharpness: how much the loss rises when the weights of a trained network change.

Rescaling one layer of a ReLU network by a factor and the next by its inverse changes no output, but every eigenvalue of
the Hessian (Dinh et al. 2017, arXiv:1703.04933). `adaptive_sharpness` and `relative_flatness` stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.arithmetic import full_precision
from study.autograd import FIRST_CHECK, INERTIA, RISING, SHORTER, SHORTEST, call_with
from study.curvature.inputs import check, pieces, trainable
from study.curvature.operator import HessianOperator, NotFiniteError
from study.curvature.stochastic import spectral_density, trace
from study.pixels import batches

ADAPTIVE_BATCH, ADAPTIVE_STEPS = 128, 20
"""Images whose loss one change of the weights raises (the m of m-sharpness), and steps of the search for it. Source:
the defaults of the code of Andriushchenko et al. 2023 (arXiv:2302.07011)."""


@dataclass(frozen=True)
class Settings:
    """What measures need besides a model and data: each reads its own part.

    Attributes:
        generator: draws the random vectors of traces and densities.
        radius: of adaptive sharpness, relative to each weight.
        memory_fraction: share of the free memory that may be used, such as a trial's share of its GPU.
    """

    generator: torch.Generator
    radius: float = 0.0
    memory_fraction: float = 1.0


@dataclass(frozen=True)
class Sharpness:
    """What a measure found; NaN for a network that is not finite or has no such number. A density is in `nodes` and
    `weights` instead.
    """

    value: float | None
    standard_error: float | None = None
    nodes: list[float] | None = None
    weights: list[float] | None = None


def adaptive_sharpness(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    normalise_logits: bool = False,
    batch_size: int = ADAPTIVE_BATCH,
    steps: int = ADAPTIVE_STEPS,
) -> float:
    """The largest rise of the loss when every weight changes by at most `radius` times its own magnitude.

        mean over batches B of  max { L_B(w + |w| s) - L_B(w) :  |s_i| <= radius }

    Worst-case, elementwise adaptive sharpness in the linf norm (Kwon et al. 2021, arXiv:2102.11600; Andriushchenko et
    al. 2023, arXiv:2302.07011). The maximum is searched by Auto-PGD on s (Croce and Hein 2020,
    arXiv:2003.01690, Algorithm 1), which starts at s = 0, so the value is a lower bound, and never negative.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes). It is not changed.
        x: inputs (N, ...), uint8 (scaled to [0, 1]) or floating point.
        y: labels (N,), integers.
        radius: rho, relative to each weight.
        normalise_logits: divide the logits of each input by their standard deviation over the classes, as
            Andriushchenko et al. do: then the value does not depend on how confident the network is.
        batch_size: inputs whose maximum is searched together; the last batch may be smaller and weighs less.
        steps: of the search for each batch, which takes one gradient more.

    Returns:
        The rise in nats; NaN for a network whose output is not finite.

    Raises:
        ValueError: for a model in training mode, data that does not fit, or a radius or number that is not positive.
    """
    check(model, x, y)
    if not radius > 0 or batch_size < 1 or steps < 1:
        raise ValueError(f"radius, batch_size and steps must be positive, got {radius}, {batch_size}, {steps}")
    parameters = trainable(model)
    weights = torch.cat([p.detach().reshape(-1) for p in parameters.values()])
    total = 0.0
    for inputs, labels in batches(model, x, y, batch_size):

        def loss(theta: Tensor, inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            logits = call_with(model, pieces(theta, parameters), inputs)
            if normalise_logits:
                logits = logits / logits.std(dim=1, correction=0, keepdim=True)
            return functional.cross_entropy(logits.double(), labels)

        with full_precision(), torch.enable_grad():
            total += len(labels) * largest_rise(loss, weights, radius=radius, steps=steps)
    return total / len(x)


def largest_rise(loss: Callable[[Tensor], Tensor], weights: Tensor, *, radius: float, steps: int) -> float:
    """The largest loss(w + |w| s) - loss(w), |s_i| <= radius, that `steps` steps of Auto-PGD find; NaN if not finite.

    Algorithm 1 of Croce and Hein 2020 (arXiv:2003.01690) as printed. A step counts as rising if its loss exceeds that
    of the iterate it started from. After a halving that iterate is the best one so far. The attack in
    `study.attacks.apgd` follows their code, which compares with the last loss instead, rounds the checkpoints down and
    keeps its movement when it goes back to the best.

    Args:
        loss: of weights (dim,), differentiable.
        weights: w, shape (dim,).
        radius: bound on each |s_i|.
        steps: of the search, which takes one gradient more.
    """
    size = weights.abs()
    here = before = best = torch.zeros_like(weights)
    step = 2 * radius
    checkpoints, rises, checked, checked_step, checked_highest = _checkpoints(steps), 0, 0, step, -math.inf
    first = highest = previous = -math.inf
    for number in range(steps + 1):
        theta = (weights + size * here).requires_grad_()
        value = loss(theta)
        (gradient,) = torch.autograd.grad(value, theta)
        if not value.isfinite():
            return math.nan
        if number == 0:
            first = value.item()
        else:
            rises += value.item() > previous
        previous = value.item()
        if previous > highest:
            highest, best, best_gradient = previous, here, gradient
        if number in checkpoints:
            stalled = step == checked_step and highest == checked_highest
            checked_step, checked_highest = step, highest
            if rises < RISING * (number - checked) or stalled:
                step, here, before, gradient, previous = step / 2, best, best, best_gradient, highest
            rises, checked = 0, number
        towards = (here + step * gradient.sign()).clamp_(-radius, radius)
        moved = here + INERTIA * (towards - here) + (1 - INERTIA) * (here - before) if number else towards
        here, before = moved.clamp_(-radius, radius), here
    return highest - first


def _checkpoints(steps: int) -> set[int]:
    """The steps after which Auto-PGD may halve its step size (Croce and Hein 2020, section 3)."""
    places, length = [FIRST_CHECK], FIRST_CHECK
    while places[-1] < 100:
        length = max(length - SHORTER, SHORTEST)
        places.append(places[-1] + length)
    return {-(-place * steps // 100) for place in places}


def relative_flatness(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Relative flatness of the penultimate layer's features, in closed form; smaller is flatter.

        kappa = sum_{s, s'} <w_s, w_s'> Tr H_{s, s'}
              = mean over inputs of  |phi|^2 (1/2) sum_{c, c'} p_c p_c' |w_c - w_c'|^2

    phi are the features that the last linear layer maps to the logits W phi + b, w_s the rows of W, and H_{s, s'} the
    blocks of the Hessian of the mean cross-entropy in W, whose closed form gives the right-hand side. No term is
    negative, so nothing cancels for a confident network.

    Source: Petzka et al. 2021 (arXiv:2001.00939), there kappa_Tr^phi(w).

    Args:
        model, x, y: as in `adaptive_sharpness`. Labels do not matter: the Hessian in W does not depend on them.

    Returns:
        kappa; NaN where the logits are not the output of an `nn.Linear`, or not finite.

    Raises:
        ValueError: for a model in training mode, or data that does not fit.
    """
    check(model, x, y)
    found: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def remember(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[:] = [(layer, inputs[0], output)]

    hooks = [m.register_forward_hook(remember) for m in model.modules() if isinstance(m, nn.Linear)]
    some = next(model.parameters())
    products = torch.zeros((), dtype=torch.float64, device=some.device)
    try:
        with torch.no_grad(), full_precision():
            for inputs, _ in batches(model, x, y):
                found.clear()
                logits = model(inputs)
                if not (found and (torch.equal(found[0][2], logits) or not logits.isfinite().all())):
                    return math.nan
                layer, features, _ = found[0]
                p = logits.double().softmax(1)
                products = products + (p * features.double().square().sum(1, keepdim=True)).T @ p
    finally:
        for hook in hooks:
            hook.remove()
    rows = layer.weight.detach().double()
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    return float((products * distances).sum()) / (2 * len(x))


def batch_sharpness(
    model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int, most: int, memory_fraction: float = 1.0
) -> float:
    """Mean over minibatches of the curvature g' H g / |g|^2 of a minibatch's own loss along its own gradient.

    SGD stabilises it, rather than the top eigenvalue, at 2 over the rate (Andreyev and Beneventano 2024,
    arXiv:2412.20553, Batch Sharpness). Minibatches are consecutive inputs, at most `most` of them; without a whole one,
    all inputs are one. `memory_fraction` is that of `HessianOperator`; other arguments as in `adaptive_sharpness`.
    """
    size = min(batch_size, len(x))
    curvatures, chunk_size = [], None
    for start in list(range(0, len(x) - size + 1, size))[:most]:
        batch = slice(start, start + size)
        operator = HessianOperator(model, x[batch], y[batch], chunk_size=chunk_size, memory_fraction=memory_fraction)
        chunk_size = operator.chunk_size  # on a GPU it is found by a gradient, for all minibatches once
        gradient = operator.gradient()
        norm = gradient.norm()
        direction = gradient / norm if norm > 0 else gradient
        curvatures.append(torch.dot(direction, operator.matvec(direction)))
    return float(torch.stack(curvatures).mean())


def _adaptive(model: nn.Module, x: Tensor, y: Tensor, settings: Settings, *, normalise_logits: bool) -> Sharpness:
    return Sharpness(adaptive_sharpness(model, x, y, radius=settings.radius, normalise_logits=normalise_logits))


def _relative_flatness(model: nn.Module, x: Tensor, y: Tensor, settings: Settings) -> Sharpness:
    return Sharpness(relative_flatness(model, x, y))


def _trace(model: nn.Module, x: Tensor, y: Tensor, settings: Settings) -> Sharpness:
    hessian = HessianOperator(model, x, y, memory_fraction=settings.memory_fraction)
    generator, dtype, device = settings.generator, hessian.dtype, hessian.device
    found = trace(hessian.matvec, hessian.dim, generator=generator, basis_dtype=dtype, device=device)
    return Sharpness(found.value, found.standard_error)


def _density(model: nn.Module, x: Tensor, y: Tensor, settings: Settings) -> Sharpness:
    hessian = HessianOperator(model, x, y, memory_fraction=settings.memory_fraction)
    generator, dtype, device = settings.generator, hessian.dtype, hessian.device
    found = spectral_density(hessian.matvec, hessian.dim, generator=generator, basis_dtype=dtype, device=device)
    return Sharpness(None, nodes=found.nodes, weights=found.weights)


SHARPNESS: Mapping[str, Callable[[nn.Module, Tensor, Tensor, Settings], Sharpness]] = {
    "adaptive_sharpness": partial(_adaptive, normalise_logits=False),
    "adaptive_sharpness_normalised": partial(_adaptive, normalise_logits=True),
    "relative_flatness": _relative_flatness,
    "trace": _trace,
    "density": _density,
}
"""Measures of sharpness by name: `measure(model, x, y, settings) -> Sharpness`."""


def measure_sharpness(name: str, model: nn.Module, x: Tensor, y: Tensor, settings: Settings) -> Sharpness:
    """The measure `name` of a model on inputs x with labels y; NaN where `Sharpness` says so.

    Raises:
        ValueError: an unknown measure; also as the measure itself.
    """
    if name not in SHARPNESS:
        raise ValueError(f"measure must be one of {', '.join(SHARPNESS)}, got {name!r}")
    try:
        return SHARPNESS[name](model, x, y, settings)
    except NotFiniteError:
        return Sharpness(math.nan)
