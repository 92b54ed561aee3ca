"""The loss around trained weights: along a line, over a plane, and between the weights of two networks.

The model is never changed: each loss is computed by a functional call with other weights. Losses are mean
cross-entropies in nats, with logits in the parameters' dtype, losses and sums in float64, and the model in eval mode.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.arithmetic import full_precision
from study.autograd import call_with
from study.curvature.inputs import check, pieces, trainable
from study.pixels import batches

LINE_OFFSETS: tuple[float, ...] = tuple(k / 40 for k in range(-20, 21))
"""Distances along a unit direction: 41 from -.5 to .5. Source: Yao et al. 2018 (arXiv:1802.08241), Figures 2, 6, 8, 12
and 13, whose captions give no range. The range is that of the tutorial of the authors' later library (PyHessian,
arXiv:1912.07145). Our choice: twice as many points, so that a sharp minimum is visible on the log axis."""

PLANE_OFFSETS: tuple[float, ...] = tuple(k / 20 for k in range(-10, 11))
"""The same range on each axis of the plane of Figures 3, 7 and 9: 21, so 441 losses. Our choice."""

INTERPOLATION_FRACTIONS: tuple[float, ...] = tuple(k / 20 for k in range(-5, 26))
"""31 from -.25 to 1.25. Source: Yao et al. 2018, Figures 4 and 10, from the original (0) to the robust model (1). Our
choice: a quarter beyond both ends, to show the curvature at the ends, which the figures compare."""

LENGTH_TOLERANCE = 1e-4
"""How far from 1 a direction's length may be; that of a float32 eigenvector is off by less than 1e-6."""


def line(model: nn.Module, direction: Tensor, offsets: Sequence[float], x: Tensor, y: Tensor) -> Tensor:
    """Loss at theta + offset * direction, where theta are the model's trainable parameters.

    Source: Yao et al. 2018 (arXiv:1802.08241), Figures 2, 6 and 8, with the top eigenvector of the Hessian on the
    training set as direction, and Figures 12 and 13, with that of the Hessian on 320 images.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes).
        direction: shape (dim,), of length 1, in the order of the trainable `model.parameters()`.
        offsets: k distances from theta; 0 is the model itself.
        x: inputs (N, ...): uint8 in 0..255, scaled to [0, 1] chunk by chunk, or floating point, used as given.
        y: labels (N,), integers.

    Returns:
        Losses in nats, shape (k,), float64, on the CPU; not finite where the network is not.

    Raises:
        ValueError: for a model in training mode, data that does not fit, or a direction of another shape or length.
    """
    step = _unit_direction(model, direction, "direction")
    return torch.stack([_loss(model, _moved(model, offset * step), x, y) for offset in offsets])


def plane(
    model: nn.Module,
    first: Tensor,
    second: Tensor,
    offsets: Sequence[float],
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """Loss at theta + offset_i * first + offset_j * second. Source: Yao et al. 2018, Figures 3, 7 and 9.

    The two directions have length 1 and are orthogonal, like the first two eigenvectors. Other arguments and errors as
    in `line`.

    Returns:
        Losses in nats, shape (k, k), float64, on the CPU: entry (i, j) is at offset i along `first`, j along `second`.

    Raises:
        ValueError: also for directions that are not orthogonal.
    """
    along, across = _unit_direction(model, first, "first"), _unit_direction(model, second, "second")
    cosine = torch.dot(along, across).item()
    if abs(cosine) > LENGTH_TOLERANCE:
        raise ValueError(f"the two directions must be orthogonal, their inner product is {cosine:.3g}")
    losses = [_loss(model, _moved(model, a * along + b * across), x, y) for a in offsets for b in offsets]
    return torch.stack(losses).view(len(offsets), len(offsets))


def interpolation(
    model: nn.Module,
    other_state: Mapping[str, Tensor],
    fractions: Sequence[float],
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """Loss at (1 - t) theta + t theta_other. Source: Yao et al. 2018, Figures 4 and 10 (t is their lambda).

    Every floating-point entry of the state is interpolated, including the running means and variances of batch
    normalization, so that t = 0 and t = 1 are exactly the two networks. A variance that would be negative beyond the
    ends is set to 0. Integer entries (counts of batches) are not used in eval mode and are those of the model. This is
    our choice: the paper interpolates models without batch normalization (C3 and M1).

    Args:
        other_state: the `state_dict` of the network at t = 1: same names, same shapes.
        fractions: k values of t; 0 is the model itself, 1 the other network; other values extrapolate.
        model, x, y: as in `line`.

    Returns:
        Losses in nats, shape (k,), float64, on the CPU; not finite where the network is not.

    Raises:
        ValueError: for a model in training mode, data that does not fit, or a state of another network.
    """
    ours = model.state_dict()
    different = sorted(set(ours) ^ set(other_state)) or [n for n in ours if ours[n].shape != other_state[n].shape]
    if different:
        raise ValueError(f"other_state is not of this network: {different[0]} is missing from one or has another shape")
    return torch.stack([_loss(model, _between(ours, other_state, t), x, y) for t in fractions])


def _unit_direction(model: nn.Module, direction: Tensor, name: str) -> Tensor:
    parameters = list(trainable(model).values())
    dim = sum(p.numel() for p in parameters)
    if direction.shape != (dim,):
        raise ValueError(f"{name} must have shape ({dim},), one entry a parameter, got {tuple(direction.shape)}")
    direction = direction.detach().to(parameters[0].device, torch.float64)
    length = direction.norm().item()
    if not abs(length - 1) <= LENGTH_TOLERANCE:
        raise ValueError(f"{name} must have length 1, got {length:.6g}: divide it by its norm")
    return direction


def _moved(model: nn.Module, step: Tensor) -> dict[str, Tensor]:
    """The trainable parameters plus `step`, by name; added in float64 and rounded once."""
    parameters = trainable(model)
    steps = pieces(step, parameters)
    return {name: (p.detach().double() + steps[name]).to(p.dtype) for name, p in parameters.items()}


def _between(ours: Mapping[str, Tensor], others: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    between = {}
    for name, a in ours.items():
        if a.is_floating_point():
            b = others[name].to(a.device, torch.float64)
            mixed = (1 - t) * a.detach().double() + t * b
            between[name] = (mixed.clamp(min=0) if name.endswith("running_var") else mixed).to(a.dtype)
    return between


@torch.no_grad()
def _loss(model: nn.Module, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the model with these weights: a float64 scalar on the CPU."""
    check(model, x, y)
    some = next(iter(weights.values()))
    total = torch.zeros((), dtype=torch.float64, device=some.device)
    with full_precision():
        for inputs, labels in batches(model, x, y):
            logits = call_with(model, weights, inputs)
            total += functional.cross_entropy(logits.double(), labels, reduction="sum")
    return total.cpu() / len(y)
