"""Learning-rate schedules: (initial rate, epoch counted from 0) -> the epoch's rate."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[float, int], float]


def constant(learning_rate: float, epoch: int) -> float:
    """Natural-training paper (2020), section 2.1, settings (1) and (2): no decay."""
    return learning_rate


def halve_every_5(learning_rate: float, epoch: int) -> float:
    """Yao et al. (2018), section 3.3, and natural-training paper, section 2.1, setting (3)."""
    return float(learning_rate * 0.5 ** (epoch // 5))


def halve_every_10(learning_rate: float, epoch: int) -> float:
    """Choudhary (2020), Table 1, MNIST: "halved every 10 epochs"; epochs 1 to 10 have the initial rate."""
    return float(learning_rate * 0.5 ** (epoch // 10))


def tenth_at_60(learning_rate: float, epoch: int) -> float:
    """Choudhary (2020), Table 1, CIFAR-10: "multiplied by 0.1 at epoch 60".

    Sixty epochs have the initial rate, as with torch's MultiStepLR(milestones=[60]) (our choice of two readings).
    """
    return float(learning_rate * 0.1) if epoch >= 60 else learning_rate


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "halve_every_5": halve_every_5,
    "halve_every_10": halve_every_10,
    "tenth_at_60": tenth_at_60,
}
