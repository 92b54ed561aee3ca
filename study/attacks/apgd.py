"""Auto-PGD (Croce and Hein 2020, arXiv:2003.01690): PGD in the max-norm with momentum that chooses its own step sizes.

Once an image is misclassified it is settled and left out of the steps that follow. This changes no other image, and the
predictions are those of the authors' code, which goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks.linf import PerImage, linf_ball_in_box, of_each
from study.attacks.losses import Loss, forward_backward, targeted_logit_ratios
from study.autograd import FIRST_CHECK, INERTIA, RISING, SHORTER, SHORTEST

APGD_STEPS = 100
"""Section 4 of the paper: 100 iterations."""

TARGETS = 9
"""Most classes that the targeted attack aims at, as in the authors' code: all other classes of a set of ten."""

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits, classes (n, k): the true class and, of a targeted attack, the target) -> (n,), the values to raise."""


def apgd_step_size(epsilon: float, steps: int) -> float:
    """Size of the first step; it is halved where the loss does not rise."""
    return 2 * epsilon


@full_precision()
def apgd_ce(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
    steps: int = APGD_STEPS,
    start: Tensor | None = None,
) -> Tensor:
    """Auto-PGD on the given loss, from one random start.

    Args:
        model, x, y, epsilon, loss: as in `study.attacks.linf.fgsm`.
        generator: draws the start as for `study.attacks.linf.pgd`, then scaled so that a pixel moves by epsilon.
        steps: number of gradient steps.
        start: the first iterate, of the shape of x; given, it replaces the random start.

    Returns:
        The first misclassified iterate of each image, else the one of largest loss; an image that the model gets wrong
        without an attack stays as it is.

    Raises:
        ValueError: neither a start nor a generator.

    Source: Croce and Hein 2020 (arXiv:2003.01690), Algorithm 1; the authors' APGD-CE for the loss `ce`.
    """
    x = x.detach()
    start = _random_start(x, epsilon, generator) if start is None else start

    def objective(logits: Tensor, classes: Tensor) -> Tensor:
        return loss(logits, classes[:, 0])

    with torch.no_grad():
        right = model(x).argmax(dim=1) == y
    result = x.clone()
    result[right], _ = _ascend(model, x[right], y[right].unsqueeze(1), objective, start[right], epsilon, steps)
    return result


@full_precision()
def apgd_t(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    loss: Loss,
    generator: torch.Generator | None = None,
    steps: int = APGD_STEPS,
    start: Tensor | None = None,
) -> Tensor:
    """Auto-PGD towards each of the nine likeliest wrong classes in turn, until one succeeds.

    Its loss is the targeted difference of logits ratio, whatever `loss` is. All targets share one random start, so that
    it does not depend on how images are batched; the authors draw one for each (our choice). Other arguments, result
    and errors as in `apgd_ce`.

    Source: Croce and Hein 2020 (arXiv:2003.01690), section 4: APGD-T on the DLR loss, equation (7).
    """
    x = x.detach()
    start = _random_start(x, epsilon, generator) if start is None else start

    def objective(logits: Tensor, classes: Tensor) -> Tensor:
        return targeted_logit_ratios(logits, classes[:, 0], classes[:, 1])

    with torch.no_grad():
        logits = model(x)
    left = (logits.argmax(dim=1) == y).nonzero().squeeze(1)
    likeliest = logits.argsort(dim=1, descending=True)[:, 1 : TARGETS + 1]
    result = x.clone()
    for target in likeliest.unbind(1):
        if not len(left):
            break
        classes = torch.stack([y[left], target[left]], dim=1)
        result[left], fooled = _ascend(model, x[left], classes, objective, start[left], epsilon, steps)
        left = left[~fooled]
    return result


def _random_start(x: Tensor, epsilon: float, generator: torch.Generator | None) -> Tensor:
    """A uniform direction whose largest pixel moves by epsilon, as in the authors' code; not yet clipped to the box."""
    if generator is None:
        raise ValueError("auto-PGD needs a start or a generator: pass generator=torch.Generator().manual_seed(0)")
    drawn = 2 * torch.rand(x.shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device) - 1
    return x + epsilon * drawn / of_each(drawn.flatten(1).abs().amax(dim=1), x)


