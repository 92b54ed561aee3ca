"""Pending work: the probes that a grid asks minus those that the rows answer, trial by trial."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from search_spaces import Grid, Planned
from study.results.answers import ENTRIES, SPLITS, answered
from study.results.folder import Results
from study.results.schema import TRAINED, Row

COLUMNS = (
    "trial_id",
    "status",
    "status_reason",
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


def pending_with_parents(grid: Grid, rows: Sequence[Row], results: Results, *, set_aside: bool = True) -> list[Planned]:
    """As `pending`, after a look at what the rows refer to.

    A parent that trials of the work start from is trained again, before its children, if its weights are missing or
    damaged. Damaged ones are set aside unless `set_aside` is False. Answers whose arrays are gone are computed again.
    """
    rows = _with_arrays(rows, results)
    work = pending(grid, rows)
    again = {planned.trial.trial_id for planned in work}
    parents = {one.trial.parent.trial_id for one in work if one.trial.parent is not None} - again
    lost = {row["trial_id"] for row in rows if row["trial_id"] in parents and not _has_weights(row, results, set_aside)}
    return pending(grid, [row for row in rows if row["trial_id"] not in lost]) if lost else work


def _with_arrays(rows: Sequence[Row], results: Results) -> list[Row]:
    """The rows without the answers whose file of arrays is gone, or was set aside because it was damaged."""
    stored = {name.removesuffix(".npz") for name in results.files("arrays")}
    return [row if row["trial_id"] in stored else without_lost_arrays(row, ()) for row in rows]


def without_lost_arrays(row: Row, arrays: Collection[str]) -> Row:
    """The row without the answers that have an array which is not among the names of the stored `arrays`."""
    if row["landscapes"]:
        kept = [one for one in row["landscapes"] if arrays and {one["offsets"], one["losses"]} <= set(arrays)]
        row = row | {"landscapes": kept}
    if "minimal_epsilon" not in arrays:
        row = row | {"minimal_epsilon_area": None}
    return row | {f"lambda1_x_{split}": None for split in SPLITS if f"lambda1_x_{split}" not in arrays}


def _has_weights(row: Row, results: Results, set_aside: bool) -> bool:
    """Whether the weights that the row of a trained network describes are stored."""
    from study.results.checkpoints import DamagedError, read_weights  # importing torch takes seconds

    content = results.read_weights(row["trial_id"]) if row["status"] == "ok" else b""
    if not content:
        return content is not None  # a diverged network has none
    try:
        read_weights(content, row["trial_id"], row["weights_sha256"])
    except DamagedError as error:
        if set_aside:
            results.set_aside(f"weights/{row['trial_id']}.safetensors", str(error))
        return False
    return True


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
