"""Which measure of sharpness explains which measure of robustness, and whether one explains more than lambda1 does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.reports.associations import AXES, SETTINGS
from analysis.reports.correlation import stratum_taus
from analysis.statistics.correlations import granulated_by_group, partial_spearman, sign_error
from analysis.statistics.estimates import mean_of_seeds
from analysis.statistics.groups import group_codes
from analysis.statistics.intervals import at_floor
from analysis.statistics.multiplicity import benjamini_yekutieli
from analysis.statistics.thresholds import LOOKS, MIN_SEEDS, SIGNIFICANCE, few_diverged, untrained_accuracy
from analysis.tables.cells import CELL
from analysis.tables.looks import looks
from analysis.tables.measures import SHARPNESS, robustness, sharpness
from analysis.tables.observations import ALONGSIDE, Observations
from analysis.tables.table import ALIKE, CURVE, StudyTable

REFERENCE = "lambda1_train"
"""The measure that the papers take; the others are compared with it."""

COLUMNS = (
    *ALIKE,
    *("sharpness", "robustness", "networks", "curves", "tau", "tau_decided", "granulated_tau"),
    *("sign_error", "sign_error_max", "partial", "partial_low", "partial_high"),
    *("difference", "difference_low", "difference_high", "p", "q", "against_lambda1"),
)

BETTER, WORSE, OPEN = "better", "worse", "not shown to differ"


@dataclass(frozen=True)
class MeasureReport:
    """The tables `analysis.output.columns.MEASURES` (`summary`, a row for each study and pair of measures) and
    `MEASURES_BY_CURVE` (`strata`, a row for each curve and pair of measures).

    A sign-error of 0: of two networks of a curve and seed the sharper one is always the less robust one; 0.5: chance.
    """

    summary: pd.DataFrame
    strata: pd.DataFrame


def measure_report(table: StudyTable) -> MeasureReport:
    """Every measure of sharpness that was stored against every measure of robustness, within one study each.

    Untrained cells are left out, and cells at the floor of an accuracy. Measures of sharpness are taken in logarithms.
    """
    return table.once("measures", lambda: _report(table))


def _report(table: StudyTable) -> MeasureReport:
    again = looks(table)
    table = again.latest if again else table
    networks, sharp, robust = _networks(table)
    summary, strata = [], []
    for s in sharp:
        for r in robust:
            seen = _observations(networks, s, r)
            if seen is None:
                continue
            taus = stratum_taus(seen)
            summary += _summaries(seen, taus, s, r)
            keys = seen.strata[list(CURVE)]
            strata.append(taus.assign(sharpness=s, robustness=r).merge(keys, left_on="stratum", right_index=True))
    frame = pd.DataFrame(summary).reindex(columns=list(COLUMNS))
    columns = [*CURVE, "sharpness", "robustness", "estimate", "low", "high", "p", "n", "batch_sizes", "note"]
    along = pd.concat(strata, ignore_index=True) if strata else pd.DataFrame(columns=columns)
    if again:  # a p-value may be read once at each stage (Bonferroni)
        for found in (frame, along):
            found["p"] = np.minimum(found["p"].astype(float) * len(LOOKS), 1.0)
    frame["q"] = benjamini_yekutieli(frame["p"].to_numpy(dtype=float))
    sure = frame["q"] <= SIGNIFICANCE
    verdict = np.select([sure & (frame["difference"] < 0), sure & (frame["difference"] > 0)], [BETTER, WORSE], OPEN)
    frame["against_lambda1"] = pd.Series(verdict, index=frame.index).where(frame["p"].notna())
    return MeasureReport(frame, along[columns].rename(columns={"estimate": "tau"}))


def _networks(table: StudyTable) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The trained networks on each of their curves with codes and measures, and which measures any of them has."""
    keys = [*CELL, "seed", "trial_id", "test_acc", "train_loss", "num_classes"]
    lost = (table.points["status"] == "diverged").groupby(group_codes(table.points, CELL)).transform("sum")
    frame = table.points[keys].assign(diverged=lost)[table.points["status"] == "ok"].reset_index(drop=True)
    sharp, robust = sharpness(table).astype(float), robustness(table).astype(float).dropna(axis=1, how="all")
    logs = sharp.where(sharp > 0).map(np.log2).dropna(axis=1, how="all")
    for values, prefix in ((logs, "x "), (robust, "y ")):
        frame = frame.join(values.add_prefix(prefix), on="trial_id")
    codes = {"cell": CELL, "study": ALIKE, "stratum": CURVE}
    frame = frame.assign(**{code: group_codes(frame, names) for code, names in codes.items()})
    trained = frame.groupby("cell")["test_acc"].transform("mean") > untrained_accuracy(frame["num_classes"])
    frame = frame[trained].assign(trial=pd.factorize(frame["trial_id"])[0][trained])
    return frame.reset_index(drop=True), list(logs.columns), list(robust.columns)