@dataclass
class _State(PerImage):
    """The images that are not misclassified yet: each field has one entry an image."""

    place: Tensor
    classes: Tensor
    lower: Tensor
    upper: Tensor
    x: Tensor
    before: Tensor
    gradient: Tensor
    value: Tensor
    step: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    best_at_check: Tensor
    rises: Tensor
    halved: Tensor


def _ascend(
    model: nn.Module, x: Tensor, classes: Tensor, objective: Objective, start: Tensor, epsilon: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 for images that the model gets right: what became of them, and which are misclassified now."""
    result, fooled = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if not len(x):
        return result, fooled
    lower, upper = linf_ball_in_box(x, epsilon)
    current = start.detach().clamp(lower, upper)
    right, value, gradient = _measured(model, current, classes, objective)
    zero = torch.zeros_like(value)
    state = _State(
        place=torch.arange(len(x), device=x.device),
        classes=classes,
        lower=lower,
        upper=upper,
        x=current,
        before=current,
        gradient=gradient,
        value=zero,  # the authors' code compares the loss after the first step with 0, not with the loss of the start
        step=torch.full_like(value, apgd_step_size(epsilon, steps)),
        best=current,
        best_gradient=gradient,
        best_value=value,
        best_at_check=value,
        rises=zero,
        halved=torch.ones_like(right),
    )
    interval, since = max(FIRST_CHECK * steps // 100, 1), 0
    for number in range(steps):
        if not right.all():
            settled = state.place[~right]
            result[settled], fooled[settled] = state.x[~right], True
            state = state.only(right)
        if not len(state.place):
            return result, fooled
        state.x, state.before = _moved(state, share=INERTIA if number else 1.0), state.x
        right, value, state.gradient = _measured(model, state.x, state.classes, objective)
        state.rises = state.rises + (value > state.value)
        state.value = value
        higher = value > state.best_value
        state.best = torch.where(of_each(higher, x), state.x, state.best)
        state.best_gradient = torch.where(of_each(higher, x), state.gradient, state.best_gradient)
        state.best_value = torch.where(higher, value, state.best_value)
        since += 1
        if since == interval:
            _check_steps(state, interval, right)
            shorter, shortest = max(SHORTER * steps // 100, 1), max(SHORTEST * steps // 100, 1)
            interval, since = max(interval - shorter, shortest), 0
    result[state.place] = torch.where(of_each(right, x), state.best, state.x)
    fooled[state.place] = ~right
    return result, fooled


def _measured(model: nn.Module, x: Tensor, classes: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each image is classified correctly, its value and the gradient of that."""
    logits, values, gradient = forward_backward(model, x, classes, objective)
    return logits.argmax(dim=1) == classes[:, 0], values, gradient


def _moved(state: _State, share: float) -> Tensor:
    """Equation (2): a projected sign step, of which a `share` is taken, and the rest of the movement before it."""
    goal = state.x + of_each(state.step, state.x) * state.gradient.sign()
    goal = goal.clamp_(state.lower, state.upper)
    moved = state.x + (goal - state.x) * share + (state.x - state.before) * (1 - share)
    return moved.clamp_(state.lower, state.upper)


def _check_steps(state: _State, interval: int, right: Tensor) -> None:
    """Section 3: halve the step of images whose loss seldom rose, or whose best loss has not risen since the last
    check without a halving then, and start them again from their best iterate. Misclassified images stay as they are.
    """
    stuck = ~state.halved & (state.best_at_check >= state.best_value)
    halve = (state.rises <= RISING * interval) | stuck
    state.step = torch.where(halve, state.step / 2, state.step)
    again = of_each(halve & right, state.x)
    state.x = torch.where(again, state.best, state.x)
    state.gradient = torch.where(again, state.best_gradient, state.gradient)
    state.halved, state.best_at_check, state.rises = halve, state.best_value, torch.zeros_like(state.rises)
