"""Interim analyses (looks) of a group-sequential study, whose seeds are added where they decide: the tables of each.

The look at n seeds of a curve is taken once seeds 0 to n - 1 of each of its cells are trained or have diverged, and
reads just these, for n in `thresholds.LOOKS`. On a curve to which a plan adds seeds only the plan's cells count, on any
other all cells. So what a look finds does not depend on which curve was trained when.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.groups import group_codes
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS
from analysis.tables.cells import roster_of
from analysis.tables.lookup import Frame
from analysis.tables.table import CURVE, StudyTable


@dataclass(frozen=True)
class Look:
    """`table` holds `seeds` seeds of every cell of the curves that have them; it may spend `share` of the level."""

    seeds: int
    share: float
    table: StudyTable


@dataclass(frozen=True)
class Looks:
    """`each` look that was taken on some curve, the first one always; `latest` holds each curve as its last look did.

    `waiting`: the number of curves without a look that get one when all that is planned has run.
    """

    each: tuple[Look, ...]
    latest: StudyTable
    waiting: int


def looks(table: StudyTable) -> Looks | None:
    """The looks at a study with a plan for them; None without one."""
    return table.once("looks", lambda: _looks(table)) if table.plans else None


def _looks(table: StudyTable) -> Looks:
    roster = staged_roster(table)
    taken = np.zeros(int(roster["curve"].max()) + 1 if len(roster) else 0, dtype=int)
    each: list[Look] = []
    found = roster["state"].isin(("ok", "diverged"))
    for seeds, share in zip(LOOKS, LOOK_SHARES, strict=True):
        complete = _complete(roster, found, seeds)
        taken[complete] = seeds
        if complete.any() or not each:
            each.append(Look(seeds, share, restricted(table, roster, np.where(complete, seeds, 0))))
    awaited = _complete(roster, pd.Series(True, index=roster.index), LOOKS[0])  # not those of a trial of one seed
    return Looks(tuple(each), restricted(table, roster, taken), int((awaited & (taken == 0)).sum()))


def staged_roster(table: StudyTable) -> pd.DataFrame:
    """`cells.roster_of` with the code of each curve.

    Of a curve that a plan adds seeds to, it has the cells of plans alone: others would keep it waiting for ever.
    """
    roster = roster_of(table)
    curve = group_codes(roster, CURVE)
    staged = roster["cell_id"].isin(table.staged).groupby([curve, roster["batch_size"]]).transform("any")
    without = ~staged.groupby(curve).transform("any")
    roster = roster[staged | without].reset_index(drop=True)
    return roster.assign(curve=group_codes(roster, CURVE))


def _complete(roster: pd.DataFrame, counted: pd.Series, seeds: int) -> NDArray[np.bool_]:
    """Of each curve, whether every one of its cells has so many seeds among the trials that are `counted`."""
    there = (roster["seed"] < seeds) & counted
    counts = there.groupby([roster["curve"], roster["batch_size"]]).sum()
    return np.asarray((counts == seeds).groupby(level=0).all().to_numpy(dtype=bool))


def restricted(table: StudyTable, roster: pd.DataFrame, seeds: np.ndarray[tuple[int], np.dtype[np.int_]]) -> StudyTable:
    """The table with only the first `seeds[c]` seeds of curve c; its other networks count as planned but missing."""
    kept = roster[roster["state"].isin(("ok", "diverged")) & (roster["seed"] < seeds[roster["curve"]])]
    index = pd.MultiIndex.from_frame(kept[["trial_id", "regime"]])

    def holds(frame: pd.DataFrame) -> NDArray[np.bool_]:
        return pd.MultiIndex.from_frame(frame[["trial_id", "regime"]]).isin(index)

    frames = {name: getattr(table, name) for name in get_args(Frame)}
    trials, planned = table.trials, table.planned
    own = trials["trial_id"].isin(kept["trial_id"])
    return replace(
        table,
        **{name: frame[holds(frame)].reset_index(drop=True) for name, frame in frames.items()},
        trials=trials[own | trials["trial_id"].isin(trials.loc[own, "parent"].dropna())].reset_index(drop=True),
        planned=planned.assign(state=planned["state"].where(holds(planned), "missing")),
        plans=(),
    )
