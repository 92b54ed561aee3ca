"""The correlation report: largest Hessian eigenvalue against robust accuracy, pooled, between and within curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.reports.associations import study_associations
from analysis.reports.environments import sign_errors
from analysis.statistics.correlations import kendall_by_group, kendall_p
from analysis.statistics.intervals import Z_VARIANCE, continuity_tau, fisher_z_interval, random_effects
from analysis.statistics.thresholds import LOOKS, MIN_BATCH_SIZES, MIN_SEEDS, MIN_SPAN
from analysis.tables.cells import cells as cells_of
from analysis.tables.epsilons import at_headline
from analysis.tables.looks import looks
from analysis.tables.observations import (
    CURVATURES,
    STRATUM,
    STUDY,
    Observations,
    batch_list,
    by_code,
    keyed,
    observe,
)
from analysis.tables.table import CURVE, QUESTION, StudyTable, in_plain_text

ALONG = "tau_b_along_batch_size"

_TEXT = ("dataset", "model", "regime", "optimizer", "adversarial_training", "augmentation", "precision")

COLUMNS = (
    *CURVE,
    *QUESTION,
    *("batch_sizes", "curvature", "statistic", "axis", "estimate", "low", "high", "p", "n", "note"),
)

ALL = "all"
"""In `dataset`, `model` or `regime`: the statistic covers several. NaN means the same for a number."""


@dataclass(frozen=True)
class CorrelationReport:
    """Tidy frames with the columns `COLUMNS`.

    `correlations`: everything. `forest`: the decidable strata (`scope` "stratum") with their random-effects summaries
    per study (`scope` "study") and over all studies at the headline epsilons (`scope` "all"), with `predicted_low`,
    `predicted_high`, `i2`.
    """

    correlations: pd.DataFrame
    forest: pd.DataFrame


def correlation_report(table: StudyTable) -> CorrelationReport:
    """All correlations of lambda1 and adversarial accuracy in a results folder.

    For test and training lambda1, on the cells without flags: see `associations.study_associations`,
    `environments.sign_errors` and `stratum_taus` for the statistics. What cannot be decided is listed with
    its reason in `note`, and its limits and p value are blank.
    """
    return table.once("correlations", lambda: _report(table))


def _report(table: StudyTable) -> CorrelationReport:
    again = looks(table)
    table = again.latest if again else table
    cells = keyed(cells_of(table))
    parts = [_correlations(observe(cells, curvature)) for curvature in CURVATURES] if len(cells) else []
    everything = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    forest = _forest(table, everything)
    summaries = _as_rows(forest[forest["scope"] != "stratum"])
    tables = [frame for frame in (everything, summaries) if len(frame)]
    correlations = pd.concat(tables, ignore_index=True)[list(COLUMNS)] if tables else everything
    if again:  # a p-value may be read once at each stage (Bonferroni)
        for frame in (correlations, forest):
            frame["p"] = np.minimum(frame["p"] * len(LOOKS), 1.0)
    return CorrelationReport(correlations, forest)


def stratum_taus(seen: Observations) -> pd.DataFrame:
    """tau-b of lambda1 and adversarial accuracy over the cells of each curve, with exact p.

    Over the decidable cells if they are at least 5 batch sizes spanning 16x. Otherwise over all measured
    cells, without p or limits, and `note` says what was missing.
    """
    count = len(seen.strata)
    kept = np.zeros(len(seen.cells), dtype=bool)
    notes, sizes = [], []
    batch = seen.cells["batch_size"].to_numpy(dtype=int)
    decidable = seen.cells["decidable"].to_numpy(dtype=bool)
    for members in by_code(seen.cells["stratum"].to_numpy(dtype=np.intp), count):
        firm = members[decidable[members]]
        short = _shortfall(batch[firm])
        used = members if short else firm
        kept[used] = True
        notes.append(short)
        sizes.append(batch_list(batch[used]))
    cells = seen.cells[kept]
    codes = cells["stratum"].to_numpy(dtype=np.intp)
    x, y = cells["x"].to_numpy(dtype=float), cells["accuracy"].to_numpy(dtype=float)
    grouped = kendall_by_group(x, y, codes)
    rows = pd.DataFrame({"stratum": np.arange(count), "note": notes, "batch_sizes": sizes})
    tau = pd.DataFrame({"estimate": grouped.tau, "p": kendall_p(grouped, x, y, codes), "n": grouped.n})
    rows = rows.join(tau)
    rows["n"] = rows["n"].fillna(0).astype(int)
    decided = (rows["note"] == "") & rows["estimate"].notna()
    rows.loc[(rows["note"] == "") & ~decided, "note"] = "lambda1 or accuracy is constant"
    limits = [
        fisher_z_interval(t, n, "kendall") if ok else (np.nan, np.nan)
        for t, n, ok in zip(rows["estimate"], rows["n"], decided, strict=True)
    ]
    rows["low"], rows["high"] = [low for low, _ in limits], [high for _, high in limits]
    rows.loc[~decided, "p"] = np.nan
    left_out = rows["stratum"].map(seen.strata["left_out"])
    joined = (rows["note"] + "; left out: " + left_out).str.removeprefix("; ")
    rows["note"] = rows["note"].where(left_out == "", joined)
    return rows.assign(statistic=ALONG, axis="batch_size")


def _shortfall(sizes: np.ndarray) -> str:
    if sizes.size < MIN_BATCH_SIZES:
        return f"undecidable: {sizes.size} of {MIN_BATCH_SIZES} batch sizes have {MIN_SEEDS} usable seeds"
    if sizes.max() < MIN_SPAN * sizes.min():
        return f"undecidable: batch sizes span {sizes.max() / sizes.min():g}x, not {MIN_SPAN}x"
    return ""


def _correlations(seen: Observations) -> pd.DataFrame:
    strata = stratum_taus(seen).merge(seen.strata[list(STRATUM)], left_on="stratum", right_index=True)
    studies = seen.studies[list(STUDY)]
    associations = study_associations(seen).merge(studies, left_on="study", right_index=True)
    environments = sign_errors(seen)
    parts = [associations, strata]
    if len(environments):
        environments = environments.assign(statistic="sign_error")
        summary = _worst(environments)
        both = pd.concat([environments, summary], ignore_index=True)
        parts.append(both.merge(studies, left_on="study", right_index=True))
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(curvature=seen.curvature)
    for name in ("regime", "optimizer", "adversarial_training"):
        rows[name] = rows[name].fillna(ALL)
    return rows.reindex(columns=[*COLUMNS, "study", "stratum"])


def _worst(environments: pd.DataFrame) -> pd.DataFrame:
    """Dziugaite et al.'s robust (largest) sign-error of each study."""
    errors = environments.groupby("study")["estimate"]
    summary = errors.agg(["max", "size"]).reset_index().rename(columns={"max": "estimate", "size": "n"})
    return summary.assign(statistic="sign_error_max", axis=ALL, note="n counts environments", batch_sizes="")


