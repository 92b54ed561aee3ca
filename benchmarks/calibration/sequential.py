"""Looking again: error rates over all looks, and what adding seeds where they decide saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.claims import CLAIMS
from analysis.claims.claim import Claim
from analysis.claims.curves import Curve, Evidence, Key, Scope, curve_key
from analysis.claims.looks import DECIDED, together, with_awaited
from analysis.claims.prospects import Memory, of_verdict
from analysis.claims.tests import Stratum, Test, on_sound_cells
from analysis.reports.counterexamples import COUNTEREXAMPLE, judge_pairs, over_looks, testable_pairs
from analysis.statistics.intervals import clopper_pearson
from analysis.statistics.thresholds import FLOOR, LOOK_SHARES, LOOKS
from analysis.tables.looks import Look, restricted, staged_roster
from analysis.tables.pairs import pair_up
from analysis.tables.table import from_rows
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
from benchmarks.planted_study import planted_row
from search_spaces import Planned, Request, plan
from study.tuning.costs import CostModel
from study.until_decided import Schedule

Random = np.random.Generator
SHARED_OUT = tuple(zip(LOOKS, LOOK_SHARES, strict=True))


# Errors: every look is taken, so that no rule of stopping can err more often


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
    floor = clopper_pearson(correct.round(), IMAGES * count).high < FLOOR
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


# The saving: planted studies of the size of the natural-training paper (2020)

STUDIED = (*(f"A{k}" for k in (*range(1, 8), 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22)),)
"""The claims of that paper whose tests read curves; the others read a report of the whole study."""

EFFECTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""What the planted slopes of a curve are multiplied by, drawn for each."""


@dataclass
class Reached:
    """A study at some time: seconds of one core so far, trainings, and decided verdicts (a claim on a loss each)."""

    seconds: float
    trainings: int
    verdicts: int


class Simulation:
    """A study of which every row is known, so that looks can be taken in any order."""

    def __init__(self, seed: int, select: Mapping[str, tuple[str, ...]]) -> None:
        request = Request("natural_training", select=select, seeds=tuple(range(LOOKS[-1])), probes="headline")
        self.grid, self.costs = plan(request), CostModel()
        effects: dict[Key, float] = {}
        rng, rows = np.random.default_rng(seed), []
        for planned in self.grid.values():
            curve = curve_key(planned.trial.to_dict() | {"regime": planned.regimes[0]})
            if curve not in effects:
                effects[curve] = float(rng.choice(EFFECTS))
            rows.append(planted_row(planned, rng, effect=effects[curve]))
        table = from_rows(rows, grid=self.grid)
        roster = staged_roster(table)
        curves_there = int(roster["curve"].max()) + 1
        self.seen = {n: Evidence(restricted(table, roster, np.full(curves_there, n)), table) for n in LOOKS}
        self.strata = {(name, loss): self._strata(claim, loss) for name, claim in _claims() for loss in claim.losses}
        self.schedule = Schedule(self.grid, STUDIED)

    def _strata(self, claim: Claim, loss: str | None) -> list[tuple[tuple[Key, ...], list[Stratum]]]:
        """The curves of each stratum, and what each look finds."""
        return [
            (
                tuple(curve.key for curve in places[0].curves),
                [test.stratum(self.seen[n], claim.scope, loss, arms) for n, arms in zip(LOOKS, places, strict=True)],
            )
            for test in claim.tests
            if isinstance(test, Test)
            for places in zip(*(test.arms(self.seen[n], claim.scope, loss) for n in LOOKS), strict=True)
            if all(curve.key in self.seen[LOOKS[0]]._run for curve in places[0].curves)
        ]

    def equal(self, seeds: int) -> Reached:
        """So many seeds everywhere, with the verdicts of one look at them."""
        place = LOOKS.index(seeds)
        found = {key: [at[place] for _, at in strata] for key, strata in self.strata.items()}
        return self._reached([one for one in self.grid.values() if one.trial.seed < seeds], found)

    def sequential(self) -> Iterator[Reached]:
        """The state after each stage."""
        left, taken, memory = dict(self.grid), dict.fromkeys(self.schedule.curves, 0), Memory()
        found = self._found(taken)
        while stages := self.schedule.choose(self._prospects(taken, found, memory), left.values(), self.costs.seconds):
            for planned in stages[0].work:
                del left[planned.trial.trial_id]
            for key in taken:
                missing = (one.trial.seed for one in self.schedule.curves[key] if one.trial.trial_id in left)
                first = min(missing, default=LOOKS[-1])
                taken[key] = max((n for n in LOOKS if n <= first), default=0)
            found = self._found(taken)
            yield self._reached([one for key, one in self.grid.items() if key not in left], found)

    def _found(self, taken: Mapping[Key, int]) -> dict[tuple[str, str | None], list[Stratum]]:
        """The strata as the looks that were taken at all of their curves say together."""
        return {
            key: [
                together([(n, w, s) for (n, w), s in zip(SHARED_OUT, at, strict=True) if n <= least])
                if (least := min(taken[curve] for curve in keys))
                else replace(at[0].undecided("", "not run"), awaited=True)
                for keys, at in strata
            ]
            for key, strata in self.strata.items()
        }

    def _prospects(self, taken: Mapping[Key, int], found: Mapping[Any, list[Stratum]], memory: Memory) -> list[Any]:
        several: list[Any] = []
        views = tuple((Look(n, w, self.seen[n].table), _View(self.seen[n], n, taken)) for n, w in SHARED_OUT)
        for name, claim in _claims():
            open_ = [loss for loss in claim.losses if _verdict(claim, found[name, loss]) not in DECIDED]
            state: Any = _View(self.seen[LOOKS[0]], 0, taken, views)
            here = [
                one for loss in open_ for one in of_verdict(claim, state, loss, found[name, loss], LOOKS[-1], memory)
            ]
            several += [replace(one, share=1 / len(here)) for one in here]
        return several

    def _reached(self, done: Sequence[Planned], found: Mapping[tuple[str, str | None], list[Stratum]]) -> Reached:
        verdicts = sum(_verdict(CLAIMS[name], strata) in DECIDED for (name, _), strata in found.items())
        return Reached(sum(map(self.costs.seconds, done)), len(done), verdicts)


class _View:
    """The evidence of a look, of the curves of which it was taken."""

    def __init__(self, seen: Evidence, seeds: int, taken: Mapping[Key, int], looks: tuple[Any, ...] = ()) -> None:
        self._seen, self._seeds, self._taken, self.looks = seen, seeds, taken, looks
        self.curves, self.plans, self.as_planned = seen.curves, seen.plans, seen.as_planned

    def awaited(self, curves: Sequence[Key]) -> list[Key]:
        return [curve for curve in curves if self._taken[curve] < self._seeds]

    def planned(self, scope: Scope) -> tuple[Key, ...]:
        return ()


def _claims() -> Iterator[tuple[str, Claim]]:
    return ((name, CLAIMS[name]) for name in STUDIED)


def _verdict(claim: Claim, strata: Sequence[Stratum]) -> str:
    return claim.rule(with_awaited(strata)).verdict
