"""Paper A, "Role of SGD Hyperparameters in Adversarial Robustness" (2020): natural training in three regimes."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.probe import Probe
from search_spaces.regimes import BENCHMARK, BENCHMARK_MOMENTUM, LEARNING_RATE, LR, LR_BS
from search_spaces.space import Curve, Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024)
"""Our choice: the paper prints no list; the axes of its figures end near 1000."""

MOMENTA = (0.0, 0.2, 0.5, 0.9)
"""Section 2.1: "we performed our experiments with momentum set to 0.0, 0.2, 0.5 and 0.9"."""

EPOCHS = 100
"""Section 2.1, settings (1) to (3)."""

MNIST_EPSILONS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3)
"""0.3 is the paper's (section 3); the others are those of Yao et al. (2018) and Choudhary (2020), for comparison."""

CIFAR_EPSILONS = (0.005, 0.01, 0.02)
"""0.02 is the paper's (section 3); the others are those of Yao et al. (2018), Table 1."""

EPSILONS = {"mnist": MNIST_EPSILONS, "fashion-mnist": MNIST_EPSILONS, "cifar10": CIFAR_EPSILONS}

MNIST = Trial(
    dataset="mnist",
    model="m1_20",
    learning_rate=LEARNING_RATE,
    batch_size=64,
    epochs=EPOCHS,
    train_size=55_000,  # section 2.1, "Data sets"
    val_size=5_000,
    test_size=10_000,
)
CIFAR = replace(MNIST, dataset="cifar10", model="c1", train_size=40_000, val_size=10_000, augmentation="crop_flip")

STUDIES: tuple[Trial, ...] = (
    MNIST,
    replace(MNIST, model="stdcnn"),
    replace(MNIST, dataset="fashion-mnist"),
    replace(MNIST, dataset="fashion-mnist", model="stdcnn"),
    CIFAR,
    replace(CIFAR, model="resnet18"),
)
"""Section 2.1, "Model Architectures": data sets x models; CIFAR-10 with random crops and horizontal flips.

Of training images alone (our choice): the workshop version applies them "to the train/validation/test set"."""


def _curves(study: Trial) -> tuple[Curve, ...]:
    swept = tuple(curve(regime, study, BATCH_SIZES, m) for regime in (LR, LR_BS) for m in MOMENTA)
    return (*swept, curve(BENCHMARK, study, BATCH_SIZES, BENCHMARK_MOMENTUM))


def _probes(trial: Trial) -> frozenset[Probe]:
    return attack_probes(("fgsm", "pgd"), EPSILONS[trial.dataset]) | lambda1_probes(trial)


NATURAL_TRAINING = Space(
    name="natural_training",
    citation="Role of SGD Hyperparameters in Adversarial Robustness (2020), sections 2 to 4",
    curves=tuple(c for study in STUDIES for c in _curves(study)),
    seeds=(0, 1, 2),
    probes=_probes,
)
