"""Curvature against robustness within one study: pooled, between, within, partial and granulated correlations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.correlations import (
    granulated_by_group,
    kendall_tau_b,
    over_seeds,
    partial_spearman,
    pearson,
    pooled_against_within,
    repeated_measures_correlation,
    spearman,
)
from analysis.statistics.groups import Codes
from analysis.tables.observations import (
    ALONGSIDE,
    UNDECIDABLE,
    Observations,
    batch_list,
    by_code,
    keep_decidable,
)

AXES = ("batch_size", "regime", "momentum", "seed")
SETTINGS = np.array([axis != "seed" for axis in AXES])
"""The axes of the mean granulated tau: a seed is no setting."""

CELL_COLUMNS = ("run", "stratum", "x", "logit", "accuracy", "test_acc", "train_loss", "weight_norm")
TRIAL_COLUMNS = ("trial", "x", "accuracy", "logit", "stratum", "cell", "seed")

Columns = dict[str, NDArray[Any]]

FLIP = "pooled_against_within"

DESCRIPTIVE = "descriptive: mixes curves, and seeds of a cell are not independent"


def study_associations(seen: Observations) -> pd.DataFrame:
    """Every study-wide correlation of curvature and robustness.

    Columns: `study`, `batch_sizes`, and those of `analysis.output.columns.CORRELATIONS` from `statistic` on. `x` is
    log2 lambda1 throughout. Rank statistics take the adversarial accuracy as it is, linear ones its logit. A run that
    lies on two curves counts once where curves are mixed.

    - tau_b_pooled, spearman_pooled: over all trials; descriptive.
    - pearson_between_curves: over the curves' means. rmcorr_within_curves: deviations of cell
      means from the curve's mean; its interval takes the batch sizes of a curve as exchangeable, so that two quantities
      that both change with the batch size for separate reasons also give a value near 1 or -1.
    - pooled_against_within: Pearson's r of all cell means less r within curves; p tests that the two have opposite
      signs.
    - rmcorr_within_cells: over seeds, the mean of each seed's deviations from the means of its cells. The cells of one
      seed are not independent; entered one by one they give p <= .05 in 24 to 58 % of studies without a correlation.
      See `over_seeds`.
    - partial_spearman_clean, partial_spearman_clean_loss_norm: over cell means, given the clean accuracy, and
      given also log training loss and log weight norm.
    - granulated_tau: Jiang et al. (2020) per axis of `AXES`, and their mean over `SETTINGS` (axis "mean").
      `n` counts groups.
    """
    count = len(seen.studies)
    cells = _decisive(seen.cells)
    trials = _decisive(seen.trials)
    rows: list[dict[str, Any]] = []
    of_cells, of_trials = _columns(cells, CELL_COLUMNS), _columns(trials, TRIAL_COLUMNS)
    members = zip(_split(cells, count), _split(trials, count), strict=True)
    for study, (in_cells, in_trials) in enumerate(members):
        found = _one_study(_take(of_cells, in_cells), _take(of_trials, in_trials))
        rows.extend({"study": study, **row} for row in found)
    frame = pd.concat([pd.DataFrame(rows), _granulated(trials, count)], ignore_index=True)
    frame["batch_sizes"] = frame["study"].map({s: _sizes(cells, i) for s, i in enumerate(_split(cells, count))})
    return _undecided(frame, seen, cells)


def _decisive(frame: pd.DataFrame) -> pd.DataFrame:
    kept = keep_decidable(frame["decidable"].to_numpy(dtype=bool), frame["study"].to_numpy(dtype=np.intp))
    return frame[kept].reset_index(drop=True)


def _split(frame: pd.DataFrame, count: int) -> list[Codes]:
    return by_code(frame["study"].to_numpy(dtype=np.intp), count)


def _sizes(cells: pd.DataFrame, members: Codes) -> str:
    return batch_list(cells["batch_size"].to_numpy()[members])


def _columns(frame: pd.DataFrame, names: Sequence[str]) -> Columns:
    return {name: frame[name].to_numpy() for name in names}


def _take(columns: Columns, members: Codes | NDArray[np.bool_]) -> Columns:
    return {name: values[members] for name, values in columns.items()}


def _one_study(cells: Columns, trials: Columns) -> Iterator[dict[str, Any]]:
    once = _take(trials, _first_seen(trials["trial"]))
    x, accuracy = once["x"], once["accuracy"]
    yield _row("tau_b_pooled", kendall_tau_b(x, accuracy), DESCRIPTIVE)
    yield _row("spearman_pooled", spearman(x, accuracy), DESCRIPTIVE)
    curve = np.unique(trials["stratum"], return_inverse=True)[1]
    size = np.maximum(np.bincount(curve), 1)
    means = (np.bincount(curve, weights=trials[name]) / size for name in ("x", "logit"))
    yield _row("pearson_between_curves", pearson(*means))
    yield _row("rmcorr_within_curves", repeated_measures_correlation(cells["x"], cells["logit"], cells["stratum"]))
    flip = pooled_against_within(cells["x"], cells["logit"], cells["stratum"])
    yield _row(FLIP, flip, "p: that the two signs differ; n counts curves")
    residuals = (mean_residuals(once[name], once["cell"], once["seed"]) for name in ("x", "logit"))
    within = over_seeds(*residuals)
    few = f"; no p: {within.n} seeds cannot reach 0.05 by permutation without one of them"
    of_seeds = f"Spearman's rho of one mean residual a seed{'' if np.isfinite(within.p) else few}"
    yield _row("rmcorr_within_cells", within, of_seeds)
    yield from _partial(cells)


def _partial(cells: Columns) -> Iterator[dict[str, Any]]:
    once = _take(cells, _first_seen(cells["run"]))
    x, accuracy, clean = once["x"], once["accuracy"], once["test_acc"]
    yield _row("partial_spearman_clean", partial_spearman(x, accuracy, clean))
    # ranks are those of the logarithms too
    controls = np.column_stack([clean, once["train_loss"], once["weight_norm"]])
    yield _row("partial_spearman_clean_loss_norm", partial_spearman(x, accuracy, controls))


def mean_residuals(values: NDArray[Any], cell: NDArray[Any], seed: NDArray[Any]) -> NDArray[Any]:
    """The mean deviation of each seed's `values` from the means of their cells, shape (seeds,); all shape (n,) else.

    A cell of one seed has no deviation and is left out.
    """
    cells, seeds = (np.unique(codes, return_inverse=True)[1] for codes in (cell, seed))
    count = np.bincount(cells)
    residual = values - (np.bincount(cells, weights=values) / np.maximum(count, 1))[cells]
    kept = count[cells] > 1
    shared = np.bincount(seeds[kept])
    return np.asarray(np.bincount(seeds[kept], weights=residual[kept])[shared > 0] / shared[shared > 0])


def _first_seen(codes: Codes) -> Codes:
    """Where each code occurs first: a run on two curves counts once."""
    return np.sort(np.unique(codes, return_index=True)[1])


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
    known = np.isfinite(psi) & SETTINGS
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
            "n": np.column_stack([groups, groups[:, SETTINGS].sum(axis=1)]).ravel(),
        }
    )
    rows["note"] = np.where(np.isfinite(values.ravel()), "", "nothing varies along this axis")
    return rows


def _undecided(frame: pd.DataFrame, seen: Observations, cells: pd.DataFrame) -> pd.DataFrame:
    """Removes limits and p values of undecidable studies, and notes why, and which cells were left out."""
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
