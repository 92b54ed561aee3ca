"""Two studies side by side: `python -m analysis.compare A B [--out DIR]`.

What differs in their settings, verdicts, effects and cells. A difference has an interval of its own: B less A, 95 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.claims import evaluate
from analysis.claims.claim import Verdict
from analysis.claims.measures import clean_delta, in_words, interval_in_words
from analysis.claims.stratum import Stratum
from analysis.output.columns import COMPARISON
from analysis.output.downloads import write_tables
from analysis.statistics.estimates import Floats, LinearContrast, mean_of_seeds
from analysis.statistics.intervals import at_floor
from analysis.statistics.multiplicity import benjamini_yekutieli
from analysis.statistics.thresholds import (
    CURVATURE_DELTA,
    CURVATURE_STEP,
    FALSE_DISCOVERY_RATE,
    ROBUST_DELTA,
    SIGNIFICANCE,
)
from analysis.tables.cells import CELL
from analysis.tables.merge import other_network
from analysis.tables.table import QUESTION, StudyTable, check_named_once, load, versions
from analysis.tables.words import curve_name, label, network_name, value_text
from search_spaces import TRIAL_FIELDS, GridError
from search_spaces.outside import load_study
from study.results.folder import RecordsError
from study.results.storage import masked

SAME, DIFFERS, INCONCLUSIVE = "same", "differs", "inconclusive"
"""What is said of a difference: shown to be within the least effect that counts, significant after the adjustment for
the number of comparisons, or neither."""

PAIRED, INDEPENDENT, IDENTICAL, TOO_FEW = "paired by seed", "Welch", "the same networks", "too few seeds"
AT_FLOOR = "both below 1 %"
"""How a cell's difference was taken. At the floor of an attack two networks cannot be told apart."""

SHOWN = 15
"""Rows of a table in the terminal; the files have all."""

_CELL_COLUMNS = (*CELL, *QUESTION, "measure")
_EIGENVALUES = ("lambda1_train", "lambda1_test")


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side; the tables have the columns of `analysis.output.columns.COMPARISON`.

    Attributes:
        first, second: the studies.
        shared: trials that both trained, of which `same` have the same weights.
        settings: what differs in configuration, versions, devices and data.
        verdicts: a row a claim and loss that either study could judge.
        effects: a row an effect that both studies measured.
        cells: a row a measure of a cell that both studies have.
    """

    first: StudyTable
    second: StudyTable
    shared: int
    same: int
    settings: pd.DataFrame
    verdicts: pd.DataFrame
    effects: pd.DataFrame
    cells: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """File name without suffix -> table."""
        return {f"compared_{name}": getattr(self, name) for name in ("settings", "verdicts", "effects", "cells")}


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two results folders or URIs.

    Raises:
        RecordsError: there are no results at a location, or both are the same.
    """
    check_named_once([str(first), str(second)])
    return compare_tables(load(first), load(second))


def compare_tables(first: StudyTable, second: StudyTable) -> Comparison:
    """Compare two studies whose tables are loaded."""
    shared, same = _shared(first.trials, second.trials)
    verdicts = evaluate(first), evaluate(second)
    return Comparison(
        first,
        second,
        len(shared),
        len(same),
        _settings(first, second),
        _verdicts(*verdicts),
        _effects(*verdicts),
        compare_cells(first, second, same),
    )


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> tuple[set[str], set[str]]:
    """The trials that both trained, and those of them with the same weights, as `analysis.tables.merge` tells it."""
    known = [one[one["status"] != "failed"].set_index("trial_id").astype(object) for one in (first, second)]
    both = known[0].index.intersection(known[1].index)
    rows = (one.where(one.notna(), None).loc[both].to_dict("records") for one in known)
    same = {trial_id for trial_id, *pair in zip(both, *rows, strict=True) if not other_network(*pair)}
    return set(both), same


# Settings


def _settings(first: StudyTable, second: StudyTable) -> pd.DataFrame:
    described = _described(first), _described(second)
    names = dict.fromkeys(name for one in described for name in one)
    rows = [(name, *(one.get(name, "") for one in described)) for name in names]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=list(COMPARISON["compared_settings"]))


