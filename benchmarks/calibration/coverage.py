"""How often the intervals of the analysis contain the planted truth. Each function simulates one study."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from analysis.reports.environments import sign_errors
from analysis.statistics.correlations import kendall_tau_b, repeated_measures_correlation
from analysis.statistics.estimates import AT_ONE_SIZE, Sample, cell_means
from analysis.statistics.intervals import (
    Z_VARIANCE,
    clopper_pearson,
    continuity_tau,
    fisher_z_interval,
    random_effects,
)
from analysis.statistics.sample_tests import (
    contrast,
    paired_difference,
    slope_per_doubling,
    trend,
)
from analysis.tables.observations import Observations
from benchmarks.calibration.worlds import SIZES, Floats

Random = np.random.Generator
NOISE = 1.5
"""Standard deviation of accuracy over seeds (points)."""

SLOPE = -1.0
"""Points per doubling of the batch size."""

UNEQUAL = np.array([0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5])
"""Standard deviations over seeds (points) that grow ninefold along the batch size."""

OUTLIER = np.array([0.5] * 6 + [5.0])
"""One noisy cell among quiet ones."""


class Held(NamedTuple):
    """How many of `n` intervals contain the truth."""

    hits: int
    n: int


def as_sample(values: Floats) -> Sample:
    """Accuracies in points, shape (sizes, seeds), as a sample whose linear scale is the logit."""
    batch = np.repeat(SIZES[: len(values)], values.shape[1])
    seed = np.tile(np.arange(values.shape[1]), len(values))
    return Sample.of(batch, seed, values.ravel(), special.logit(np.clip(values.ravel() / 100, 1e-4, 1 - 1e-4)))


def curve(rng: Random, seeds: int, slope: float, noise: float | Floats, start: float = 50.0) -> Floats:
    """Accuracies in points, shape (sizes, seeds)."""
    spread = np.broadcast_to(noise, SIZES.shape)[:, None]
    means = start + slope * np.arange(len(SIZES))
    return np.asarray(means[:, None] + spread * rng.normal(size=(len(SIZES), seeds)))


def count(draw: Callable[[Random], bool], n: int, rng: Random) -> Held:
    """How often a simulation returns true."""
    return Held(sum(draw(rng) for _ in range(n)), n)


def both(draw: Callable[..., tuple[bool, bool]], n: int, rng: Random) -> tuple[Held, Held]:
    """How often each of the two answers of a simulation is true."""
    first, second = np.array([draw(rng) for _ in range(n)]).sum(axis=0)
    return Held(int(first), n), Held(int(second), n)


def slope(rng: Random, *, seeds: int = 3, noise: float | Floats = NOISE) -> tuple[bool, bool]:
    """Whether the 95 % intervals of the slope per doubling (logit scale) and of the end-to-end change hold the truth.

    The planted curve is a straight line in logits for the first, in points for the second.
    """
    logits = np.linspace(0.4, -0.2, len(SIZES))[:, None] + curve(rng, seeds, 0.0, noise, 0.0) / 25
    line = as_sample(100 * special.expit(logits))
    low, high = slope_per_doubling(line.cells(linear=True)).interval(0.95)
    change = trend(as_sample(curve(rng, seeds, SLOPE, noise)), claimed=-1, delta=3.0)
    return (
        bool(low <= -0.1 <= high),
        bool(change.low <= SLOPE * (len(SIZES) - 1) <= change.high),
    )


def paired(rng: Random, *, seeds: int = 3, noise: float | Floats = NOISE, effect: float = 2.0) -> tuple[bool, bool]:
    """Whether the 95 % intervals of a paired difference hold the truth: the mean over batch sizes, and at one size."""
    shared = curve(rng, seeds, SLOPE, noise)
    spread = np.broadcast_to(noise, SIZES.shape)[:, None] / 2
    first, second = (as_sample(shared + shift + spread * rng.normal(size=shared.shape)) for shift in (0.0, effect))
    difference = paired_difference(first, second)
    along = contrast(difference, claimed=1, delta=3.0)
    first_size = difference.where(difference.batch_size == SIZES[0])
    at_one = contrast(first_size, claimed=1, delta=3.0, reach=AT_ONE_SIZE)
    return bool(along.low <= effect <= along.high), bool(at_one.low <= effect <= at_one.high)


def pairwise_ninety(rng: Random, *, seeds: int = 3, noise: float | Floats = NOISE) -> bool:
    """Whether TOST's 90 % interval of one difference, chosen beforehand, holds the truth."""
    sample = as_sample(curve(rng, seeds, SLOPE, noise))
    cells = cell_means(sample.batch_size, sample.value)
    low, high = cells.at(4).less(cells.at(1)).interval(0.90)
    return low <= 3 * SLOPE <= high


