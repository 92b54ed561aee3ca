"""Measures that `--probes` adds to any grid, beside the probes that it has: a name and the probes of a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from search_spaces.probe import LOSSES, AttackProbe, Loss, MinimalEpsilonProbe, Probe
from search_spaces.trial import Trial


class Measure(NamedTuple):
    """What it is, in a line, and the probes that it asks of a trial, given the epsilons at which attacks are asked."""

    about: str
    ask: Callable[[Trial, Collection[float]], frozenset[Probe]]


def _attack(name: str, losses: tuple[Loss, ...]) -> Callable[[Trial, Collection[float]], frozenset[Probe]]:
    """An attack on the test set."""

    def ask(trial: Trial, epsilons: Collection[float]) -> frozenset[Probe]:
        return frozenset(AttackProbe(name, epsilon, loss) for epsilon in epsilons for loss in losses)

    return ask


MEASURES: dict[str, Measure] = {
    "apgd_ce": Measure("accuracy under auto-PGD, 100 steps on both losses", _attack("apgd_ce", LOSSES)),
    "apgd_t": Measure("accuracy under targeted auto-PGD, 100 steps towards each class", _attack("apgd_t", ("dlr",))),
    "minimal_epsilon": Measure(
        "smallest perturbation found of each test image, and the area under its curve",
        lambda trial, epsilons: frozenset({MinimalEpsilonProbe()}),
    ),
}
"""What `--probes NAME,NAME` may name. Attacks are asked at the headline epsilon, or at those of `--epsilons`."""
