"""Paper C, Yao et al., "Hessian-based analysis of large batch training and robustness to adversaries" (2018)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from search_spaces.probe import InputCurvatureProbe, InputHessianProbe, LandscapeProbe, Probe, SpectrumProbe, Split
from search_spaces.regimes import BENCHMARK, BENCHMARK_MOMENTUM, LR
from search_spaces.space import Curve, Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

MOMENTUM = 0.9
"""Our choice for section 3.1, which says "same momentum" and not which; section 3.3 has .9."""

TARGET_LOSS = 0.001
"""Section 3.1: "each of the batch sizes are trained until a training loss of 0.001 or better is achieved"."""

RESNET_TARGET_LOSS = 0.02
"""Table 2, CIFAR-100."""

MOST_EPOCHS = 500
"""Our choice: where training ends if the loss is not reached; the row says whether it was."""

COUNT, SPECTRUM_TOLERANCE = 20, 1e-4
"""Figure 1: the top 20 eigenvalues, "computed using power iteration with relative error of 1E-4"."""

SUBSET = 320
"""Section 3.3, B_H = 320 beside single samples and the whole training set."""

BATCH_SIZES = {
    "m1": (64, 128, 256, 512, 1024, 2048),  # Table 7
    "m1_lenet": (64, 128, 256, 512, 1024, 2048),  # Table 7, in the reading that M1 is a LeNet with pooling
    "c1": (16, 32, 64, 128, 256, 512, 1024, 2048),  # Table 1
    "c2": (256, 512, 1024, 2048),  # Table 1
    "resnet20": (64, 128, 256, 512),  # Table 2
    "resnet20_x4": (64, 128, 256, 512),  # Table 2, in the reading that CR is wider
}

EPSILONS = {
    "mnist": (0.05, 0.1, 0.2),  # Table 7
    "cifar10": (0.005, 0.01, 0.02),  # Table 1
    "cifar100": (0.005, 0.01, 0.02),  # Table 2
}

LANDSCAPE_SEED = 0
"""Our choice: each of Figures 2 to 13 shows one network."""

LANDSCAPE_MODELS = ("m1", "m1_lenet", "c1", "c2")
"""Figures 2, 3 and 6 to 9; M1 in both readings."""

METHODS = ("fgsm", "fgsm10", "l2grad", "fhsm", "l2hess")
"""Tables 3 and 4: the attacks, and the five adversarial trainings that use them."""

ADVERSARIAL_EPSILON = {"mnist": 0.1, "cifar10": 0.02}
"""Section 3.3."""

ADVERSARIAL_EPOCHS = {"mnist": 5, "cifar10": 10}
"""Section 3.3."""

SECTION_3_3_BATCH = 128
"""Our choice: section 3.3 prints no batch size."""

SECTION_3_3_EPOCHS = 100
"""Section 3.3."""

MNIST = Trial(
    dataset="mnist",
    model="m1",
    learning_rate=0.01,  # section 3.3; our choice for section 3.1, which prints no rate
    batch_size=128,
    epochs=MOST_EPOCHS,
    train_size=60_000,
    val_size=0,
    test_size=10_000,
    momentum=MOMENTUM,
    target_loss=TARGET_LOSS,
)
CIFAR = replace(MNIST, dataset="cifar10", model="c1", train_size=50_000)

NATURAL: tuple[Trial, ...] = (
    MNIST,
    replace(MNIST, model="m1_lenet"),
    CIFAR,
    replace(CIFAR, model="c2"),
    replace(CIFAR, dataset="cifar100", model="resnet20", target_loss=RESNET_TARGET_LOSS),
    replace(CIFAR, dataset="cifar100", model="resnet20_x4", target_loss=RESNET_TARGET_LOSS),
)
"""Section 3.1: the same rate and momentum at every batch size, no augmentation, until the loss is reached.

