"""Rows joined to the grid that was planned: the long tables that statistics, claims and figures read."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from analysis.statistics.thresholds import LOOKS
from analysis.tables.arrow import frame, unrolled
from analysis.tables.merge import Conflict, merge
from search_spaces import (
    PGD_STEPS,
    PLAIN,
    TRIAL_FIELDS,
    Grid,
    GridError,
    Request,
    fields_with_role,
    plan,
)
from search_spaces import merge as merge_grids
from search_spaces.outside import STUDY_FILES, is_file
from study.results.folder import RecordsError, Results, Unreadable
from study.results.packed import is_packed, read_packed
from study.results.schema import PROVENANCE, ROW_SCHEMA, Row

T = TypeVar("T")

NESTED = ("attacks", "spectra", "landscapes", "sharpness", "history")

TRACK = ("epoch", "lr", "lambda1", "lambda1_images", "batch_sharpness", "track_seconds")
"""What is read of each epoch."""

READ = (*(name for name in ROW_SCHEMA.names if name != "history"), *(f"history.{name}" for name in TRACK))
"""The columns that are read of a folder."""

TRIALS_ONLY = ("spaces", "regimes", "status_reason", "minimal_epsilon_quantiles", *(field.name for field in PROVENANCE))
"""Columns of trials and points that attacks, spectra and landscapes do not repeat."""

_IF_MISSING = {"dataset": "unknown", "model": "unknown"} | {n: value for n, value in PLAIN.items() if value is not None}
"""Column -> what a missing value means. Rows written before a field existed were trained with its plain value."""

_CLASSES = {"cifar100": 100}
"""Data set -> classes of rows from before the column `num_classes`, where they are not ten."""

PROTOCOL = fields_with_role("protocol")
"""The fields of a training protocol; trials of different protocols never share a curve or a test."""

ALIKE = ("dataset", "model", *PROTOCOL)
"""What two networks must share to be compared."""

SETTING = fields_with_role("setting")
"""The other fields that the curves of one panel share."""

CURVE = (*SETTING, "regime", "momentum", *PROTOCOL)
"""The columns that are constant along a curve; the batch size varies along it, seeds replicate its cells."""

STATES = ("ok", "diverged", "failed", "missing")
"""What can become of a planned trial."""

QUESTION = ("attack", "loss", "split", "epsilon")
"""The columns that distinguish the attacks on one trained network."""


@dataclass(frozen=True)
class StudyTable:
    """Everything the analysis knows about a results folder, or about several as one.

    Attributes:
        trials: one row per trained network, every scalar column of the schema, plus `lambda1_train_converged` and
            `lambda1_test_converged`.
        points: `trials` with one row per regime label (`regime`): a run shared by two curves appears on both.
        attacks: one row per point and attack, the columns of `points` (except `TRIALS_ONLY`) plus those of the attack
            struct (`accuracy` is the adversarial one), with images made by the network's own weights. Where a
            network met PGD with several numbers of steps, "pgd" is the published number, else the largest; the others
            are "pgd (100 steps)".
        transfers: the same, with images made by the weights of the trial's parent.
        spectra, landscapes, sharpness: one row per point and spectrum, landscape or measure of sharpness, likewise.
        tracked: one row per point and epoch after which the curvature was measured, with the columns `TRACK`.
        planned: one row per planned trial and regime label: the trial's fields, `trial_id`, `cell_id`, `space`,
            `regime` and `state` (ok, diverged, failed or missing).
        locations: paths or URIs of the folders; none for rows held in memory.
        unreadable: files left out, with the reason.
        requests: the requests made of the folders (study.json), without those that cannot be planned.
        commands: those that made the requests, as stored.
        plans: those of `--until-decided` among all requests; with one, statistics look again (`analysis.tables.looks`).
        staged: ids of the cells that such a plan adds seeds to.
        conflicts: where several folders disagree about a trial.
        sources: trial id -> the folders that its row is made of; empty for one folder.
        not_given: study files that requests name and that were not loaded: what they planned is not known.
        derived: the results of `once`.
    """

    trials: pd.DataFrame
    points: pd.DataFrame
    attacks: pd.DataFrame
    transfers: pd.DataFrame
    spectra: pd.DataFrame
    landscapes: pd.DataFrame
    sharpness: pd.DataFrame
    tracked: pd.DataFrame
    planned: pd.DataFrame
    locations: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    requests: tuple[Request, ...] = ()
    commands: tuple[str, ...] = ()
    plans: tuple[Mapping[str, Any], ...] = ()
    staged: frozenset[str] = frozenset()
    conflicts: tuple[Conflict, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_given: tuple[str, ...] = ()
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def location(self) -> str:
        """The folder into which commands write: the first; "" for rows held in memory."""
        return self.locations[0] if self.locations else ""

    @property
    def where(self) -> str:
        """All folders in words."""
        return " + ".join(self.locations)

    def once(self, name: str, work: Callable[[], T]) -> T:
        """The result of `work`, computed on the first call with this `name` and kept with the table."""
        if name not in self.derived:
            self.derived[name] = work()
        result: T = self.derived[name]
        return result


def load(*locations: str | Path, study: Mapping[str, Any] | None = None) -> StudyTable:
    """Read a results folder, whole or half-finished, or several as one (`analysis.tables.merge`).

    Args:
        locations: paths or URIs.
        study: read in place of study.json; with it, a folder need not exist.

    Raises:
        RecordsError: there are no results at a location, no trial of it can be read, or it is named twice.
    """
    folders = [_read(location, study) for location in locations]
    names = tuple(folder.location for folder in folders)
    check_named_once(names)
    merged = merge(names, [folder.rows for folder in folders])
    table = replace(
        from_table(
            merged.rows, merge_grids(folder.grid for folder in folders) if len(folders) > 1 else folders[0].grid
        ),
        locations=names,
        unreadable=tuple(
            replace(file, name=f"{folder.location}/{file.name}") if len(folders) > 1 else file
            for folder in folders
            for file in folder.unreadable
        ),
        requests=_each_once(made for folder in folders for made in folder.requests),
        commands=_each_once(command for folder in folders for command in folder.commands),
        plans=_each_once(plan for folder in folders for plan in folder.plans),
        staged=frozenset().union(*(folder.staged for folder in folders)),
        conflicts=tuple(merged.conflicts),
        sources=merged.sources,
        not_given=_each_once(name for folder in folders for name in folder.not_given),
    )
    del folders, merged
    pa.default_memory_pool().release_unused()  # decoding took more memory than the rows need
    return table


def check_named_once(locations: Sequence[str]) -> None:
    """Raises RecordsError if two of the locations are the same folder."""
    real = [name.rstrip("/") if "://" in name else str(Path(name).resolve()) for name in locations]
    for place, name in enumerate(real):
        if name in real[:place]:
            raise RecordsError(f"{locations[place]} is named twice")


@dataclass(frozen=True)
class _Folder:
    """What one results folder holds."""

    location: str
    rows: pa.Table
    unreadable: list[Unreadable]
    requests: list[Request]
    commands: list[str]
    plans: list[dict[str, Any]]
    staged: frozenset[str]
    grid: Grid
    not_given: list[str]


def _read(location: str | Path, study: Mapping[str, Any] | None) -> _Folder:
    unreadable: list[Unreadable] = []
    if is_packed(location):
        where = str(location)
        rows, stored = read_packed(location, READ)
    else:
        results = Results(location)
        where = results.location
        there = results.exists()  # refuses a store that cannot be reached
        rows = ROW_SCHEMA.empty_table()
        if there or study is None:
            rows, unreadable = results.read_table(READ)
        stored = results.read_study() if study is None else {}
    study = stored if study is None else study
    requests, plans, staged, grid = _plan(study, set(rows["trial_id"].to_pylist()))
    if not len(rows) and not grid:
        why = f" ({unreadable[0].name}: {unreadable[0].reason})" if unreadable else ""
        raise RecordsError(f"no trial of {where} can be read{why}; run the study first: python -m study.run --help")
    named = dict.fromkeys(str(entry.get("grid")) for entry in study.get("requests", []))
    not_given = [name for name in named if is_file(name) and name not in STUDY_FILES]
    commands = [entry["command"] for entry in study.get("requests", []) if entry.get("command")]
    return _Folder(where, rows, unreadable, requests, commands, plans, staged, grid, not_given)


def _each_once(entries: Iterable[T]) -> tuple[T, ...]:
    """The entries in their order; requests cannot be hashed."""
    found: list[T] = []
    for entry in entries:
        if entry not in found:
            found.append(entry)
    return tuple(found)


def from_rows(
    rows: Sequence[Row],
    *,
    grid: Grid | None = None,
    requests: Iterable[Request] = (),
    plans: Iterable[Mapping[str, Any]] = (),
    location: str = "",
) -> StudyTable:
    """The tables of rows held in memory; a row outside `grid` keeps the regime labels it was written with.

    Of several rows with the same trial id the last one counts: a copy of a run is not a replicate.
    """
    unique = list({row["trial_id"]: row for row in rows}.values())
    table = pa.Table.from_pylist(unique, schema=ROW_SCHEMA)
    return replace(
        from_table(table, grid or {}),
        locations=(location,) if location else (),
        requests=tuple(requests),
        plans=tuple(plans),
    )


def from_table(rows: pa.Table, grid: Grid) -> StudyTable:
    """The frames of an Arrow table with the columns of `ROW_SCHEMA` and one row per trial id."""
    trials = frame(rows.drop_columns(list(NESTED)))
    trials = trials.fillna(_IF_MISSING)
    classes = [_CLASSES.get(name, 10) for name in trials["dataset"]]
    trials["num_classes"] = trials["num_classes"].fillna(pd.Series(classes, dtype=float)).astype(int).clip(lower=2)
    spectra = unrolled(rows, "spectra")
    for split in ("train", "test"):
        trials[f"lambda1_{split}_converged"] = _lambda1_converged(trials, spectra, split)
    labels = [_labels(one, own, grid) for one, own in zip(trials["trial_id"], trials["regimes"], strict=True)]
    labelled = trials.assign(regime=pd.Series(labels, dtype=object), trial=np.arange(len(trials)))
    points = in_plain_text(labelled.explode("regime", ignore_index=True))
    configured = points.drop(columns=list(TRIALS_ONLY))

    def joined(entries: pd.DataFrame) -> pd.DataFrame:
        return configured.merge(entries, on="trial", suffixes=("", "_probe")).drop(columns="trial")

    attacks = joined(_attacks(unrolled(rows, "attacks")))
    transferred = attacks["source"] == "parent"
    return StudyTable(
        trials=trials,
        points=points.drop(columns="trial"),
        attacks=attacks[~transferred].reset_index(drop=True) if transferred.any() else attacks,
        transfers=attacks[transferred].reset_index(drop=True),
        spectra=joined(spectra),
        landscapes=joined(unrolled(rows, "landscapes")),
        sharpness=joined(unrolled(rows, "sharpness")),
        tracked=joined(_tracked(unrolled(rows, "history"))),
        planned=_planned(grid, dict(zip(trials["trial_id"], trials["status"], strict=True))),
    )


def _plan(
    study: Mapping[str, Any], stored: Collection[str]
) -> tuple[list[Request], list[dict[str, Any]], frozenset[str], Grid]:
    """The requests, the plans of those that stop once claims are decided, their cells, and what all of them plan.

    Such a request is sure of its first look alone: of later seeds those count as planned that are `stored`.
    """
    requests, plans, grids, staged = [], [], [], set[str]()
    for entry in study.get("requests", []):
        sequential = isinstance(entry.get("until_decided"), dict)
        if sequential:  # its allowance for looks holds even where its study file is not given
            plans.append(entry["until_decided"])
        try:
            request = Request.from_dict(entry)
            grid = plan(request)
        except (GridError, TypeError, ValueError, AttributeError, KeyError, OverflowError):
            continue  # made to an older or extended version; its rows are still shown
        if sequential:
            staged |= {of.trial.cell_id for of in grid.values()}
            grid = {one: of for one, of in grid.items() if of.trial.seed < LOOKS[0] or one in stored}
        grids.append(grid)
        requests.append(request)
    return requests, plans, frozenset(staged), merge_grids(grids) if len(grids) != 1 else grids[0]


def _lambda1_converged(trials: pd.DataFrame, spectra: pd.DataFrame, split: str) -> NDArray[np.bool_]:
    """Per trial, whether a spectrum of the whole split converged."""
    whole = spectra["subset_size"].to_numpy() == trials[f"{split}_size"].to_numpy()[spectra["trial"]]
    converged = whole & (spectra["split"] == split) & spectra["converged"].eq(True)
    return np.isin(np.arange(len(trials)), spectra.loc[converged, "trial"])


def _labels(trial_id: str, own: list[str] | None, grid: Grid) -> list[str]:
    planned = grid.get(trial_id)
    return list((planned.regimes if planned else own) or ["unlabelled"])


def _tracked(epochs: pd.DataFrame) -> pd.DataFrame:
    """The epochs whose curvature was measured."""
    return epochs.loc[epochs["lambda1_images"].notna(), ["trial", *TRACK]]


def _attacks(frame: pd.DataFrame) -> pd.DataFrame:
    """The attacks with the names that `StudyTable.attacks` describes."""
    names = frame["attack"].to_numpy(copy=True)
    other = _other_steps(frame)
    names[other] = [f"pgd ({steps:.0f} steps)" for steps in frame.loc[other, "steps"]]
    return frame.assign(attack=pd.Series(names, dtype=object))


def _other_steps(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """PGD attacks whose question the same network answers with the published number of steps, or else with more."""
    pgd = frame[frame["attack"] == "pgd"]
    steps = pgd["steps"].astype(float)
    rank = steps.where(steps != PGD_STEPS, np.inf)
    asked = [pgd["trial"], pgd["source"].fillna("self"), *(pgd[name] for name in ("loss", "split", "epsilon"))]
    other = rank < rank.groupby(asked).transform("max")
    return frame.index.isin(other[other].index)


def _planned(grid: Grid, states: Mapping[str, str]) -> pd.DataFrame:
    entries = [
        {
            "trial_id": trial_id,
            "cell_id": planned.trial.cell_id,
            "space": space,
            "regime": regime,
            **planned.trial.to_dict(),
            "state": states.get(trial_id, "missing"),
        }
        for trial_id, planned in grid.items()
        for space in planned.spaces
        for regime in planned.regimes
    ]
    frame = pd.DataFrame(entries, columns=["trial_id", "cell_id", "space", "regime", *TRIAL_FIELDS, "state"])
    return in_plain_text(frame)


def in_plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its text as Python strings and in few blocks: pandas takes, compares and joins rows faster."""
    text = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.StringDtype)]
    return frame.astype(dict.fromkeys(text, object)).copy().set_axis(frame.columns.astype(object), axis=1)


def versions(trials: pd.DataFrame) -> dict[str, list[str]]:
    """Package -> the versions of it that wrote these rows."""
    seen: dict[str, set[str]] = {}
    for text in trials["versions"].dropna().unique():
        for package, version in json.loads(text).items():
            seen.setdefault(str(package), set()).add(str(version))
    return {package: sorted(found) for package, found in sorted(seen.items())}
