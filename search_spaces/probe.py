"""A probe: one measurement of a trained network, with the settings that determine its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]
Loss = Literal["ce", "stable", "dlr"]
Source = Literal["self", "parent"]
Landscape = Literal["line", "plane", "interpolation"]

LOSSES: tuple[Loss, ...] = ("ce", "stable")
"""Every attack is run twice: on float32 cross-entropy as published, and on a form of it without cancellation. Targeted
auto-PGD (`apgd_t`) has a loss of its own, `dlr`."""

LAMBDA1_TOLERANCE = 3e-3
"""Relative Lanczos residual for lambda1. The eigenvalue's error is of the order of the residual squared."""

PGD_STEPS = 40
"""As published: 40 steps of epsilon / 30, which cannot cross the ball, so that PGD can be weaker than FGSM. Any other
number of steps can (`study.attacks.linf.pgd_step_size`)."""


@dataclass(frozen=True, order=True)
class AttackProbe:
    """Accuracy of the trained model under `attack` at `epsilon` (pixels in [0, 1]) on the whole `split`.

    With source `parent` the adversarial images are made with the parent's weights (transfer), else with the trial's
    own. `steps` is a setting of PGD only; all other attacks, those of study files too, have their own.

    Raises:
        ValueError: an epsilon outside (0, 1], also of an attack in the 2-norm, or `steps` of another attack than PGD.
    """

    attack: str
    epsilon: float
    loss: Loss
    split: Split = "test"
    source: Source = "self"
    steps: int = PGD_STEPS

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise ValueError(f"epsilon of {self.attack} must be in (0, 1], got {self.epsilon!r} (8/255, not 8)")
        if self.attack != "pgd" and self.steps != PGD_STEPS:
            raise ValueError(f"a probe of the attack {self.attack} cannot state steps")

    @property
    def settings(self) -> dict[str, float]:
        """The settings that the attack takes from the probe, by name."""
        return {"steps": self.steps} if self.attack == "pgd" else {}

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it among the attack probes of a trial; a stored result has the same fields."""
        return ("attack", self.attack, self.epsilon, self.loss, self.split, self.source, self.steps)


@dataclass(frozen=True, order=True)
class SpectrumProbe:
    """The `count` Hessian eigenvalues of largest magnitude on `subset_size` images of `split`.

    A subset is drawn at random; `draw` numbers the draws of one size.
    """

    split: Split
    subset_size: int
    count: int = 1
    tolerance: float = LAMBDA1_TOLERANCE
    draw: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it among the spectrum probes of a trial. The tolerance is not part of it: a spectrum that was
        computed to another tolerance is not computed again.
        """
        return ("spectrum", self.split, self.subset_size, self.count, self.draw)


@dataclass(frozen=True, order=True)
class InputCurvatureProbe:
    """Mean over `split` of the input Hessian's top eigenvalue and of the norm of the input gradient."""

    split: Split

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it among those of a trial."""
        return ("input_curvature", self.split)


@dataclass(frozen=True, order=True)
class InputHessianProbe:
    """Whether the whole input Hessian is positive semidefinite and of rank below the number of classes, in float64,
    on the first `samples` test images (Yao et al. 2018, Theorem 2.1 and Proposition 2.2).
    """

    samples: int = 4

    @property
    def key(self) -> tuple[object, ...]:
        """A trial has at most one."""
        return ("input_hessian",)


@dataclass(frozen=True, order=True)
class LandscapeProbe:
    """The loss on `subset_size` images of `split` around the weights.

    A `line` goes along the top eigenvector of the Hessian on `hessian_size` training images, a `plane` along the first
    two; the `interpolation` goes from the parent's weights to the trial's and has no Hessian (size 0).
    """

    kind: Landscape
    split: Split
    subset_size: int
    hessian_size: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it among the landscapes of a trial."""
        return ("landscape", self.kind, self.split, self.subset_size, self.hessian_size)


@dataclass(frozen=True, order=True)
class MinimalEpsilonProbe:
    """The smallest perturbation found, in the max-norm, that makes each test image misclassified."""

    @property
    def key(self) -> tuple[object, ...]:
        """A trial has at most one."""
        return ("minimal_epsilon",)


@dataclass(frozen=True, order=True)
class SharpnessProbe:
    """A measure of sharpness, a key of `study.curvature.SHARPNESS`, on `subset_size` images of `split`.

    A subset is that of the spectrum probe of its size. `radius` matters only to adaptive sharpness: how much a weight
    changes, relative to its magnitude.
    """

    measure: str
    subset_size: int
    split: Split = "train"
    radius: float = 0.0

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies it among the sharpness probes of a trial; a stored result has the same fields."""
        return ("sharpness", self.measure, self.split, self.subset_size, self.radius)


Probe = (
    AttackProbe
    | SpectrumProbe
    | InputCurvatureProbe
    | InputHessianProbe
    | LandscapeProbe
    | MinimalEpsilonProbe
    | SharpnessProbe
)

HEADLINE_ATTACKS = ("fgsm", "pgd")

HEADLINE_EPSILON: dict[str, float] = {
    "digits_8x8": 0.1,  # our choice: about two thirds of the scans stay correctly classified
    "digits": 0.1,  # our choice: at MNIST's 0.3 hardly an enlarged 8x8 scan stays correctly classified
    "mnist": 0.3,  # natural-training paper (2020), section 3, Figures 1 and 2
    "fashion-mnist": 0.3,  # natural-training paper, section 3, Figures 3 and 6
    "cifar10": 0.02,  # natural-training paper, section 3, Figures 4 and 5
    "cifar100": 0.02,  # Yao et al. (2018), Table 2
}
"""The epsilon of the headline columns `fgsm_acc` and `pgd_acc`, by data set, in units of pixels in [0, 1]."""


def headline_epsilon(dataset: str, epsilons: Iterable[float]) -> float | None:
    """The epsilon in HEADLINE_EPSILON if it is one of `epsilons`, else their largest; None without any."""
    available, usual = set(epsilons), HEADLINE_EPSILON.get(dataset)
    return usual if usual in available else max(available, default=None)


def headline_probes(probes: Iterable[Probe], dataset: str) -> frozenset[Probe]:
    """The probes that the headline columns of a row need."""
    probes = tuple(probes)
    attacks = [p for p in probes if isinstance(p, AttackProbe) and p.attack in HEADLINE_ATTACKS]
    attacks = [p for p in attacks if p.split == "test" and p.source == "self"]
    epsilon = headline_epsilon(dataset, (p.epsilon for p in attacks))
    spectra = (p for p in probes if isinstance(p, SpectrumProbe) and p.count == 1)
    return frozenset((*spectra, *(p for p in attacks if p.epsilon == epsilon)))