def _described(table: StudyTable) -> dict[str, str]:
    """What was trained, on what, in words."""
    trials = table.trials
    found = {label(name): _values(trials[name]) for name in TRIAL_FIELDS if name != "parent"}
    found["regime"] = _values(table.points["regime"])
    found |= {name: _values(trials[column]) for name, column in _PROVENANCE.items()}
    for dataset, rows in trials.groupby("dataset"):
        found[f"digest of {dataset}"] = _values(rows["dataset_sha256"].dropna().str[:12])
    return found | {package: " / ".join(seen) for package, seen in versions(trials).items()}


_PROVENANCE = {"device": "device", "CPU threads": "threads", "number format": "dtype", "commit": "git_sha"}


def _values(values: pd.Series) -> str:
    unique = sorted(values.dropna().unique().tolist())
    none = ["none"] if values.isna().any() else []
    if len(unique) > 12:
        unique, none = [], [*none, f"{len(unique)} values, {value_text(unique[0])} to {value_text(unique[-1])}"]
    return ", ".join([*none, *(value_text(value) for value in unique)])


# Verdicts and effects


def _verdicts(first: Sequence[Verdict], second: Sequence[Verdict]) -> pd.DataFrame:
    others = {(one.claim, one.loss): one for one in second}
    pairs = [(one, others[one.claim, one.loss]) for one in first if (one.claim, one.loss) in others]
    rows = [
        {
            "claim": one.claim,
            "loss": one.loss,
            "statement": one.statement,
            "first": one.verdict,
            "second": other.verdict,
            "differs": one.verdict != other.verdict,
            "effect_first": one.effect_text,
            "effect_second": other.effect_text,
            "protocol_first": one.protocol,
            "protocol_second": other.protocol,
        }
        for one, other in pairs
        if {one.verdict, other.verdict} != {"not run"}
    ]
    return pd.DataFrame(rows, columns=list(COMPARISON["compared_verdicts"]))


def _effects(first: Sequence[Verdict], second: Sequence[Verdict]) -> pd.DataFrame:
    """Each effect that is a linear contrast of means in both studies, once for all claims that rest on it."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    strata = _measured(first), _measured(second)
    for key, one in strata[0].items():
        other = strata[1].get(key)
        if other is None:
            continue
        claim, loss, name, _ = key
        effect = (loss, name, one.effect, other.effect)
        equal = (one.effect, one.low, one.high) == (other.effect, other.low, other.high)
        found[effect] = {
            "claims": f"{found[effect]['claims']} {claim}" if effect in found else claim,
            "loss": loss,
            "stratum": name,
            "unit": one.unit,
            "first": one.effect,
            "first_low": one.low,
            "first_high": one.high,
            "second": other.effect,
            "second_low": other.low,
            "second_high": other.high,
            **_difference(LinearContrast(0.0, 0.0, 1.0) if equal else other.contrast.less(one.contrast), equal=equal),
        }
    return _judged("compared_effects", list(found.values()))


def _measured(verdicts: Iterable[Verdict]) -> dict[tuple[str, str | None, str, tuple[object, ...]], Stratum]:
    """The effects behind the verdicts, by what two of them must share to be compared: their protocol too."""
    return {
        (v.claim, v.loss, s.name, s.study): s
        for v in verdicts
        for s in v.strata
        if s.counted and np.isfinite([s.effect, s.dof]).all()
    }


# Cells


class _Group(NamedTuple):
    """The networks of one cell and what was measured of them: three arrays of one shape, ordered by trial id."""

    trial_id: tuple[str, ...]
    value: Floats
    rounding: float

    def without(self, trial_ids: Set[str]) -> _Group:
        kept = [one not in trial_ids for one in self.trial_id]
        return _Group(tuple(compress(self.trial_id, kept)), self.value[kept], self.rounding)


def compare_cells(first: StudyTable, second: StudyTable, same: Set[str] = frozenset()) -> pd.DataFrame:
    """Each measure of each cell that both studies have: a row of `compared_cells`.

    `same`: the trials that have the same weights in both.
    """
    groups = _groups(first), _groups(second)
    rows, deltas = [], []
    for one in filter(groups[1].__contains__, groups[0]):
        key = dict(zip(_CELL_COLUMNS, one, strict=True))
        a, b = groups[0][one], groups[1][one]
        a, b, difference, method = _between(a, b, same)
        identical = method == IDENTICAL
        if key["measure"] == "accuracy" and not identical and _at_floor(a) and _at_floor(b):
            method = AT_FLOOR
        rows.append(
            key
            | {"unit": "doublings" if str(key["measure"]).startswith("lambda1") else "points"}
            | {"first": a.value.mean(), "n_first": len(a.value), "second": b.value.mean(), "n_second": len(b.value)}
            | _difference(difference, equal=identical)
            | {"method": method}
        )
        delta = _delta(str(key["measure"]), str(key["dataset"]))
        deltas.append(np.nan if method in (IDENTICAL, AT_FLOOR) else difference.p_within(delta))
    return _judged("compared_cells", rows, np.array(deltas))


def _at_floor(group: _Group) -> bool:
    """Whether a cell's accuracy under an attack is at its floor, as `analysis.tables.cells` tells it."""
    images = 100 / group.rounding
    return bool(at_floor(group.value.sum() / group.rounding, images * len(group.value)))


