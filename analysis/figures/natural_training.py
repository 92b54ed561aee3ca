"""The panels of the natural-training paper (2020, source "A"); those of its workshop form (2019) are among them.

Transcribed from the captions: number (L left, R right), data set, model, curves, and the attacks of an accuracy panel.
Epsilons: .3 on MNIST and Fashion-MNIST, .02 on CIFAR-10, as every caption says.
"""

from __future__ import annotations

from analysis.figures.curve_sets import CurveSet, by_momentum, by_regime
from analysis.figures.panels import NaturalTrainingPanel

REGIMES = by_regime((("lr", 0.0), ("lr_bs", 0.0), ("benchmark", 0.9)))
"""Section 3: momentum 0, except .9 in the benchmark."""

LR_MOMENTA = by_momentum("lr", (0.0, 0.2, 0.5, 0.9), "Momentum under LR")
"""Section 4.1."""

RATIO_MOMENTA = by_momentum("lr_bs", (0.0, 0.5, 0.9), "Momentum under LR/BS")
"""Section 4.2: "momentum values set to 0 and 0.5 or 0.9"."""

EPSILON = {"mnist": 0.3, "fashion-mnist": 0.3, "cifar10": 0.02}

FGSM, PGD, BOTH, LAMBDA1 = ("fgsm",), ("pgd",), ("fgsm", "pgd"), ()
"""What a panel shows: accuracy under these attacks, or lambda1."""


def _panel(number: str, dataset: str, model: str, curves: CurveSet, attacks: tuple[str, ...]) -> NaturalTrainingPanel:
    return NaturalTrainingPanel(
        source="A",
        number=number,
        dataset=dataset,
        model=model,
        curves=curves,
        attacks=attacks,
        epsilon=EPSILON[dataset] if attacks else 0.0,
        note="The paper's caption says PGD, its text FGSM: this panel has both." if attacks == BOTH else "",
    )


_ACCURACY_AND_LAMBDA1 = (
    ("1", "mnist", "m1_20", REGIMES, FGSM),
    ("2", "mnist", "stdcnn", REGIMES, FGSM),
    ("3", "fashion-mnist", "m1_20", REGIMES, BOTH),
    ("4", "cifar10", "c1", REGIMES, FGSM),
    ("5", "cifar10", "resnet18", REGIMES, BOTH),
    ("6", "fashion-mnist", "stdcnn", REGIMES, BOTH),
    ("7", "mnist", "m1_20", LR_MOMENTA, FGSM),
    ("8", "mnist", "stdcnn", LR_MOMENTA, BOTH),
    ("9", "cifar10", "c1", LR_MOMENTA, BOTH),
    ("10", "cifar10", "resnet18", LR_MOMENTA, FGSM),
    ("11", "mnist", "m1_20", RATIO_MOMENTA, FGSM),
    ("12", "mnist", "stdcnn", RATIO_MOMENTA, FGSM),
    ("13", "cifar10", "c1", RATIO_MOMENTA, FGSM),
    ("14", "cifar10", "resnet18", RATIO_MOMENTA, FGSM),
)
"""Figures with accuracy on the left and lambda1 on the right."""

_ACCURACIES = (
    ("15L", "mnist", "m1_20", REGIMES, PGD),
    ("15R", "mnist", "stdcnn", REGIMES, PGD),
    ("17L", "cifar10", "c1", REGIMES, PGD),
    ("17R", "cifar10", "resnet18", REGIMES, PGD),
    ("19L", "mnist", "m1_20", LR_MOMENTA, PGD),
    ("19R", "mnist", "stdcnn", LR_MOMENTA, PGD),
    ("20L", "cifar10", "c1", LR_MOMENTA, PGD),
    ("20R", "cifar10", "resnet18", LR_MOMENTA, PGD),
    ("21L", "mnist", "m1_20", RATIO_MOMENTA, PGD),
    ("21R", "mnist", "stdcnn", RATIO_MOMENTA, PGD),
    ("22L", "cifar10", "c1", RATIO_MOMENTA, PGD),
    ("22R", "cifar10", "resnet18", RATIO_MOMENTA, PGD),
    ("16L", "fashion-mnist", "m1_20", REGIMES, FGSM),
    ("16R", "fashion-mnist", "m1_20", REGIMES, PGD),
    ("18L", "fashion-mnist", "stdcnn", REGIMES, FGSM),
    ("18R", "fashion-mnist", "stdcnn", REGIMES, PGD),
)

PANELS: tuple[NaturalTrainingPanel, ...] = (
    *(
        _panel(f"{number}{side}", dataset, model, curves, attacks if side == "L" else LAMBDA1)
        for number, dataset, model, curves, attacks in _ACCURACY_AND_LAMBDA1
        for side in "LR"
    ),
    *(_panel(*row) for row in _ACCURACIES),
)