def _forest(table: StudyTable, rows: pd.DataFrame) -> pd.DataFrame:
    strata = rows[(rows["statistic"] == ALONG) & rows["low"].notna()].assign(scope="stratum")
    over_all = ["curvature", "epochs", "target_loss", "attack", "loss", "split"]
    parts = [
        strata,
        _summaries(strata, ["curvature", *STUDY], "study"),
        _summaries(at_headline(table, strata), over_all, ALL),
    ]
    forest = pd.concat([part for part in parts if len(part)] or [strata], ignore_index=True)
    return forest.reindex(columns=[*COLUMNS, "scope", "predicted_low", "predicted_high", "i2"])


def _summaries(strata: pd.DataFrame, keys: list[str], scope: str) -> pd.DataFrame:
    out = []
    narrow = in_plain_text(strata[[*keys, "estimate", "n"]])
    for values, group in narrow.groupby(keys, dropna=False):
        n = group["n"].to_numpy(dtype=float)
        tau = continuity_tau(group["estimate"].to_numpy(dtype=float), n)
        found = random_effects(np.arctanh(tau), Z_VARIANCE["kendall"](tau, n))
        out.append(
            {
                **dict(zip(keys, values, strict=True)),
                "scope": scope,
                "statistic": "random_effects_tau",
                "axis": "batch_size",
                "estimate": np.tanh(found.mean),
                "low": np.tanh(found.low),
                "high": np.tanh(found.high),
                "predicted_low": np.tanh(found.predicted_low),
                "predicted_high": np.tanh(found.predicted_high),
                "i2": found.i2,
                "p": found.p,
                "n": found.k,
                "note": "n counts curves" + ("; headline epsilon of each data set" if scope == ALL else ""),
            }
        )
    labels = {name: ALL for name in _TEXT if name not in keys}
    return pd.DataFrame(out).assign(**labels, batch_sizes="")


def _as_rows(summaries: pd.DataFrame) -> pd.DataFrame:
    """Summaries as rows of `correlations`: the mean with its interval, and the prediction interval."""
    prediction = summaries.assign(
        statistic="random_effects_prediction",
        low=summaries["predicted_low"],
        high=summaries["predicted_high"],
        p=np.nan,
        note=summaries["note"] + "; where a new curve's tau is expected",
    )
    return pd.concat([summaries, prediction], ignore_index=True)