def _delta(measure: str, dataset: str) -> float:
    """The least difference that counts, as for the claims."""
    if measure.startswith("lambda1"):
        return CURVATURE_DELTA
    return ROBUST_DELTA if measure == "accuracy" else clean_delta(dataset)


def _groups(table: StudyTable) -> dict[tuple[Any, ...], _Group]:
    """Cell, attack and measure -> the values of its ok networks: points of accuracy, or log2 of an eigenvalue."""
    points = table.points[table.points["status"] == "ok"]
    attacks = table.attacks[table.attacks["status"] == "ok"]
    parts = [
        attacks.assign(value=100 * attacks["accuracy"], rounding=100 / attacks["n"], measure="accuracy"),
        points.assign(value=100 * points["test_acc"], rounding=100 / points["test_size"], measure="test_acc"),
    ]
    for name in _EIGENVALUES:
        positive = points[points[name] > 0]
        parts.append(positive.assign(value=np.log2(positive[name]), rounding=CURVATURE_STEP, measure=name))
    keys = [*_CELL_COLUMNS]
    wide = [part.reindex(columns=[*keys, "trial_id", "value", "rounding"]) for part in parts]
    found = pd.concat([part for part in wide if len(part)] or wide[:1], ignore_index=True)
    found = found[np.isfinite(found["value"].astype(float))]
    found = found.assign(cell=found.groupby(keys, dropna=False).ngroup()).sort_values(["cell", "trial_id"])
    starts = np.flatnonzero(np.diff(found["cell"], prepend=-1))
    columns = (np.split(found[name].to_numpy(), starts[1:]) for name in ("trial_id", "value", "rounding"))
    named = found[keys].iloc[starts].astype(object)
    return {
        tuple(key): _Group(tuple(ids), values.astype(float), float(rounding.max()))
        for key, ids, values, rounding in zip(named.where(named.notna(), None).to_numpy(), *columns, strict=True)
    }


def _between(first: _Group, second: _Group, same: Set[str]) -> tuple[_Group, _Group, LinearContrast, str]:
    """The networks that are compared, the second less the first, and how that was taken.

    Networks with the same weights in both studies are left out, since they cannot show a difference. The same trials,
    trained in both, share first weights and data order: they are paired. Others are independent samples (Welch).
    """
    rounding = max(first.rounding, second.rounding)
    one, other = first.without(same), second.without(same)
    if first.trial_id == second.trial_id and not one.trial_id:
        if (first.value == second.value).all():
            return first, second, LinearContrast(0.0, 0.0, 1.0), IDENTICAL
        one, other = first, second  # the same weights, measured otherwise
    if one.trial_id == other.trial_id and len(one.value) > 1:
        return one, other, mean_of_seeds(other.value - one.value, rounding), PAIRED
    if one.trial_id != other.trial_id and min(len(one.value), len(other.value)) > 1:
        contrast = mean_of_seeds(other.value, second.rounding).less(mean_of_seeds(one.value, first.rounding))
        return one, other, contrast, INDEPENDENT
    return first, second, LinearContrast(float(second.value.mean() - first.value.mean()), np.nan, np.nan), TOO_FEW


