"""Paper B: Choudhary, "Analyzing the implicit adversarial robustness of networks trained using SGD" (2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from search_spaces.probe import Probe
from search_spaces.regimes import LR, LR_BS, Regime, fixed_rate, fixed_ratio
from search_spaces.space import Curve, Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

MNIST_BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
"""Table 1: 2^i for i = 5 to 10."""

CIFAR_BATCH_SIZE = 128
"""Table 1."""

CIFAR_RATIO_BATCH_SIZES = (32, 128, 256, 512)
"""Table 2, rows lr/bs."""

EPOCHS = 100
"""Our choice: the paper prints no number; its CIFAR-10 schedule drops the rate at epoch 60."""

EPSILONS = {"mnist": (0.03, 0.15), "cifar10": (0.02,)}
"""Figures 1, 2 and 4; Table 2."""

VARIANTS = ("sgd", "svrg", "msgd", "selective_backprop")
"""Section 2.2: minibatch SGD, SVRG, multiplicative noise and selective backprop, which share SGD's rates."""

HIGH_RATE = fixed_rate(0.1, "lr_0.1")
"""Table 1: learning rate .01 (regime lr) or .1."""

ADAM_RATE = fixed_rate(0.0005, "lr_0.0005")
"""Table 2, row Adam, for CIFAR-10; on MNIST our choice, since the paper prints no rate of Adam there."""

ADAM_RATIO = fixed_ratio(0.0005 / 320)
"""Section 3.4.1: "0.0000015625 for Adam optimizer", a hundredth of SGD's ratio."""

ADAMW_DECAY = 0.01
"""Our choice, torch's default: section 2.3 names AdamW and gives no decay."""

MNIST_STEP = Regime("step", lambda batch_size: 0.01, "halve_every_10")
MNIST_HIGH_STEP = Regime("step_0.1", lambda batch_size: 0.1, "halve_every_10")
CIFAR_HIGH_STEP = Regime("step_0.1", lambda batch_size: 0.1, "tenth_at_60")
"""Table 1, lr = eta [step]: on MNIST halved every 10 epochs, on CIFAR-10 multiplied by .1 at epoch 60."""

MNIST = Trial(
    dataset="mnist",
    model="m1",
    learning_rate=0.01,
    batch_size=128,
    epochs=EPOCHS,
    train_size=60_000,  # section 3.1
    val_size=0,
    test_size=10_000,
    augmentation="flip",  # section 3.2: "random horizontal flips for both datasets"
)

CIFAR = replace(MNIST, dataset="cifar10", model="vgg11", train_size=50_000, augmentation="crop_flip")
"""Sections 3.1 and 3.2: flips "along with random cropping for CIFAR-10"."""


def _sweep(
    regimes: Iterable[Regime],
    base: Trial,
    batch_sizes: Iterable[int],
    *,
    momenta: Iterable[float] = (0.0,),
    decays: Iterable[float] = (0.0,),
) -> tuple[Curve, ...]:
    sizes, momenta, decays = tuple(batch_sizes), tuple(momenta), tuple(decays)
    return tuple(
        curve(regime, replace(base, weight_decay=decay), sizes, momentum)
        for regime in regimes
        for momentum in momenta
        for decay in decays
    )


def _mnist() -> tuple[Curve, ...]:
    """Table 1 and Figures 1 to 5."""
    sizes = MNIST_BATCH_SIZES
    variants = [_sweep((LR, HIGH_RATE, LR_BS), replace(MNIST, optimizer=name), sizes) for name in VARIANTS]
    adaptive = [
        _sweep((ADAM_RATE, ADAM_RATIO), replace(MNIST, optimizer=name), sizes, decays=(decay,))
        for name, decay in (("adam", 0.0), ("adamw", ADAMW_DECAY))
    ]
    return (
        *(c for curves in (*variants, *adaptive) for c in curves),
        *_sweep((LR, HIGH_RATE), MNIST, sizes, momenta=(0.5, 0.9)),
        *_sweep((LR, HIGH_RATE), MNIST, sizes, decays=(1e-2, 1e-3)),
        *_sweep((MNIST_STEP, MNIST_HIGH_STEP), MNIST, sizes),
    )


def _cifar() -> tuple[Curve, ...]:
    """Table 2."""
    size = (CIFAR_BATCH_SIZE,)
    variants = [_sweep((LR, CIFAR_HIGH_STEP), replace(CIFAR, optimizer=name), size) for name in VARIANTS]
    return (
        *(c for curves in variants for c in curves),
        *_sweep((ADAM_RATE,), replace(CIFAR, optimizer="adam"), size),
        *_sweep((ADAM_RATE,), replace(CIFAR, optimizer="adamw"), size, decays=(ADAMW_DECAY,)),
        *_sweep((LR,), CIFAR, size, momenta=(0.9,)),
        *_sweep((LR,), CIFAR, size, momenta=(0.0, 0.9), decays=(0.005,)),
        *_sweep((LR_BS,), CIFAR, CIFAR_RATIO_BATCH_SIZES),
    )


def _probes(trial: Trial) -> frozenset[Probe]:
    return attack_probes(("fgsm", "pgd"), EPSILONS[trial.dataset]) | lambda1_probes(trial)


SGD_VARIANTS = Space(
    name="sgd_variants",
    citation="Choudhary, Analyzing the implicit adversarial robustness of networks trained using SGD (2020)",
    curves=(*_mnist(), *_cifar()),
    seeds=(0, 1, 2),
    probes=_probes,
)
