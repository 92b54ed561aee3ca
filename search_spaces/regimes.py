"""Training regimes: how learning rate, momentum and schedule follow from the batch size.

A regime is the label of a curve, never part of a trial's identity: at batch 64 `lr` and `lr_bs` are the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LEARNING_RATE = 0.01
"""Natural-training paper (2020), section 2.1, settings (1) and (3)."""

LR_BS_RATIO = 0.00015625
"""Natural-training paper, section 2.1, setting (2). At batch 64 it gives exactly LEARNING_RATE."""

BENCHMARK_MOMENTUM = 0.9
"""Natural-training paper, section 2.1, setting (3), after Yao et al. (2018), section 3.3."""

BENCHMARK_SCHEDULE = "halve_every_5"
"""Natural-training paper, section 2.1, setting (3): "learning rate is decayed by half after every 5 epochs"."""


@dataclass(frozen=True)
class Regime:
    """A rule from batch size to the settings of SGD; `label` names its curve in rows and figures."""

    label: str
    learning_rate: Callable[[int], float]
    schedule: str = "constant"


def fixed_rate(learning_rate: float, label: str = "lr") -> Regime:
    """Setting (1): the same rate at every batch size."""
    return Regime(label, lambda batch_size: learning_rate)


def fixed_ratio(ratio: float) -> Regime:
    """Setting (2): the rate grows in proportion to the batch size."""
    return Regime("lr_bs", lambda batch_size: ratio * batch_size)


def benchmark(learning_rate: float) -> Regime:
    """Setting (3): the schedule of Yao et al. (2018), to be trained with BENCHMARK_MOMENTUM."""
    return Regime("benchmark", lambda batch_size: learning_rate, BENCHMARK_SCHEDULE)


LR = fixed_rate(LEARNING_RATE)
LR_BS = fixed_ratio(LR_BS_RATIO)
BENCHMARK = benchmark(LEARNING_RATE)

REGIME_NAMES: dict[str, str] = {
    "lr": "LR constant",
    "lr_bs": "LR/BS constant",
    "benchmark": "Benchmark",
    "adversarial": "Adversarial training",
    "lr_0.1": "LR 0.1 constant",
    "step": "LR 0.01 in steps",
    "step_0.1": "LR 0.1 in steps",
    "lr_0.0005": "LR 0.0005 constant",
}
"""Label of a curve in rows -> its name in text."""

REGIME_RULES: dict[str, str] = {
    "lr": "one learning rate for every batch size",
    "lr_bs": "the learning rate grows in proportion to the batch size",
    "benchmark": "the learning rate is halved every 5 epochs, with momentum",
    "adversarial": "trained on adversarial images",
}
"""Label -> its rule in words, where its name does not say it."""