# What is said of a difference


def _difference(found: LinearContrast, *, equal: bool) -> dict[str, float]:
    low, high = found.interval(1 - SIGNIFICANCE)
    p = found.p_differs() if np.isfinite(found.se) and not equal else np.nan
    return {"difference": found.value, "low": low, "high": high, "p": p}


def _judged(name: str, rows: list[dict[str, Any]], p_within: Floats | None = None) -> pd.DataFrame:
    """The rows as the table of this name, with `q` and `finding`, the surest difference first.

    `p_within`: of each row, the p-value of "within the least effect that counts", where that is asked.
    """
    frame = pd.DataFrame(rows, columns=[column for column in COMPARISON[name] if column not in ("q", "finding")])
    q = benjamini_yekutieli(frame["p"].astype(float))
    finding = np.where(q <= FALSE_DISCOVERY_RATE, DIFFERS, INCONCLUSIVE).astype(object)
    unchanged = frame["p"].isna() & frame["low"].notna()
    within = unchanged if p_within is None else unchanged | (p_within <= SIGNIFICANCE)
    finding[within.to_numpy(dtype=bool)] = SAME
    judged = frame.assign(q=q, finding=finding)
    return judged.sort_values(["q", "p"], kind="stable", ignore_index=True)[[*COMPARISON[name]]]


# The terminal


def text(found: Comparison) -> str:
    """A comparison in words and tables: what differs, the surest first."""
    parts = []
    for letter, table in (("A", found.first), ("B", found.second)):
        states = table.trials["status"].value_counts()
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        parts.append(f"{letter}  {table.where}: {len(table.trials)} networks ({counts})")
    if found.shared:
        parts.append(f"{found.shared} trials were trained in both, {found.same} of them to the same weights")
    if len(found.settings):
        parts += _listed("Settings that differ", found.settings.itertuples(index=False))
    judged = found.verdicts[(found.verdicts["first"] != "not run") & (found.verdicts["second"] != "not run")]
    differing = [
        (
            f"{one.claim}, {one.loss}" if isinstance(one.loss, str) else one.claim,
            f"{one.first}: {one.effect_first}",
            f"{one.second}: {one.effect_second}",
        )
        for one in judged[judged["differs"]].itertuples()
    ]
    parts += _listed(f"{len(differing)} of {len(judged)} verdicts (a claim on a loss) differ", differing)
    for letter, other in (("A", "second"), ("B", "first")):
        alone = found.verdicts.loc[found.verdicts[other] == "not run", "claim"].unique()
        if len(alone):
            parts.append(f"judged in {letter} only: {', '.join(alone)}")
    if found.effects.empty and found.cells.empty:
        return "\n".join([*parts, "No effect and no cell was measured in both."])
    effects = found.effects[found.effects["finding"] == DIFFERS]
    named = effects[["stratum", "claims", "loss"]].rename(columns={"stratum": "effect"})
    parts += _tabulated(_counted("effects measured in both", found.effects, known=False), _differences(named, effects))
    cells = found.cells[found.cells["finding"] == DIFFERS]
    named = pd.DataFrame({"cell": [_cell_name(one) for one in cells.itertuples()]}, index=cells.index)
    parts += _tabulated(_counted("measures of cells in both", found.cells, known=True), _differences(named, cells))
    parts.append(
        f"B less A has a 95 % interval; q: adjusted for all comparisons of its table (Benjamini-Yekutieli), at most "
        f"{FALSE_DISCOVERY_RATE:g} where it differs. Eigenvalues are compared as a factor."
    )
    return "\n".join(parts)


