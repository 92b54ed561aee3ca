"""`--until-decided`: seeds are added curve by curve, where they decide claims soonest.

A curve is looked at when each of its cells has 3, 5, 8 and 12 seeds (`statistics.thresholds.LOOKS`). After each
stage the ledger is read, and the curve comes next that is expected to decide most for its seconds. It stops when its
claims are decided, at the last look, or when its chance to decide is small. Verdicts allow for every look whatever is
trained when (`analysis.claims.looks`). The analysis says what a stage may decide and the cost model what it takes; a
stage itself is an ordinary run of these trials.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from analysis.claims import claims_of
from analysis.claims.curves import Key, curve_key
from analysis.claims.prospects import DRAWS, UNKNOWN_CHANCE, Memory, Prospect, claims_about, prospects
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS, SIGNIFICANCE
from analysis.tables.table import StudyTable, from_rows, load
from search_spaces import Grid, Planned, Request, Trial, did_you_mean
from study.checks import InputError
from study.results.folder import Results
from study.tuning.costs import CostModel
from study.tuning.progress import describe_settings, duration

LEAST_CHANCE = 0.05
"""A curve stops when no undecided stratum of it has this chance to be decided by the last look."""

FLOOR = 0.02
"""Added to the expected number of decisions of every stage, so that a cheap curve with a small chance is trained at
some time."""

ENDED = (
    "finished: for every curve the claims are decided, the seeds are used up, or further seeds are unlikely to decide"
)

SHOWN = 12
"""Stages that a dry run lists; more are counted."""


def requested(request: Request, most: int | None) -> Request:
    """The request with the seeds of every look up to `most` seeds.

    Raises:
        InputError: seeds were chosen as well, or no look has `most` seeds.
    """
    most = LOOKS[-1] if most is None else most
    if request.seeds is not None:
        raise InputError("--until-decided chooses the seeds itself: leave out --seeds, or give --max-seeds N")
    if most not in LOOKS:
        raise InputError(
            f"--max-seeds must be one of {', '.join(map(str, LOOKS))}: claims are judged there only; got {most}"
        )
    return replace(request, seeds=tuple(range(most)))


def plan(request: Request, grid: Grid, chosen: str) -> dict[str, Any]:
    """The plan of a sequential study, stored before it trains anything: request, claims, looks, shares and thresholds.

    `sha256` is that of the rest but `stored`, as JSON with sorted keys and no spaces.

    Args:
        request: as `requested` gives it.
        grid: its trials.
        chosen: the claims' names, joined by commas; "": all those of which the grid plans a stratum.

    Raises:
        InputError: no such claim, or none that this grid is about.
    """
    names = list(dict.fromkeys(name.strip() for name in chosen.split(",") if name.strip()))
    known = claims_of([request])
    for name in names:
        if name not in known:
            close = did_you_mean(name, known)
            raise InputError(f"--until-decided: unknown claim {name!r}; valid: {', '.join(known)}{close}")
    fields = request.to_dict()
    about = claims_about(from_rows([], grid=grid, requests=[request], plans=[{}]))
    other = [name for name in names if name not in about]
    if other or not about:
        of = ", ".join(other) or "any claim"
        raise InputError(
            f"the selected trials of grid {request.grid!r} cannot test {of}; "
            f"claims they can test: {', '.join(about) or 'none'}"
        )
    usual = Request(request.grid).to_dict()
    content = {
        "request": {name: value for name, value in fields.items() if name == "grid" or value != usual[name]},
        "claims": names or about,
        "looks": [n for n in LOOKS if n <= len(fields["seeds"])],
        "shares": [share for n, share in zip(LOOKS, LOOK_SHARES, strict=True) if n <= len(fields["seeds"])],
        "significance": SIGNIFICANCE,
        "seeds": fields["seeds"],
        "draws": DRAWS,
        "unknown_chance": UNKNOWN_CHANCE,
        "least_chance": LEAST_CHANCE,
        "floor": FLOOR,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return content | {"sha256": digest, "stored": now}


@dataclass(frozen=True)
class Stage:
    """The trials that a curve needs for its next look, and what that look is expected to decide.

    `gains`: claim -> the share of its open strata that are expected to be decided; the claim itself may need others.
    `rate`: the sum of these shares for each second of one trial at a time.
    """

    name: str
    seeds: int
    work: Sequence[Planned]
    seconds: float
    gains: Mapping[str, float]
    rate: float

    @property
    def line(self) -> str:
        """In words: the curve, the seeds that it has afterwards, its trials and their time, and what it may decide."""
        gains = sorted(self.gains.items(), key=lambda item: -item[1])
        told = ", ".join(f"{claim} {100 * gain:.0f} %" for claim, gain in gains[:4])
        more = f" and {len(gains) - 4} more" if len(gains) > 4 else ""
        trials = f"{len(self.work)} trials, about {duration(self.seconds)} in sequence"
        decided = f"expected share of undecided tests it decides: {told}{more}"
        return f"{self.name}, up to {self.seeds} seeds: {trials}; {decided}"


@dataclass
class Schedule:
    """What there is to do next, for the trials of `grid` and the claims of a plan.

    Attributes:
        grid: every trial up to the last look.
        claims: the claims' names.
        memory: chances that need not be simulated again.
        lost: ids of the trials that failed; their curves wait for another run.
    """

    grid: Grid
    claims: Sequence[str]
    memory: Memory = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Sort the trials by curve."""
        self.curves: dict[Key, list[Planned]] = {}
        self.names: dict[Key, str] = {}
        for planned in self.grid.values():
            for regime in planned.regimes:
                key = curve_key(planned.trial.to_dict() | {"regime": regime})
                self.curves.setdefault(key, []).append(planned)
                self.names.setdefault(key, describe_settings(planned.trial, (regime,)))
        self.most = max(planned.trial.seed for planned in self.grid.values()) + 1

    def stages(self, table: StudyTable, work: Collection[Planned], costs: CostModel) -> list[Stage]:
        """The next stage of every curve that goes on, the one that decides most for its seconds first.

        Args:
            table: what was found so far.
            work: the trials of the grid that are not answered.
            costs: expected seconds of each.
        """
        return self.choose(prospects(table, self.claims, most=self.most, memory=self.memory), work, costs.seconds)

    def choose(
        self,
        found: Iterator[Prospect] | Sequence[Prospect],
        work: Collection[Planned],
        seconds: Callable[[Planned], float],
    ) -> list[Stage]:
        """As `stages`, from the strata that are still to be decided."""
        left = {planned.trial.trial_id: planned for planned in work}
        open_ = []
        for one in found:
            # a curve that only another request of the folder planned gets no seeds from this one
            ours = tuple(key for key in one.curves if key in self.curves)
            if one.ever >= LEAST_CHANCE and (one.any or ours == one.curves):
                open_.append(replace(one, curves=ours))
        took: dict[tuple[Key, int], float] = {}

        def cost(key: Key, seeds: int) -> float:
            if (key, seeds) not in took:
                took[key, seeds] = sum(map(seconds, self._trials(key, seeds, left)))
            return took[key, seeds]

        gains: dict[Key, dict[str, float]] = {}
        rates: dict[Key, float] = {}
        for one in open_:
            together = sum(cost(key, one.seeds) for key in one.curves)
            for key in one.curves:
                if cost(key, one.seeds) > 0:
                    gains.setdefault(key, {}).setdefault(one.claim, 0.0)
                    gains[key][one.claim] += one.share * one.soon
                    rates[key] = rates.get(key, 0.0) + one.share * one.soon / together
        stages = []
        for key, gain in gains.items():
            seeds = self._next_look(key, left)
            trials = self._trials(key, seeds, left)
            if trials and not any(planned.trial.trial_id in self.lost for planned in trials):
                rate = rates[key] + FLOOR / cost(key, seeds)
                stages.append(Stage(self.names[key], seeds, trials, cost(key, seeds), gain, rate))
        return sorted(stages, key=lambda stage: -stage.rate)

    def _next_look(self, key: Key, left: Mapping[str, Planned]) -> int:
        """The seeds of the first look at a curve that still needs trials; 0 if there is none."""
        return next((seeds for seeds in LOOKS if seeds <= self.most and self._trials(key, seeds, left)), 0)

    def _trials(self, key: Key, seeds: int, left: Mapping[str, Planned]) -> list[Planned]:
        """The trials left of a curve up to so many seeds, with the parents that are to be trained first."""
        found: dict[str, Planned] = {}
        for planned in self.curves[key]:
            if planned.trial.seed < seeds and planned.trial.trial_id in left:
                trial: Trial | None = planned.trial
                while trial is not None:
                    if trial.trial_id in left:
                        found[trial.trial_id] = left[trial.trial_id]
                    trial = trial.parent
        return list(found.values())


