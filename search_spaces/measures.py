"""Measures that `--probes` adds to any grid, beside the probes that it has: a name and the probes of a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from search_spaces.probe import LOSSES, AttackProbe, Loss, MinimalEpsilonProbe, Probe, SharpnessProbe
from search_spaces.trial import Trial

SHARPNESS_IMAGES = 1024
"""Training images of the measures of sharpness that take many passes. Source for adaptive sharpness: the default of the
code of Andriushchenko et al. 2023 (arXiv:2302.07011)."""

ADAPTIVE_RADIUS = 0.01
"""How much a weight may change, relative to its magnitude. Our choice, by small networks on digits. At a tenth of
this radius the rise is proportional to the radius, so it would measure only the gradient. At five times this radius the
loss rises by 0.2 nats."""


class Measure(NamedTuple):
    """What it is, in a line, and the probes that it asks of a trial, given the epsilons at which attacks are asked."""

    about: str
    ask: Callable[[Trial, Collection[float]], frozenset[Probe]]


def _attack(name: str, losses: tuple[Loss, ...]) -> Callable[[Trial, Collection[float]], frozenset[Probe]]:
    """An attack on the test set."""

    def ask(trial: Trial, epsilons: Collection[float]) -> frozenset[Probe]:
        return frozenset(AttackProbe(name, epsilon, loss) for epsilon in epsilons for loss in losses)

    return ask


def _sharpness(
    *measures: str, images: int = SHARPNESS_IMAGES, radius: float = 0.0
) -> Callable[[Trial, Collection[float]], frozenset[Probe]]:
    """Measures of sharpness on at most so many training images."""

    def ask(trial: Trial, epsilons: Collection[float]) -> frozenset[Probe]:
        return frozenset(SharpnessProbe(name, min(images, trial.train_size), radius=radius) for name in measures)

    return ask


MEASURES: dict[str, Measure] = {
    "apgd_ce": Measure("accuracy under auto-PGD, 100 steps on both losses", _attack("apgd_ce", LOSSES)),
    "apgd_t": Measure("accuracy under targeted auto-PGD, 100 steps towards each class", _attack("apgd_t", ("dlr",))),
    "minimal_epsilon": Measure(
        "smallest perturbation found of each test image, and the area under its curve",
        lambda trial, epsilons: frozenset({MinimalEpsilonProbe()}),
    ),
    "adaptive_sharpness": Measure(
        "largest rise of the loss when each weight changes by a percent, with and without normalised logits",
        _sharpness("adaptive_sharpness", "adaptive_sharpness_normalised", radius=ADAPTIVE_RADIUS),
    ),
    "relative_flatness": Measure(
        "relative flatness of the penultimate layer, on all training images",
        _sharpness("relative_flatness", images=2**31),
    ),
    "trace": Measure("trace of the Hessian, with its standard error", _sharpness("trace")),
    "density": Measure("density of the Hessian's eigenvalues", _sharpness("density")),
}
"""What `--probes NAME,NAME` may name. Attacks are asked at the headline epsilon, or at those of `--epsilons`."""
