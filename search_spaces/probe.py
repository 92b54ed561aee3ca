"""A probe: one question asked of trained weights, with the settings that fix its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]
Loss = Literal["ce", "stable"]

LOSSES: tuple[Loss, ...] = ("ce", "stable")
"""Every attack is asked twice: with float32 cross-entropy as published, and without its cancellation."""

LAMBDA1_TOLERANCE = 3e-3
"""Relative Lanczos residual for lambda1. The eigenvalue's error is of the order of the residual squared."""


@dataclass(frozen=True, order=True)
class AttackProbe:
    """Accuracy of the trained model under `attack` at `epsilon` (pixels in [0, 1]) on the whole `split`."""

    attack: str
    epsilon: float
    loss: Loss
    split: Split = "test"

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two attack probes of one trial apart; a stored answer carries the same fields."""
        return ("attack", self.attack, self.epsilon, self.loss, self.split)


@dataclass(frozen=True, order=True)
class SpectrumProbe:
    """The `count` Hessian eigenvalues of largest magnitude on the first `subset_size` images of `split`."""

    split: Split
    subset_size: int
    count: int = 1
    tolerance: float = LAMBDA1_TOLERANCE

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two spectrum probes of one trial apart; the tolerance is how well, not what, is asked."""
        return ("spectrum", self.split, self.subset_size, self.count)


Probe = AttackProbe | SpectrumProbe

HEADLINE_EPSILON: dict[str, float] = {
    "digits": 0.1,  # our choice: at MNIST's 0.3 these enlarged 8x8 scans leave nothing to measure
    "mnist": 0.3,  # natural-training paper (2020), section 3, Figures 1 and 2
    "fashion-mnist": 0.3,  # natural-training paper, section 3, Figures 3 and 6
    "cifar10": 0.02,  # natural-training paper, section 3, Figures 4 and 5
}
"""The epsilon of the headline columns `fgsm_acc` and `pgd_acc`, by data set, in units of pixels in [0, 1]."""


def is_headline(probe: Probe, dataset: str) -> bool:
    """Whether the headline columns of a row need this probe."""
    if isinstance(probe, SpectrumProbe):
        return probe.count == 1
    return probe.split == "test" and probe.epsilon == HEADLINE_EPSILON.get(dataset)
