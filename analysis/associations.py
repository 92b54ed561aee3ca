"""Curvature against robustness within one study: pooled, between, within, partial and granulated
correlations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.observations import (
    ALONGSIDE,
    UNDECIDABLE,
    Observations,
    batch_list,
    by_code,
    column,
    keep_decidable,
)
from analysis.ranks import Codes, granulated_by_group, partial_spearman
from analysis.statistics import kendall_tau_b, pearson, repeated_measures_correlation, spearman

AXES = ("batch_size", "regime", "momentum", "seed")

DESCRIPTIVE = "descriptive: mixes curves, and seeds of a cell are not independent"


def study_associations(seen: Observations) -> pd.DataFrame:
    """Every study-wide correlation: columns study, statistic, axis, estimate, low, high, p, n, batch_sizes,
    note.

    `x` is log2 lambda1 throughout. Rank statistics take the adversarial accuracy as it is, linear ones its
    logit. A run that lies on two curves counts once where curves are mixed.

    - tau_b_pooled, spearman_pooled, pearson_pooled: over all trials; descriptive. - pearson_between_curves:
    over the curves' means. rmcorr_within_curves: deviations from the curve's mean. - rmcorr_within_cells:
    seed residuals, deviations from the cell's mean. - partial_spearman_clean,
    partial_spearman_clean_loss_norm: over cell means, given the clean accuracy, and given also log training
    loss and log weight norm. - granulated_tau: Jiang et al. (2020) per axis of `AXES`, and their mean (axis
    "mean"). `n` counts groups.
    """
    count = len(seen.studies)
    cells = _decisive(seen.cells)
    trials = _decisive(seen.trials)
    rows: list[dict[str, Any]] = []
    members = zip(_split(cells, count), _split(trials, count), strict=True)
    for study, (in_cells, in_trials) in enumerate(members):
        rows.extend(
            {"study": study, **row} for row in _one_study(cells.iloc[in_cells], trials.iloc[in_trials])
        )
    frame = pd.concat([pd.DataFrame(rows), _granulated(trials, count)], ignore_index=True)
    frame["batch_sizes"] = frame["study"].map(
        {s: _sizes(cells, i) for s, i in enumerate(_split(cells, count))}
    )
    return _undecided(frame, seen, cells)


def _decisive(frame: pd.DataFrame) -> pd.DataFrame:
    kept = keep_decidable(frame["decidable"].to_numpy(dtype=bool), frame["study"].to_numpy(dtype=np.intp))
    return frame[kept].reset_index(drop=True)


def _split(frame: pd.DataFrame, count: int) -> list[Codes]:
    return by_code(frame["study"].to_numpy(dtype=np.intp), count)


def _sizes(cells: pd.DataFrame, members: Codes) -> str:
    return batch_list(cells["batch_size"].to_numpy()[members])


def _one_study(cells: pd.DataFrame, trials: pd.DataFrame) -> Iterator[dict[str, Any]]:
    once = trials[~trials["trial"].duplicated()]
    x, accuracy, logit = column(once, "x"), column(once, "accuracy"), column(once, "logit")
    yield _row("tau_b_pooled", kendall_tau_b(x, accuracy), DESCRIPTIVE)
    yield _row("spearman_pooled", spearman(x, accuracy), DESCRIPTIVE)
    yield _row("pearson_pooled", pearson(x, logit), DESCRIPTIVE)
    curves = trials.groupby("stratum")[["x", "logit"]].mean()
    yield _row("pearson_between_curves", pearson(column(curves, "x"), column(curves, "logit")))
    within = repeated_measures_correlation(
        column(trials, "x"), column(trials, "logit"), trials["stratum"].to_numpy()
    )
    yield _row("rmcorr_within_curves", within)
    residual = repeated_measures_correlation(x, logit, once["cell"].to_numpy())
    yield _row("rmcorr_within_cells", residual)
    yield from _partial(cells)


def _partial(cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    runs = cells["trial_ids"].map(lambda ids: ids[0])
    once = cells[~runs.duplicated()]
    x, accuracy = column(once, "x"), column(once, "accuracy")
    clean = column(once, "test_acc")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.column_stack([column(once, "train_loss"), column(once, "weight_norm")]))
    yield _row("partial_spearman_clean", partial_spearman(x, accuracy, clean))
    controls = np.column_stack([clean, logs])
    yield _row("partial_spearman_clean_loss_norm", partial_spearman(x, accuracy, controls))


def _row(statistic: str, found: Any, note: str = "") -> dict[str, Any]:
    return {
        "statistic": statistic,
        "axis": "",
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "n": found.n,
        "note": note if np.isfinite(found.estimate) else "too few points, or no variation",
    }


def _granulated(trials: pd.DataFrame, count: int) -> pd.DataFrame:
    studies = trials["study"].to_numpy(dtype=np.intp)
    psi, groups = granulated_by_group(trials, "x", "accuracy", AXES, studies, count, fixed=ALONGSIDE)
    known = np.isfinite(psi)
    mean = np.divide(
        np.where(known, psi, 0.0).sum(axis=1),
        known.sum(axis=1),
        out=np.full(count, np.nan),
        where=known.any(axis=1),
    )
    values = np.column_stack([psi, mean])
    rows = pd.DataFrame(
        {
            "study": np.repeat(np.arange(count), len(AXES) + 1),
            "statistic": "granulated_tau",
            "axis": [*AXES, "mean"] * count,
            "estimate": values.ravel(),
            "low": np.nan,
            "high": np.nan,
            "p": np.nan,
            "n": np.column_stack([groups, groups.sum(axis=1)]).ravel(),
        }
    )
    rows["note"] = np.where(np.isfinite(values.ravel()), "", "nothing varies along this axis")
    return rows


def _undecided(frame: pd.DataFrame, seen: Observations, cells: pd.DataFrame) -> pd.DataFrame:
    """Blank what an undecidable study cannot say, and say why; name the cells that were left out."""
    decidable = cells.groupby("study")["decidable"].any().reindex(range(len(seen.studies)))
    state = frame["study"].map(decidable)
    blank = ~state.eq(True)
    frame.loc[blank, ["low", "high", "p"]] = np.nan
    frame.loc[state.eq(False), "note"] = UNDECIDABLE
    frame.loc[state.isna(), "note"] = "no usable cell"
    left_out = frame["study"].map(seen.studies["left_out"])
    has = left_out != ""
    frame.loc[has, "note"] = (frame["note"] + "; left out: " + left_out)[has].str.removeprefix("; ")
    return frame