def filling(
    stages: Sequence[Stage], slots: int, seconds: Callable[[Planned], float]
) -> tuple[list[Stage], list[Planned]]:
    """The first stages, one at least and as many as keep `slots` trials running, and their trials, each once.

    Where their last trials would leave slots idle, trials of the next stages fill these, if they take no longer.
    """
    chosen: list[Stage] = []
    work: dict[str, Planned] = {}
    for stage in stages:
        if chosen and len(work) >= slots:  # without a node that is up, a stage is what makes Ray start one
            break
        chosen.append(stage)
        work |= {planned.trial.trial_id: planned for planned in stage.work}
    idle = -len(work) % slots if slots else 0
    longest = max(map(seconds, work.values()), default=0.0)
    later = {one.trial.trial_id: one for stage in stages[len(chosen) :] for one in stage.work}
    ahead = [
        one
        for trial_id, one in later.items()
        if trial_id not in work and one.trial.parent is None and seconds(one) <= longest
    ]
    return chosen, [*work.values(), *ahead[:idle]]


def dry_run(schedule: Schedule, stages: Sequence[Stage]) -> Iterator[str]:
    """The first stages, a line each."""
    yield f"until decided: {', '.join(schedule.claims)}; at most {schedule.most} seeds a curve"
    for number, stage in enumerate(stages[:SHOWN], start=1):
        yield f"{number}. {stage.line}"
    if len(stages) > SHOWN:
        yield f"and the next stage of {len(stages) - SHOWN} more curves; the order changes with what is found"
    if not stages:
        yield "nothing more would be trained: the claims are decided, or their chance to be is small"