def _listed(title: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """What differs, with what it is in A and in B on lines of their own."""
    lines = [f"{what}\n    A  {first}\n    B  {second}" for what, first, second in rows]
    return _cut(title, lines)


def _tabulated(title: str, frame: pd.DataFrame) -> list[str]:
    head, *lines = frame.fillna("").to_string(index=False).splitlines()
    return _cut(title, lines, head) if len(frame) else ["", title]


def _cut(title: str, lines: Sequence[str], *head: str) -> list[str]:
    more = [f"and {len(lines) - SHOWN} more: --out DIR writes all"] if len(lines) > SHOWN else []
    return ["", title, *head, *lines[:SHOWN], *more]


def _counted(what: str, frame: pd.DataFrame, *, known: bool) -> str:
    findings = frame["finding"].value_counts()
    tested = int(frame["p"].notna().sum())
    excluding = int((frame["p"] <= SIGNIFICANCE).sum())
    few = int((frame["method"] == TOO_FEW).sum()) if known else 0
    if few == len(frame) and few:
        return f"{few} {what}, not compared: too few seeds remain"
    told = [f"{findings.get(DIFFERS, 0)} of {len(frame) - few} {what} differ"]
    if known:
        told.append(f"{findings.get(SAME, 0)} are the same within the least effect that counts")
    if few:
        told.append(f"{few} not compared: too few seeds remain")
    told.append(f"{excluding} intervals exclude 0, where {SIGNIFICANCE * tested:.0f} would by chance alone")
    return "; ".join(told)


def _differences(named: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """`named` with the values in A and B, their difference with its interval, and q."""
    told = [_told(one) for one in frame.itertuples()]
    return named.join(pd.DataFrame(told, frame.index, ["A", "B", "B less A", "q"]))


def _told(one: Any) -> tuple[str, ...]:
    limits = interval_in_words(one.low, one.high, one.unit)
    ends = (_level(value, one.unit) for value in (one.first, one.second))
    return (*ends, f"{in_words(one.difference, one.unit)} ({limits})", f"{one.q:.2g}")


def _level(value: float, unit: str) -> str:
    return f"{2.0**value:.3g}" if unit == "doublings" else f"{value:.1f}"


def _cell_name(one: Any) -> str:
    asked = f"{one.attack} {one.loss} ε={one.epsilon:g} {one.split}" if isinstance(one.attack, str) else one.measure
    curve = f"{network_name(one.dataset, one.model)}, {curve_name(one.regime, one.momentum)}"
    return f"{curve}, batch {one.batch_size}: {asked}"


def _write(found: Comparison, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(found.tables, folder)
    except OSError as error:
        raise OSError(f"cannot write the tables to {folder}: {error}; give another folder with --out") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 2 if the studies cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m analysis.compare", description=DESCRIPTION)
    parser.add_argument("first", metavar="A", help="a results folder or URI that study.run wrote")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument("--out", metavar="DIR", help="write the tables there, as CSV and Parquet")
    parser.add_argument("--grid", metavar="FILE", help="the study file that made the results, for its claims")
    arguments = parser.parse_args(argv)
    try:
        if arguments.grid:
            load_study(arguments.grid)
        found = compare(arguments.first, arguments.second)
        if arguments.out:
            _write(found, Path(arguments.out).expanduser())
    except (RecordsError, GridError, OSError, RuntimeError) as error:
        print(f"error: {masked(str(error))}", file=sys.stderr)
        return 2
    for file in sorted({*found.first.not_given, *found.second.not_given}):
        print(f"{file} was not loaded, so its plan and claims are missing; add --grid {file}", file=sys.stderr)
    print(text(found))
    return 0


DESCRIPTION = """Compare two studies: settings, versions and devices, verdicts, effects and cells that differ, each
difference with a 95 % interval of its own and adjusted for the number of comparisons."""


if __name__ == "__main__":
    sys.exit(main())
