"""The smallest max-norm perturbation found that makes a model misclassify an image: an upper bound on the smallest one.

Bisection over a projected sign-gradient attack. Every image has a ball of its own, and goes on to a smaller one as soon
as it is misclassified, to a larger one when its attacks have failed; settled images make room for others. Nothing is
drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks.evaluate import images_at_once
from study.attacks.inputs import check_split
from study.attacks.linf import PerImage, linf_ball_in_box, of_each
from study.attacks.losses import Loss, forward_backward, margins, stable_margins
from study.pixels import batches

STEPS = 20
"""Gradient steps of one attack: the first half on the stable loss, the second on the margin to the likeliest other
class, whose gradient points at one boundary."""

RESOLUTION = 1.005
"""An image is settled when the smallest ball that fooled it is at most this factor larger than one that did not."""

FIRST, LATER, DECAY, LEAST = 1.0, 0.5, 0.85, 0.02
"""Step sizes in radii of the ball: the first of an attack from the image itself, the first of one from an iterate, the
factor from step to step, and the smallest."""

GROWTH, SHRINKAGE = 1.5, 0.9
"""Factors of the radius while no ball that fools, or no ball that does not, is known."""

SMALLEST = 1e-6
"""The least first radius: that of an image on the boundary, whose logits tie, would be 0, which does not grow."""


@full_precision()
def minimal_epsilon(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int | None = None) -> Tensor:
    """The smallest max-norm distance at which each image of a split was misclassified, in [0, 1].

    It is the distance of a real adversarial image in [0, 1], so an upper bound: a better attack may find a smaller one.

    Args:
        model: in eval mode, maps pixels in [0, 1] to logits (n, classes). Batches are moved to its device and dtype.
        x: images (n, ...), uint8 in 0..255 or floating point in [0, 1].
        y: true classes (n,), int64.
        batch_size: images that begin at a time, while at most so many are not settled; default: as many as
            `study.attacks.evaluate.images_at_once` says.

    Returns:
        (n,), float32, on the CPU; 0 where the model is wrong without an attack, inf where no attack succeeded.

    Raises:
        ValueError: images, labels or model refused by `study.attacks.inputs`, or logits that are not finite.

    Source: our choice. The first radius is the distance to the boundary of the linearised model (Moosavi-Dezfooli et
        al. 2016, arXiv:1511.04599); what is minimised is that of the FMN attack (Pintor et al. 2021, arXiv:2102.12827).
    """
    check_split(model, x, y)
    size = images_at_once(model, x, y) if batch_size is None else batch_size
    result = torch.zeros(len(y))
    waiting, begun = batches(model, x, y, size), 0
    state, gradient = None, torch.empty(0)
    while True:
        few = state is None or len(state.place) <= size
        if few and (batch := next(waiting, None)) is not None:
            new, slope = _begin(model, *batch, first=begun)
            gradient = slope if state is None else torch.cat([gradient, slope])
            state = new if state is None else state.joined(new)
            begun += len(batch[1])
        elif state is None or not len(state.place):
            return result
        else:
            gradient, settled = _search(model, state, gradient)
            if settled.any():
                result[state.place[settled].cpu()] = state.high[settled].float().cpu()
                state, gradient = state.only(~settled), gradient[~settled]


@dataclass
class _State(PerImage):
    """The images that are not settled: each field has one entry an image."""

    place: Tensor
    x: Tensor
    y: Tensor
    now: Tensor  # the iterate
    best: Tensor  # the nearest misclassified iterate
    low: Tensor  # the largest radius at which the attacks failed
    high: Tensor  # the distance of `best`
    epsilon: Tensor  # the radius of the attack that is running
    step: Tensor  # its number of steps so far
    size: Tensor  # of the next step, in radii
    from_image: Tensor  # whether the attack that is running began at the image itself

    def joined(self, other: _State) -> _State:
        """The images of both."""
        return _State(*(torch.cat([getattr(self, one.name), getattr(other, one.name)]) for one in fields(self)))


def _pass(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Logits and the gradient of the loss; raises ValueError for logits that are not finite."""
    logits, _, gradient = forward_backward(model, x, y, loss)
    if not bool(logits.isfinite().all()):
        raise ValueError("the search met logits that are not finite: the weights have diverged")
    return logits, gradient


