"""Cells of many simulated studies at once, in the form in which the counterexample report judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reports.counterexamples import COUNTEREXAMPLE, judge_pairs, testable_pairs
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE
from analysis.tables.observations import STRATUM
from analysis.tables.pairs import pair_up

Floats = NDArray[np.float64]

SIZES = 2.0 ** np.arange(4, 11)
"""Seven batch sizes, 16 to 1024, as in the natural-training paper (2020)."""

CURVES = 4
IMAGES = 10_000
ACCURACY, NOISE = 0.4, 0.015
"""Adversarial accuracy and its standard deviation over seeds (fractions)."""

LAMBDA_NOISE = 0.2
"""Standard deviation of log2 lambda1 over seeds: a factor of 1.15."""

CURVATURE = "lambda1_test"

Event = Callable[[pd.DataFrame], pd.Series]
"""Judged pairs -> which of them count."""

AT_ONCE = 250
"""Families judged together, for memory and speed."""


@dataclass(frozen=True)
class World:
    """Curves of batch sizes that share one family of tests.

    Attributes:
        accuracy, log2_lambda1: planted means, shape (curves, sizes).
        noise, lambda_noise: standard deviations of the two over seeds, broadcast to that shape.
        attacks: copies of every curve, as attacks on the same networks.
        shared: correlation of the copies' noise.
        tails: degrees of freedom of the noise (Student's t); normal if infinite.
    """

    accuracy: Floats
    log2_lambda1: Floats
    noise: Floats
    lambda_noise: float | Floats = LAMBDA_NOISE
    attacks: int = 1
    shared: float = 0.9
    tails: float = float("inf")


def flat_world(
    *,
    rising: bool = True,
    noise: float | Floats = NOISE,
    sizes: int = len(SIZES),
    curves: int = CURVES,
    attacks: int = 1,
    tails: float = float("inf"),
) -> World:
    """Accuracy does not depend on batch size; lambda1 doubles with it (`rising`) or does not depend on it either."""
    accuracy = np.full((curves, sizes), ACCURACY)
    log2_lambda1 = np.tile(np.arange(sizes) * float(rising), (curves, 1))
    return World(accuracy, log2_lambda1, np.full(accuracy.shape, noise), attacks=attacks, tails=tails)


def flat_curvature_world(lambda_noise: Floats) -> World:
    """The opposite: accuracy rises by 2 points a doubling, lambda1 does not depend on batch size."""
    rising = np.tile(ACCURACY + 0.02 * np.arange(len(SIZES)), (CURVES, 1))
    return World(rising, np.zeros_like(rising), np.full(rising.shape, 0.005), lambda_noise=lambda_noise)


def family_cells(world: World, families: int, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """The cells of independent studies of this world, as `analysis.tables.cells.cells` gives them.

    The `loss` column numbers the families, since the report adjusts p-values within each loss.
    """
    curves, sizes = world.accuracy.shape
    shape = (families, curves, sizes, seeds)
    spread = np.broadcast_to(world.lambda_noise, world.accuracy.shape)[..., None]
    sharp = world.log2_lambda1[..., None] + spread * rng.normal(size=shape)
    networks = _noise(world, shape, rng)
    parts = []
    for attack in range(world.attacks):
        own = _noise(world, shape, rng)
        mixed = networks if world.attacks == 1 else np.sqrt(world.shared) * networks + np.sqrt(1 - world.shared) * own
        parts.append(_frame(world.accuracy[..., None] + world.noise[..., None] * mixed, sharp, attack))
    return pd.concat(parts, ignore_index=True)


def _noise(world: World, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    if np.isinf(world.tails):
        return rng.normal(size=shape)
    return np.asarray(rng.standard_t(world.tails, size=shape) / np.sqrt(world.tails / (world.tails - 2)), dtype=float)


def _frame(accuracy: Floats, sharp: Floats, attack: int) -> pd.DataFrame:
    families, curves, sizes, seeds = accuracy.shape
    family, curve, size = (
        axis.ravel() for axis in np.meshgrid(*(np.arange(k) for k in (families, curves, sizes)), indexing="ij")
    )
    count = family.size
    correct = np.clip(np.round(IMAGES * accuracy), 0, IMAGES).reshape(count, seeds)
    lambda1 = sharp.reshape(count, seeds)
    frame = pd.DataFrame(dict.fromkeys(STRATUM, "planted"), index=np.arange(count))
    return frame.assign(
        loss=family, momentum=curve, attack=attack, epsilon=0.0, batch_size=2 ** (4 + size), n_seeds=seeds,
        n=IMAGES * seeds, correct=correct.sum(axis=1).astype(int),
        floor=False, untrained=False, suspect=False, sound=True, decidable=True, converged_test=True,
        accuracy=correct.mean(axis=1) / IMAGES, log2_lambda1_test=lambda1.mean(axis=1),
        accuracy_seeds=list(correct / IMAGES), logit_seeds=list(logit_accuracy(correct, IMAGES)),
        log2_lambda1_test_seeds=list(lambda1), test_acc_seeds=list(np.full((count, seeds), 0.99)),
        trial_ids=list(np.arange(count * seeds).reshape(count, seeds)),
        attack_rows=list(np.zeros((count, seeds), dtype=int)),
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


def adjusted(pairs: pd.DataFrame) -> pd.Series:
    """Pairs whose q is at most .05, whatever the size of their effects."""
    return pairs["q"] <= FALSE_DISCOVERY_RATE