def _observations(networks: pd.DataFrame, sharp: str, robust: str) -> Observations | None:
    """The networks that have both measures, as the correlation report's observations; None if there are none."""
    trials = networks.assign(x=networks[f"x {sharp}"], accuracy=networks[f"y {robust}"])
    trials = trials[np.isfinite(trials["x"]) & np.isfinite(trials["accuracy"])]
    by_cell = trials.groupby("cell")
    if not robust.startswith("minimal_epsilon"):
        right = (trials["accuracy"] * trials["test_size"]).round().groupby(trials["cell"]).transform("sum")
        trials = trials[~at_floor(right, by_cell["test_size"].transform("sum"))]
        by_cell = trials.groupby("cell")
    if trials.empty:
        return None
    count = by_cell["seed"].transform("size")
    decidable = (count >= MIN_SEEDS) & few_diverged(count, trials["diverged"])
    trials = trials.assign(decidable=decidable).reset_index(drop=True)
    for code in ("study", "stratum"):
        trials[code] = pd.factorize(trials[code], sort=True)[0]
    first = trials.drop_duplicates("cell").set_index("cell")
    means = trials.groupby("cell")[["x", "accuracy", "test_acc", "train_loss"]].mean()
    cells = first.drop(columns=list(means)).join(means).reset_index().rename(columns={"trial": "run"})
    studies, strata = (
        trials.drop_duplicates(code).set_index(code)[list(keys)].sort_index().assign(left_out="")
        for code, keys in (("study", ALIKE), ("stratum", CURVE))
    )
    return Observations(sharp, cells, trials, studies, strata)


def _summaries(seen: Observations, taus: pd.DataFrame, sharp: str, robust: str) -> list[dict[str, Any]]:
    """One row a study."""
    trials, cells = seen.trials, seen.cells
    of_study = trials["study"].to_numpy(dtype=np.intp)
    psi, _ = granulated_by_group(trials, "x", "accuracy", AXES, of_study, len(seen.studies), fixed=ALONGSIDE)
    owner = trials.drop_duplicates("stratum").set_index("stratum")["study"]
    rows = []
    for study, keys in zip(seen.studies.index, seen.studies[list(ALIKE)].to_dict("records"), strict=True):
        networks = trials[of_study == study].reset_index(drop=True)
        mine, tau = cells[cells["study"] == study].drop_duplicates("run"), taus[taus["stratum"].map(owner) == study]
        errors = _sign_errors(networks, "x").groupby("stratum")["error"].mean()
        partial = partial_spearman(mine["x"], mine["accuracy"], mine[["test_acc", "train_loss"]])
        known = psi[study][np.isfinite(psi[study]) & SETTINGS]
        firm = mine["decidable"].any()
        rows.append(
            {
                **{str(key): value for key, value in keys.items()},
                "sharpness": sharp,
                "robustness": robust,
                "networks": int(networks["trial"].nunique()),
                "curves": int(tau["estimate"].notna().sum()),
                "tau": float(tau["estimate"].mean()),
                "tau_decided": float(tau.loc[tau["low"].notna(), "estimate"].mean()),
                "granulated_tau": float(known.mean()) if known.size else np.nan,
                "sign_error": float(errors.mean()),
                "sign_error_max": float(errors.max()),
                "partial": partial.estimate,
                "partial_low": partial.low if firm else np.nan,
                "partial_high": partial.high if firm else np.nan,
                **(against_reference(networks) if sharp != REFERENCE else {}),
            }
        )
    return rows


def _sign_errors(trials: pd.DataFrame, x: str) -> pd.DataFrame:
    """Sign-error along the batch size and number of pairs of each curve and seed (`stratum`, `seed`)."""
    codes = group_codes(trials, ["stratum", "seed"])
    found = sign_error(trials[x], -trials["accuracy"], codes, trials["trial"])
    first = trials.iloc[np.unique(codes, return_index=True)[1]]
    named = first[["stratum", "seed"]].reset_index(drop=True)
    return named.assign(error=found.errors, pairs=found.pairs)[found.pairs > 0]


def against_reference(trials: pd.DataFrame) -> dict[str, float]:
    """The sign-error along the batch size less that of `REFERENCE`, on the networks of one study that have both.

    `trials`: one row a network and curve, with `stratum`, `seed`, `trial` (a code), `x`, `x lambda1_train` and
    `accuracy`. The result is empty with fewer than three seeds.

    The seeds of one curve are independent, the curves of one seed are not: each seed gives one number, the mean over
    its curves.
    """
    name = f"x {REFERENCE}"
    if name not in trials:
        return {}
    both = trials[np.isfinite(trials[name])]
    ours, theirs = _sign_errors(both, "x"), _sign_errors(both, name)
    by_seed = ours.assign(difference=ours["error"] - theirs["error"]).groupby("seed")
    values = by_seed["difference"].mean().to_numpy(dtype=float)
    if len(values) < MIN_SEEDS:
        return {}
    contrast = mean_of_seeds(values, rounding=1.0 / float(by_seed["pairs"].sum().min()))
    low, high = contrast.interval(1 - SIGNIFICANCE)
    return {
        "difference": contrast.value,
        "difference_low": max(low, -1.0),
        "difference_high": min(high, 1.0),
        "p": contrast.p_differs(),
    }


def conclusion(report: MeasureReport) -> str:
    """What the comparisons with lambda1 show, in a sentence or two that say no more than the tests do."""
    tested = report.summary[report.summary["p"].notna()]
    if tested.empty:
        return "No other measure of sharpness can be compared with λ₁ yet: that takes three seeds of a curve with both."
    count = f"{tested['sharpness'].nunique()} measures of sharpness with λ₁ on {tested['robustness'].nunique()}"
    better, worse = tested[tested["against_lambda1"] == BETTER], tested[tested["against_lambda1"] == WORSE]
    said = f"{len(tested)} comparisons of {count} measures of robustness: "
    if better.empty and worse.empty:
        return said + "none is shown to order the networks of a curve better or worse than λ₁."
    parts = []
    for rows, word in ((better, "better"), (worse, "worse")):
        if len(rows):
            names = ", ".join(dict.fromkeys(SHARPNESS[one].label for one in rows["sharpness"]))
            parts.append(f"{len(rows)} {'is' if len(rows) == 1 else 'are'} shown to order them {word} ({names})")
    left = len(tested) - len(better) - len(worse)
    return said + "; ".join(parts) + (f"; {left} are inconclusive." if left else ".")