def _begin(model: nn.Module, x: Tensor, y: Tensor, *, first: int) -> tuple[_State, Tensor]:
    """The images of a batch that the model gets right, in balls that reach a linear model's boundary, and their
    gradients; `first` is the place of the batch in its split. Those that it gets wrong are settled, at 0.
    """
    logits, gradient = _pass(model, x, y, margins)
    place = (logits.argmax(dim=1) == y).nonzero().squeeze(1)
    x, y, gradient = x[place], y[place], gradient[place]
    slope = gradient.abs().flatten(1).sum(dim=1)
    zero, none = torch.zeros_like(slope), torch.full_like(slope, math.inf)
    linear = (1.1 * -margins(logits[place], y) / slope.clamp(min=1e-12)).clamp(SMALLEST, 1.0)
    state = _State(place + first, x, y, x, x, zero, none, linear, zero, torch.full_like(zero, FIRST), zero == 0)
    return state, gradient


def _search(model: nn.Module, state: _State, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """One step of every image; returns the gradients at the new iterates, and which images are settled."""
    _step(state, gradient)
    first_half = state.step <= STEPS / 2

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return torch.where(first_half, stable_margins(logits, y), margins(logits, y))

    logits, gradient = _pass(model, state.now, state.y, loss)
    return gradient, _bisect(state, fooled=logits.argmax(dim=1) != state.y)


def _step(state: _State, gradient: Tensor) -> None:
    """A sign step of each image from its iterate, both projected on its ball and on the box."""
    radius = of_each(state.epsilon, state.x)
    lower, upper = linf_ball_in_box(state.x, radius)
    moved = state.now.clamp(lower, upper) + of_each(state.size, state.x) * radius * gradient.sign()
    state.now = moved.clamp_(lower, upper)
    state.step, state.size = state.step + 1, (DECAY * state.size).clamp_(min=LEAST)


def _bisect(state: _State, fooled: Tensor) -> Tensor:
    """Note what the last step found and choose each image's next radius and iterate; returns which are settled."""
    distance = (state.now - state.x).abs().flatten(1).amax(dim=1)
    nearer = fooled & (distance < state.high)
    state.best = torch.where(of_each(nearer, state.x), state.now, state.best)
    state.high = torch.where(nearer, distance, state.high)
    bounded = state.high < math.inf
    over = ~fooled & (state.step >= STEPS)
    # Once an adversarial iterate is known, a radius counts as safe only after two attacks failed in it: one started
    # from the nearest such iterate, one from the clean image.
    failed = over & (state.from_image | ~bounded)
    again = over & ~failed
    state.low = torch.where(failed, state.epsilon, state.low)
    between = torch.where(state.low > 0, (state.low * state.high).sqrt(), SHRINKAGE * state.high)
    following = torch.where(bounded, between, (GROWTH * state.epsilon).clamp(max=1.0))
    settled = (bounded & (state.high <= RESOLUTION * state.low)) | (failed & ~bounded & (state.epsilon >= 1))
    settled |= fooled & ~nearer  # in a smaller ball, so the distances differ by less than rounding
    state.epsilon = torch.where(fooled | failed, following, state.epsilon)
    state.now = torch.where(of_each(failed & bounded, state.x), state.best, state.now)
    state.now = torch.where(of_each(again, state.x), state.x, state.now)
    state.size = torch.where(again, FIRST, torch.where(fooled | over, LATER, state.size))
    state.step = torch.where(fooled | over, 0, state.step)
    state.from_image = torch.where(fooled | over, again, state.from_image)
    return settled
