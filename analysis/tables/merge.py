"""Several results folders as one: the union of their rows by trial id, and where the folders disagree.

The same trial in two folders is one network if its weights are the same. Then what either folder asked of it is united
in one row. A trial with other weights, for example trained on another device, is a conflict: the row of the folder that
is named first counts, and the conflict is listed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from study.results.answers import READERS, headline
from study.results.rows import union
from study.results.schema import OUTCOME, PROBES, Row

WEIGHTS, ANSWERS, PARENT = "weights", "answers", "parent"
"""What a conflict is about: two networks, two answers of one network, or a network of another parent."""

_DIGESTS = {"dataset_sha256": "other images", "parent_sha256": "other weights of its parent"}
"""Columns that two rows of one network share, where both have them -> what it means if they do not."""

_COLUMNS = tuple(one.name for one in (*OUTCOME, *PROBES) if one.name not in READERS and one.name != "history")
"""Columns that one of two rows of a network may lack: what was not asked, or did not exist yet."""

_HOW = ("seconds", "matvecs", "residuals", "converged", "converged_each")
"""Fields of an entry that say how it was computed: two answers may differ in them and agree."""

_RELATIVE, _ABSOLUTE = 1e-4, 1e-8
"""Answers that agree to this differ by the rounding of two machines; eigenvalues have the tolerance of their probe."""


@dataclass(frozen=True)
class Conflict:
    """Where two folders disagree about a trial.

    Attributes:
        trial_id, dataset, model, batch_size, seed: the trial.
        about: WEIGHTS, ANSWERS or PARENT.
        kept: the folder whose row or answers count; "" if the trial is left out.
        left_out: the folder whose row or answers do not count.
        detail: how they differ.
    """

    trial_id: str
    dataset: str
    model: str
    batch_size: int
    seed: int
    about: str
    kept: str
    left_out: str
    detail: str


@dataclass
class Merged:
    """The rows of several folders, one a trial.

    Attributes:
        rows: with the columns of the folders' rows, ordered by trial id.
        sources: trial id -> the folders whose answers are in its row, the one whose row counts first.
        conflicts: where folders disagree.
    """

    rows: pa.Table
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)


def merge(locations: Sequence[str], tables: Sequence[pa.Table]) -> Merged:
    """The union of the rows of folders: the location of each, and its rows, one a trial id, all with equal columns."""
    merged = Merged(tables[0])
    if len(tables) == 1:
        return merged
    merged.sources |= dict.fromkeys(merged.rows["trial_id"].to_pylist(), (locations[0],))
    for location, rows in zip(locations[1:], tables[1:], strict=True):
        _add(merged, location, rows)
    merged.rows = merged.rows.combine_chunks().sort_by("trial_id")
    _leave_out_orphans(merged)
    return merged


def _add(merged: Merged, location: str, rows: pa.Table) -> None:
    again = pc.is_in(rows["trial_id"], merged.rows["trial_id"].combine_chunks())
    both = set(rows["trial_id"].filter(again).to_pylist())
    parts = [merged.rows, rows.filter(pc.invert(again))]
    merged.sources |= dict.fromkeys(parts[1]["trial_id"].to_pylist(), (location,))
    if both:
        known = pc.is_in(merged.rows["trial_id"], pa.array(sorted(both)))
        first = {row["trial_id"]: row for row in merged.rows.filter(known).to_pylist()}
        united = [_unite(merged, first[row["trial_id"]], row, location) for row in rows.filter(again).to_pylist()]
        parts = [merged.rows.filter(pc.invert(known)), parts[1], pa.Table.from_pylist(united, schema=rows.schema)]
    merged.rows = pa.concat_tables(parts)


def _unite(merged: Merged, first: Row, second: Row, location: str) -> Row:
    """One row of two of the same trial, the second from the folder `location`."""
    trial_id = first["trial_id"]
    known = merged.sources[trial_id]
    if first["status"] == "failed" and second["status"] != "failed":  # no network, so nothing that could disagree
        first, second = second, first
        merged.sources[trial_id] = (location,)
    elif second["status"] != "failed":
        why = other_network(first, second)
        differing, added = [why] if why else [], False
        if not why and first["status"] == "ok":
            first, differing, added = _with_answers(first, second)
        if differing:
            more = f", and {len(differing) - 1} more answers" if len(differing) > 1 else ""
            about = WEIGHTS if why else ANSWERS
            merged.conflicts.append(_conflict(first, about, known[0], location, differing[0] + more))
        if added:
            merged.sources[trial_id] = (*known, location)
    return first | {name: union(first[name], second[name] or ()) for name in ("spaces", "regimes")}


def other_network(first: Row, second: Row) -> str:
    """Why two rows of a trial are those of two networks; "" if they are of one: their digests of the weights decide."""
    if first["status"] != second["status"]:
        return f"{first['status']} and {second['status']}{_devices(first, second)}"
    for name, what in _DIGESTS.items():
        if first[name] and second[name] and first[name] != second[name]:
            return f"{what}: {first[name][:12]} and {second[name][:12]}"
    if first["weights_sha256"] == second["weights_sha256"]:
        return ""
    return f"other weights{_devices(first, second)}; {_outcomes(first, second, 'test_acc')}"


def _devices(first: Row, second: Row) -> str:
    return "" if first["device"] == second["device"] else f", trained on {first['device']} and on {second['device']}"


def _outcomes(first: Row, second: Row, name: str) -> str:
    return f"{name} {first[name]} and {second[name]}"


def _with_answers(first: Row, second: Row) -> tuple[Row, list[str], bool]:
    """The first row with the answers that only the second has; answers that differ, in words; whether any was added."""
    row, differing, seconds, added = dict(first), [], 0.0, False
    for column, read in READERS.items():
        known = {read(entry).key: entry for entry in first[column] or ()}
        for entry in second[column] or ():
            key = read(entry).key
            if key not in known:
                row[column] = [*(row[column] or ()), entry]
                seconds, added = seconds + (entry["seconds"] or 0.0), True
            elif name := _difference(known[key], entry):
                said = f"{name} {known[key][name]} and {entry[name]}" if name != "correct_bits" else "other images"
                differing.append(f"{' '.join(map(str, key))}: {said}")
    for name in _COLUMNS:
        if row[name] is None and second[name] is not None:
            row[name], added = second[name], True
        elif not (name.endswith("_seconds") or _same(row[name], second[name])):
            differing.append(_outcomes(row, second, name))
    if _tracked(second) and not _tracked(first):
        row["history"], added = second["history"], True
    if added:
        row["probe_seconds"] = (first["probe_seconds"] or 0.0) + seconds
        row["finished_at"] = max(filter(None, (first["finished_at"], second["finished_at"])), default=None)
        row |= headline(row)
    return row, differing, added


def _tracked(row: Row) -> bool:
    """Whether the curvature was stored while the network was trained."""
    return any(epoch.get("lambda1_images") is not None for epoch in row["history"] or ())


def _difference(first: Row, second: Row) -> str:
    """The first field in which two answers of one probe differ by more than rounding; "" if there is none."""
    tolerance = max(first.get("tolerance") or 0.0, second.get("tolerance") or 0.0)
    names = (name for name in first if name not in (*_HOW, "tolerance"))
    return next((name for name in names if not _same(first[name], second[name], tolerance)), "")


def _same(first: Any, second: Any, tolerance: float = 0.0) -> bool:
    """Whether two values agree; a null is not known, two NaN are the same."""
    if isinstance(first, list) and isinstance(second, list):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_same(*pair, tolerance) for pair in pairs)
    if first is None or second is None or first == second or (first != first and second != second):
        return True
    if not (isinstance(first, float) and isinstance(second, float)):
        return False
    return math.isclose(first, second, rel_tol=max(tolerance, _RELATIVE), abs_tol=_ABSOLUTE)


def _leave_out_orphans(merged: Merged) -> None:
    """Leave out networks that started from other weights of their parent than those that count here, and list them."""
    columns = ["trial_id", "parent", "parent_sha256", "weights_sha256", "dataset", "model", "batch_size", "seed"]
    by_id = {row["trial_id"]: row for row in merged.rows.select(columns).to_pylist()}
    orphans = []
    for trial_id, row in by_id.items():
        parent = by_id.get(row["parent"])
        if parent and row["parent_sha256"] and row["parent_sha256"] != parent["weights_sha256"]:
            folder, other = merged.sources[trial_id][0], merged.sources[row["parent"]][0]
            if folder != other:  # within one folder, the next run trains it again
                detail = f"started from weights of trial {row['parent']} that are not those of {other}"
                merged.conflicts.append(_conflict(row, PARENT, "", folder, detail))
                orphans.append(trial_id)
    if orphans:
        merged.rows = merged.rows.filter(pc.invert(pc.is_in(merged.rows["trial_id"], pa.array(orphans))))


def _conflict(row: Row, about: str, kept: str, left_out: str, detail: str) -> Conflict:
    trial = {name: row[name] for name in ("trial_id", "dataset", "model", "batch_size", "seed")}
    return Conflict(**trial, about=about, kept=kept, left_out=left_out, detail=detail)


def conflicts_in_words(conflicts: Iterable[Conflict]) -> list[str]:
    """How many conflicts of each kind there are, and what counts."""
    counts = Counter(one.about for one in conflicts)
    told = {
        WEIGHTS: "trained with other weights in another folder: the folder named first counts",
        ANSWERS: "with other answers in another folder: the folder named first counts",
        PARENT: "left out: trained from a parent that does not count",
    }
    return [
        f"{counts[about]} network{'s' if counts[about] > 1 else ''} {text}"
        for about, text in told.items()
        if counts[about]
    ]
