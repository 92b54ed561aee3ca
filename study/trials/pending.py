"""Pending work: the probes that a grid asks minus those that the rows answer, trial by trial."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from search_spaces import Grid, Planned
from study.results.answers import ENTRIES, answered
from study.results.schema import TRAINED, Row

COLUMNS = (
    "trial_id",
    "status",
    *(f"{column}.{name}" for column, names in ENTRIES.items() for name in names),
    "dataset",
    "dataset_sha256",
    "lambda1_x_train",
    "lambda1_x_test",
    "psd_violation",
    "minimal_epsilon_area",
    "weights_sha256",
    "model_fingerprint",
    "parent_sha256",
    "train_seconds",
    "probe_seconds",
    "device",
    "started_at",
)
"""The columns of a row that planning reads."""


def pending(grid: Grid, rows: Iterable[Row]) -> list[Planned]:
    """The trials that still need work, in the grid's order, each with its unanswered probes only.

    Failed trials start again with all probes, and so do trials whose parent has other weights by now or will be trained
    again. Diverged trials need nothing.
    """
    by_id = {row["trial_id"]: row for row in rows}
    work: dict[str, Planned] = {}
    retrained: set[str] = set()
    for trial_id, planned in sorted(grid.items(), key=lambda item: item[1].trial.generation):
        row = by_id.get(trial_id)
        if row is None or row["status"] not in TRAINED or _parent_changed(planned, row, by_id, retrained):
            work[trial_id] = planned
            retrained.add(trial_id)
        elif row["status"] == "ok":
            left = unanswered(planned, row)
            if left.probes:
                work[trial_id] = left
    return [work[trial_id] for trial_id in grid if trial_id in work]


def pending_with_parents(grid: Grid, rows: Sequence[Row], weights: Collection[str]) -> list[Planned]:
    """As `pending`; a parent that trials of the work start from is trained again, before them, if its weights are lost.

    `weights`: the ids of the trials whose weights are stored. A diverged parent needs none.
    """
    work = pending(grid, rows)
    parents = {one.trial.parent.trial_id for one in work if one.trial.parent is not None}
    lost = {row["trial_id"] for row in rows if row["status"] == "ok"} & parents - set(weights)
    return pending(grid, [row for row in rows if row["trial_id"] not in lost]) if lost else work


def _parent_changed(planned: Planned, row: Row, by_id: Mapping[str, Row], retrained: Set[str]) -> bool:
    """Whether the weights that a trial started from are no longer its parent's."""
    if planned.trial.parent is None:
        return False
    parent_id = planned.trial.parent.trial_id
    parent = by_id.get(parent_id)
    return parent is None or parent_id in retrained or parent["weights_sha256"] != row["parent_sha256"]


def unanswered(planned: Planned, row: Row) -> Planned:
    """The same trial with only the probes that its row does not answer."""
    known = answered(row)
    return replace(planned, probes=frozenset(probe for probe in planned.probes if probe.key not in known))