def run(
    schedule: Schedule,
    stages: list[Stage],
    costs: CostModel,
    results: Results,
    *,
    unanswered: Callable[[], tuple[Collection[Planned], CostModel]],
    train: Callable[[Sequence[Planned], CostModel], Collection[str]],
    slots: Callable[[], int],
    hours: float | None,
) -> bool:
    """Train stage after stage; returns whether the time was up before the claims were decided.

    Args:
        schedule: what there is to do.
        stages: the first ones, by what is stored now.
        costs: expected seconds of their trials.
        results: where the rows are.
        unanswered: the trials that are left of the grid, and what they cost, by what is stored then.
        train: trains these at these costs, and returns the ids of those that failed.
        slots: trials that run at once now, or 0 while no node is up.
        hours: after so long no further stage begins.
    """
    end = None if hours is None else time.monotonic() + 3600 * hours
    while stages:
        if end is not None and time.monotonic() >= end:
            print(
                f"stopped after {hours:g} hours; {len(stages)} curves are unfinished. Run the same command to continue",
                flush=True,
            )
            return True
        chosen, work = filling(stages, slots(), costs.seconds)
        for stage in chosen:
            print(f"next: {stage.line}", flush=True)
        if ahead := len({one.trial.trial_id for one in work} - {one.trial.trial_id for s in chosen for one in s.work}):
            print(f"plus {ahead} trials of later stages, to use idle CPUs or GPUs", flush=True)
        schedule.lost.update(train(work, costs))
        left, costs = unanswered()
        stages = schedule.stages(load(results.location), left, costs)
    if schedule.lost:
        print(
            f"{len(schedule.lost)} trials failed, so their curves are incomplete. "
            "Run the same command to try them again",
            flush=True,
        )
    else:
        print(ENDED, flush=True)
    return False