`resnet20_x4` is a second reading of CR: Table 2 prints 70.8 % on the test set at a training loss of .02, which a
ResNet-20 of width 1 without augmentation can hardly reach."""

ORIGINAL: tuple[Trial, ...] = tuple(
    replace(base, model=model, batch_size=SECTION_3_3_BATCH, epochs=SECTION_3_3_EPOCHS, target_loss=None)
    for base, model in ((MNIST, "m1"), (MNIST, "m1_lenet"), (CIFAR, "c3"))
)
"""Section 3.3: M_ORI, of which every robust model is a child."""


def _robust(base: Trial) -> Iterable[Curve]:
    """M_ORI and its five adversarially trained children, one curve of one batch size each."""
    original = curve(BENCHMARK, base, (base.batch_size,), BENCHMARK_MOMENTUM)
    yield original
    (parent,) = original.cells
    for method in METHODS:
        child = replace(
            parent,
            parent=parent,
            epochs=ADVERSARIAL_EPOCHS[base.dataset],
            adversarial_training=method,
            adversarial_epsilon=ADVERSARIAL_EPSILON[base.dataset],
        )
        yield Curve("adversarial", (child,))


def _probes(trial: Trial) -> frozenset[Probe]:
    return _section_3_1(trial) if trial.target_loss is not None else _section_3_3(trial)


def _section_3_1(trial: Trial) -> frozenset[Probe]:
    """Tables 1, 2 and 7; Figures 1 to 3 and 6 to 9."""
    epsilons = EPSILONS[trial.dataset]
    attacks = [attack_probes(("fgsm", "fgsm10"), epsilons, split=split) for split, _ in _wholes(trial)]
    spectra = frozenset(_top(split, size) for split, size in _wholes(trial))
    drawn = trial.seed == LANDSCAPE_SEED and trial.model in LANDSCAPE_MODELS
    landscapes = _lines(trial, trial.train_size) | _planes(trial) if drawn else frozenset()
    return frozenset().union(*attacks, spectra, landscapes, lambda1_probes(trial), _inputs())


def _section_3_3(trial: Trial) -> frozenset[Probe]:
    """Tables 3 and 4; Figures 4, 5 and 10 to 13."""
    epsilon = (ADVERSARIAL_EPSILON[trial.dataset],)
    attacks = attack_probes(METHODS, epsilon)
    samples = frozenset({_top("train", 1), _top("train", 1, draw=1), _top("train", _subset(trial))})
    spectra = samples | frozenset(_top(split, size) for split, size in _wholes(trial))
    landscapes = _lines(trial, _subset(trial))
    if trial.parent is not None:
        attacks |= attack_probes(METHODS, epsilon, source="parent")
        landscapes |= {LandscapeProbe("interpolation", split, size) for split, size in _wholes(trial)}
    drawn = landscapes if trial.seed == LANDSCAPE_SEED else frozenset()
    return frozenset().union(attacks, spectra, drawn, lambda1_probes(trial), _inputs())


def _lines(trial: Trial, hessian_size: int) -> frozenset[Probe]:
    """Figures 2, 6, 8, 12 and 13: on the training set, on the test set and on a batch of 320."""
    surfaces = {*_wholes(trial), ("train", _subset(trial))}
    return frozenset(LandscapeProbe("line", split, size, hessian_size) for split, size in surfaces)


def _planes(trial: Trial) -> frozenset[Probe]:
    """Figures 3, 7 and 9."""
    return frozenset(LandscapeProbe("plane", split, size, trial.train_size) for split, size in _wholes(trial))


def _wholes(trial: Trial) -> tuple[tuple[Split, int], ...]:
    return ("train", trial.train_size), ("test", trial.test_size)


def _top(split: Split, size: int, *, draw: int = 0) -> SpectrumProbe:
    return SpectrumProbe(split, size, COUNT, tolerance=SPECTRUM_TOLERANCE, draw=draw)


def _subset(trial: Trial) -> int:
    return min(SUBSET, trial.train_size)


def _inputs() -> frozenset[Probe]:
    """Tables 1 and 7; Theorem 2.1 and Proposition 2.2."""
    return frozenset({InputCurvatureProbe("train"), InputCurvatureProbe("test"), InputHessianProbe()})


LARGE_BATCH = Space(
    name="large_batch",
    citation="Yao et al. (2018), arXiv:1802.08241, sections 2 and 3",
    curves=(
        *(curve(LR, base, BATCH_SIZES[base.model], MOMENTUM) for base in NATURAL),
        *(c for base in ORIGINAL for c in _robust(base)),
    ),
    seeds=(0, 1, 2),  # section 1: "We have repeated all the experiments at least three times"
    probes=_probes,
)
