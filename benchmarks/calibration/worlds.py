"""Simulated studies: how seeds differ, and cells as the counterexample report judges them, many studies at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reports.counterexamples import COUNTEREXAMPLE, judge_pairs, testable_pairs
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE, MIN_SEEDS, few_diverged
from analysis.tables.observations import STRATUM
from analysis.tables.pairs import pair_up

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SIZES = 2.0 ** np.arange(4, 11)
"""Seven batch sizes, 16 to 1024, as in the natural-training paper (2020)."""

CURVES = 4
IMAGES = 10_000
ACCURACY = 40.0
"""Adversarial accuracy, in percent."""

CURVATURE = "lambda1_test"

Event = Callable[[pd.DataFrame], pd.Series]
"""Judged pairs -> which of them count."""

AT_ONCE = 250
"""Families judged together, for memory and speed."""


@dataclass(frozen=True)
class Noise:
    """How the seeds of a curve differ.

    Attributes:
        sd: standard deviation over seeds, of all cells or shape (sizes,): points of accuracy, or doublings.
        shared: correlation between the cells of one seed on one curve.
        outlier: by how much one seed of each curve is off at all sizes, up or down by chance.
        tails: degrees of freedom (Student's t of the same variance); normal if infinite.
        more: each cell has so many times the seeds, in the order of the sizes; one number for all.
        lost: whether one run of each cell diverged.
    """

    sd: float | Floats = 1.5
    shared: float = 0.0
    outlier: float = 0.0
    tails: float = float("inf")
    more: tuple[int, ...] = (1,)
    lost: bool = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, int], seeds: int) -> Floats:
        """Deviations from the means of cells of this shape (curves, sizes); shape (curves, sizes, runs)."""
        runs = seeds * max(self.more)
        z = self._standard(rng, (*shape, runs))
        if self.shared:
            common = self._standard(rng, (shape[0], 1, runs))
            z = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * z
        z *= np.broadcast_to(self.sd, shape[1])[:, None]
        if self.outlier:
            z[:, :, 0] += self.outlier * rng.choice([-1.0, 1.0], size=(shape[0], 1))
        return z

    def runs(self, rng: np.random.Generator, shape: tuple[int, int], runs: int) -> tuple[Bools, Bools]:
        """Which of the `runs` of each cell there are, and which of them did not diverge."""
        there = runs // max(self.more) * np.resize(self.more, shape[1])
        run = np.broadcast_to(np.arange(runs) < there[:, None], (*shape, runs))
        if not self.lost:
            return run, run
        victim = rng.integers(0, there, size=shape)
        return run, run & (np.arange(runs) != victim[..., None])

    def _standard(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        if np.isinf(self.tails):
            return rng.normal(size=shape)
        return np.asarray(rng.standard_t(self.tails, size=shape) / np.sqrt(self.tails / (self.tails - 2)), dtype=float)


NOISE = Noise()
"""Of accuracy: 1.5 points, normal and independent."""

LAMBDA_NOISE = Noise(0.2)
"""Of log2 lambda1: a factor of 1.15."""


@dataclass(frozen=True)
class World:
    """Curves of batch sizes that share one family of tests.

    Attributes:
        accuracy, log2_lambda1: planted means, shape (curves, sizes); accuracies in points.
        noise, lambda_noise: of the two over seeds.
        attacks: copies of every curve, as attacks on the same networks.
        shared: correlation of the copies' noise.
    """

    accuracy: Floats
    log2_lambda1: Floats
    noise: Noise = NOISE
    lambda_noise: Noise = LAMBDA_NOISE
    attacks: int = 1
    shared: float = 0.9


def flat_world(
    noise: Noise = NOISE,
    *,
    rising: bool = True,
    sizes: int = len(SIZES),
    curves: int = CURVES,
    attacks: int = 1,
) -> World:
    """Accuracy does not depend on batch size; lambda1 doubles with it (`rising`) or does not depend on it either.

    The seeds of lambda1 are correlated, unequal in number and lost as those of accuracy are.
    """
    accuracy = np.full((curves, sizes), ACCURACY)
    log2_lambda1 = np.tile(np.arange(sizes) * float(rising), (curves, 1))
    sharp = replace(noise, sd=LAMBDA_NOISE.sd, outlier=noise.outlier and 4 * float(LAMBDA_NOISE.sd))
    return World(accuracy, log2_lambda1, noise, sharp, attacks=attacks)


def flat_curvature_world(sharp: Noise) -> World:
    """The opposite: accuracy rises by 2 points a doubling, lambda1 does not depend on batch size."""
    rising = np.tile(ACCURACY + 2.0 * np.arange(len(SIZES)), (CURVES, 1))
    return World(rising, np.zeros_like(rising), Noise(0.5), sharp)


def exception_world(*, gap: float, ratio: float, noise: Noise = NOISE) -> World:
    """Four flat curves; on one of them the largest batch is sharper by `ratio` and more robust by `gap` points."""
    accuracy = np.full((CURVES, len(SIZES)), ACCURACY)
    sharp = np.zeros_like(accuracy)
    accuracy[0, -1] += gap
    sharp[0, -1] = np.log2(ratio)
    return World(accuracy, sharp, noise)


def family_cells(world: World, families: int, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """The cells of independent studies of this world, as `analysis.tables.cells.cells` gives them.

    The number of right answers of each network is binomial. The `loss` column numbers the families, since the report
    adjusts p-values within each loss.
    """
    curves, sizes = world.accuracy.shape
    shape = (families * curves, sizes)
    sharp = np.tile(world.log2_lambda1, (families, 1))[..., None] + world.lambda_noise.draw(rng, shape, seeds)
    networks = world.noise.draw(rng, shape, seeds)
    run, finite = world.noise.runs(rng, shape, networks.shape[2])
    parts = []
    for attack in range(world.attacks):
        deviation = networks
        if world.attacks > 1:
            own = world.noise.draw(rng, shape, seeds)
            deviation = np.sqrt(world.shared) * networks + np.sqrt(1 - world.shared) * own
        percent = np.tile(world.accuracy, (families, 1))[..., None] + deviation
        correct = rng.binomial(IMAGES, np.clip(percent / 100, 0, 1))
        parts.append(_frame(correct, sharp, run, finite, curves).assign(attack=attack))
    return pd.concat(parts, ignore_index=True)


def _frame(correct: NDArray[np.int64], sharp: Floats, run: Bools, finite: Bools, curves: int) -> pd.DataFrame:
    """All of shape (families * curves, sizes, runs)."""
    rows, sizes, _ = correct.shape
    row, size = (codes.ravel() for codes in np.indices((rows, sizes)))
    count = finite.sum(axis=2).ravel()
    ends = np.cumsum(count)[:-1]
    right, lambda1 = np.split(correct[finite], ends), np.split(sharp[finite], ends)
    total = np.array([one.sum() for one in right])
    frame = pd.DataFrame(dict.fromkeys(STRATUM, "planted"), index=np.arange(rows * sizes))
    listed: dict[str, list[Any]] = {
        "log2_lambda1_test": [one.mean() for one in lambda1],
        "accuracy_seeds": [one / IMAGES for one in right],
        "logit_seeds": [logit_accuracy(one, IMAGES) for one in right],
        "log2_lambda1_test_seeds": lambda1,
        "test_acc_seeds": [np.full(k, 0.99) for k in count],
        "trial_ids": np.split(np.arange(count.sum()), ends),
        "attack_rows": [np.zeros(k, dtype=int) for k in count],
    }
    return frame.assign(
        loss=row // curves, momentum=row % curves, epsilon=0.0, batch_size=2 ** (4 + size), n_seeds=count,
        n=IMAGES * count, correct=total,
        floor=False, untrained=False, suspect=False, sound=True, converged_test=True,
        decidable=(count >= MIN_SEEDS) & few_diverged(count, run.sum(axis=2).ravel() - count),
        accuracy=total / IMAGES / count, **listed,
    )  # fmt: skip


WITHOUT_BITS = pd.DataFrame({"correct_bits": [None], "n": [IMAGES]})
"""No answers per image are simulated: the report then takes the unpaired binomial error, which is not smaller."""


def judged(world: World, families: int, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Every pair of every family as the counterexample report judges it.

    Columns: those of `analysis.reports.counterexamples.judge_pairs`, and `family`, `curve`, `batch_i`, `batch_j`,
    `testable`.
    """
    cells = family_cells(world, families, seeds, rng)
    pairs = pair_up(cells, CURVATURE)
    testable = testable_pairs(cells, pairs, CURVATURE)
    found = judge_pairs(cells, pairs, testable, COUNTEREXAMPLE, WITHOUT_BITS)
    i, j = found["i"].to_numpy(), found["j"].to_numpy()
    batch = cells["batch_size"].to_numpy()
    return found.assign(
        family=cells["loss"].to_numpy()[i], curve=cells["momentum"].to_numpy()[i],
        batch_i=batch[i], batch_j=batch[j], testable=testable,
    )  # fmt: skip


def families_with(
    events: Mapping[str, Event], world: World, families: int, seeds: int, rng: np.random.Generator
) -> dict[str, int]:
    """In how many of `families` studies each event holds for at least one pair."""
    hits = dict.fromkeys(events, 0)
    for start in range(0, families, AT_ONCE):
        pairs = judged(world, min(AT_ONCE, families - start), seeds, rng)
        for name, event in events.items():
            hits[name] += int(pairs.loc[event(pairs), "family"].nunique())
    return hits


def confirmed(pairs: pd.DataFrame) -> pd.Series:
    """Pairs that the report confirms."""
    return pairs["label"] == "confirmed"


def unadjusted(pairs: pd.DataFrame) -> pd.Series:
    """Pairs whose own p is at most .05, as if each were the only one that was tested."""
    return pairs["p"] <= FALSE_DISCOVERY_RATE
