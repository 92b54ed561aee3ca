"""Repeated testing: error rates over all stages. Each is tested, so that no rule of stopping can err more often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.claims.claim_tests import on_sound_cells
from analysis.claims.curves import Curve
from analysis.claims.looks import together
from analysis.claims.stratum import Stratum
from analysis.reports.counterexamples import COUNTEREXAMPLE, judge_pairs, over_looks, testable_pairs
from analysis.statistics.intervals import at_floor
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS
from analysis.tables.pairs import pair_up
from benchmarks.calibration.verdicts import Case, curves
from benchmarks.calibration.worlds import (
    AT_ONCE,
    CURVATURE,
    IMAGES,
    LAMBDA_NOISE,
    WITHOUT_BITS,
    Noise,
    World,
    family_cells,
)

Random = np.random.Generator
SHARED_OUT = tuple(zip(LOOKS, LOOK_SHARES, strict=True))


class Errors(NamedTuple):
    """Of `n`: how many reach the wrong verdict with sequential p-values, and at some look by its own p-value."""

    sequential: int
    naive: int
    n: int


def verdict_errors(case: Case, noise: Noise, networks: int, rng: Random) -> Errors:
    """How often a test of planted curves reaches the wrong verdict at any of the four looks."""
    noise = case.noise or noise
    arms = [
        curves(
            rng,
            np.tile(mean, (networks, 1)),
            LAMBDA_NOISE if case.curvature and place == 0 else noise,
            LOOKS[-1],
            images=0 if case.curvature and place == 0 else IMAGES,
        )
        for place, mean in enumerate(case.arms)
    ]
    sequential = naive = 0
    for arm in zip(*arms, strict=True):
        found = [
            (n, share, Stratum.of(on_sound_cells(case.decide, *(at_look(one, n) for one in arm), falls=case.falls)))
            for n, share in SHARED_OUT
        ]
        sequential += together(found).verdict == case.verdict
        naive += any(one.verdict == case.verdict for *_, one in found)
    return Errors(sequential, naive, networks)


def at_look(curve: Curve, seeds: int) -> Curve:
    """The curve with its first seeds, and the cells that are at the floor by these."""
    kept = curve.sample.seed < seeds
    seen = replace(curve, sample=curve.sample.where(kept), flag=curve.flag[kept])
    if not seen.sample.rounding:  # no images
        return seen
    _, cell, count = np.unique(seen.sample.batch_size, return_inverse=True, return_counts=True)
    correct = np.bincount(cell, weights=np.nan_to_num(seen.sample.value) / 100 * IMAGES)
    floor = at_floor(correct.round(), IMAGES * count)
    return replace(seen, flag=np.where(floor[cell], "floor", "").astype(object))


def pair_errors(world: World, families: int, rng: Random) -> Errors:
    """In how many studies without a counterexample one is confirmed at any of the four looks."""
    sequential = naive = 0
    for start in range(0, families, AT_ONCE):
        count = min(AT_ONCE, families - start)
        whole = family_cells(world, count, LOOKS[-1], rng)
        each = [(share, _first_seeds(whole, n)) for n, share in SHARED_OUT]
        by_itself = [pair_up(cells, CURVATURE) for _, cells in each]
        found = [_confirmed(cells, pairs) for (_, cells), pairs in zip(each, by_itself, strict=True)]
        naive += len(set().union(*found))
        sequential += len(_confirmed(whole, over_looks(whole, by_itself[-1], each, CURVATURE)))
    return Errors(sequential, naive, families)


def _confirmed(cells: pd.DataFrame, pairs: pd.DataFrame) -> set[int]:
    """The studies with a confirmed pair."""
    judged = judge_pairs(cells, pairs, testable_pairs(cells, pairs, CURVATURE), COUNTEREXAMPLE, WITHOUT_BITS)
    return set(cells["loss"].to_numpy()[judged.loc[judged["label"] == "confirmed", "i"]].tolist())


def _first_seeds(cells: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Cells of a world in which no run is lost, with their first seeds."""
    names = [str(name) for name in cells.columns]
    arrays = [n for n in names if n.endswith("_seeds") and n != "n_seeds"] + ["trial_ids", "attack_rows"]
    cut: dict[str, Any] = {name: [values[:seeds] for values in cells[name]] for name in arrays}
    accuracy = np.array([values.mean() for values in cut["accuracy_seeds"]])
    return cells.assign(
        **cut,
        n_seeds=seeds,
        n=IMAGES * seeds,
        accuracy=accuracy,
        correct=np.round(accuracy * IMAGES * seeds).astype(int),
        log2_lambda1_test=[values.mean() for values in cut["log2_lambda1_test_seeds"]],
    )