def seeds_accuracy(rng: Random, *, seeds: int = 3) -> bool:
    """Whether Clopper-Pearson limits of the images of all seeds hold the expected accuracy over seeds."""
    networks = np.clip(0.4 + NOISE / 100 * rng.normal(size=seeds), 0, 1)
    low, high = clopper_pearson(rng.binomial(10_000, networks).sum(), 10_000 * seeds)
    return bool(low <= 0.4 <= high)


def sign_error_interval(rng: Random, *, seeds: int, slope: float, environments: int, shared: float = 0.0) -> Held:
    """How often the intervals of sign-error environments of seven batch sizes hold the expected sign-error.

    log2 lambda1 rises by 1 per doubling, accuracy by `slope`, both in units of the noise over seeds. `shared` is the
    standard deviation of each curve's own deviations, which all seeds share: at slope 0 the expected error is then .5
    over curves, but not on each curve.
    """
    shape = (environments, len(SIZES), seeds)
    doubling = np.arange(len(SIZES))[None, :, None]
    bends = shared * rng.normal(size=(environments, len(SIZES), 1))
    x = doubling + rng.normal(size=shape)
    y = slope * doubling + bends + rng.normal(size=shape)
    environment, size, seed = (
        a.ravel() for a in np.meshgrid(*(np.arange(k) for k in shape), indexing="ij")
    )  # fmt: skip
    trials = pd.DataFrame(
        {
            "study": environment, "stratum": environment, "optimizer": "sgd", "weight_decay": 0.0,
            "adversarial_training": "none", "adversarial_epsilon": 0.0,
            "regime": "lr", "momentum": 0.0, "batch_size": 2 ** (4 + size),
            "seed": seed, "trial": np.arange(x.size), "decidable": True, "x": x.ravel(), "accuracy": y.ravel(),
        }
    )  # fmt: skip
    found = sign_errors(Observations("planted", trials, trials, trials, trials))
    found = found[found["axis"] == "batch_size"]
    i, j = np.triu_indices(len(SIZES), 1)
    more_robust = special.ndtr(slope * (j - i) / np.sqrt(2.0 + 2 * shared**2))
    sharper = special.ndtr((j - i) / np.sqrt(2.0))
    truth = float(np.mean(sharper * more_robust + (1 - sharper) * (1 - more_robust)))
    held = (found["low"] <= truth + 1e-12) & (truth - 1e-12 <= found["high"])
    return Held(int(held.sum()), len(found))


def forest(rng: Random, *, strata: int, tau2: float) -> tuple[bool, bool]:
    """Whether mean and prediction interval hold the truth, for normal effects of unequal known variances.

    The variances are those of atanh(tau) on curves of five to eight batch sizes.
    """
    n = rng.integers(5, 9, size=strata)
    variance = 0.437 / (n - 4.0)
    truths = -0.5 + np.sqrt(tau2) * rng.normal(size=strata + 1)
    found = random_effects(truths[1:] + np.sqrt(variance) * rng.normal(size=strata), variance)
    return bool(found.low <= -0.5 <= found.high), bool(found.predicted_low <= truths[0] <= found.predicted_high)


def forest_of_taus(rng: Random, *, strata: int, tau: float, sizes: int = 7) -> bool:
    """Whether the mean's interval from Kendall's taus of curves, as the report combines them, holds the planted tau.

    Bivariate normal points of correlation rho have tau = 2 / pi arcsin(rho).
    """
    rho = np.sin(np.pi * tau / 2)
    x = rng.normal(size=(strata, sizes))
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(strata, sizes))
    taus = np.array([kendall_tau_b(a, b).estimate for a, b in zip(x, y, strict=True)])
    inner = continuity_tau(taus, sizes)
    found = random_effects(np.arctanh(inner), Z_VARIANCE["kendall"](inner, np.full(strata, float(sizes))))
    return bool(np.tanh(found.low) <= tau <= np.tanh(found.high))


def kendall(rng: Random, *, tau: float, sizes: int) -> bool:
    """Whether the interval of one curve's tau holds it."""
    rho = np.sin(np.pi * tau / 2)
    x = rng.normal(size=sizes)
    found = kendall_tau_b(x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=sizes))
    return bool(found.low <= tau <= found.high)


def correlation(rng: Random, *, rho: float = -0.5, curves: int = 4, per_curve: int = 21) -> tuple[bool, bool]:
    """Whether Fisher's interval of Pearson's r and that of the repeated-measures correlation hold the planted rho."""
    x = rng.normal(size=(curves, per_curve))
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=x.shape)
    low, high = fisher_z_interval(float(np.corrcoef(x[0], y[0])[0, 1]), per_curve)
    subject = np.repeat(np.arange(curves), per_curve)
    within = repeated_measures_correlation((x + 3 * np.arange(curves)[:, None]).ravel(), y.ravel(), subject)
    return bool(low <= rho <= high), bool(within.low <= rho <= within.high)
