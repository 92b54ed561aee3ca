"""What claims on training to a loss read beyond accuracy and lambda1: the top eigenvalues and the input's curvature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.evidence import DIVERGED, Evidence, Reader
from analysis.claims.measures import Measure, flag_untrained
from analysis.tables.table import StudyTable

UNREACHED = "target loss not reached"
NOT_POSITIVE = "eigenvalue not positive"
NOT_CONVERGED = "eigenvalue not converged"
"""Flags of runs that a test leaves out."""


def to_the_target(measure: Measure) -> Measure:
    """`measure` of the networks that were trained until a loss; those that stopped above it are flagged."""
    return replace(measure, read=partial(_to_the_target, measure.read))


def _to_the_target(read: Reader, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["target_loss"].notna() & (points["adversarial_training"] == "none")]
    if asked.empty:
        return asked.assign(value=np.nan, linear=np.nan, flag="")
    frame = read(evidence, asked, loss)
    stopped = frame["reached_target"].eq(False) & (frame["status"] != DIVERGED)
    return frame.assign(flag=frame["flag"].mask(stopped, UNREACHED))


def eigenvalue(rank: int) -> Measure:
    """log2 of the `rank`-th largest eigenvalue (1 for the first) of the Hessian on the whole training set."""
    return Measure(f"eigenvalue {rank}", "doublings", lambda dataset: 1.0, partial(_eigenvalue, rank))


def _eigenvalue(rank: int, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    """One that has not converged or is not positive keeps its row, flagged, so that it is counted."""
    table = evidence.table
    spectra = table.once("spectra of the training sets", lambda: _training_spectra(table))
    found: dict[str, tuple[float, bool]] = {}
    for trial_id, values, sure in spectra:
        if len(values) >= max(rank, 2):  # a spectrum of one eigenvalue is lambda1's own
            found.setdefault(trial_id, (values[rank - 1], sure[rank - 1]))
    ours = [found.get(trial_id, (np.nan, False)) for trial_id in points["trial_id"]]
    frame = points.assign(eigenvalue=[float(value) for value, _ in ours], sure=[sure for _, sure in ours])
    frame = frame[frame["eigenvalue"].notna() | (frame["status"] == DIVERGED)]
    number = frame["eigenvalue"]
    value = np.log2(number.where(number > 0))
    frame = flag_untrained(frame.assign(value=value, linear=value))
    finished = frame["status"] != DIVERGED
    flag = frame["flag"].mask(~frame["sure"] & finished, NOT_CONVERGED)
    return frame.assign(flag=flag.mask((number <= 0) & finished, NOT_POSITIVE))


def _training_spectra(table: StudyTable) -> list[tuple[str, list[float], list[bool]]]:
    """Of each spectrum of a whole training set the trial, the eigenvalues in descending order and which converged."""
    spectra = table.spectra
    whole = spectra[(spectra["split"] == "train") & (spectra["subset_size"] == spectra["train_size"])]
    found = []
    for spectrum in whole[["trial_id", "eigenvalues", *_CONVERGENCE]].to_dict("records"):
        values = sorted(spectrum["eigenvalues"], reverse=True)
        found.append((spectrum["trial_id"], values, [converged(spectrum, place) for place in range(len(values))]))
    return found


_CONVERGENCE = ("converged_each", "converged")


def converged(spectrum: Mapping[Any, Any], index: int) -> bool:
    """Whether the eigenvalue at this place of the descending order converged.

    Rows of before the column `converged_each` have one flag for all.
    """
    each, values = spectrum.get("converged_each"), spectrum["eigenvalues"]
    if not isinstance(each, list | np.ndarray) or not len(each) or not isinstance(values, list | np.ndarray):
        return bool(spectrum["converged"])
    order = np.argsort(-np.asarray(values, dtype=float), kind="stable")
    return bool(each[order[index]])


def input_curvature(split: str) -> Measure:
    """log2 of the mean top eigenvalue of the input Hessian on `split` (Yao et al. 2018, section 3.2)."""
    return _column("lambda1_x", split)


def input_gradient(split: str) -> Measure:
    """log2 of the mean norm of the input gradient on `split` (Yao et al. 2018, section 3.2)."""
    return _column("grad_x_norm", split)


def _column(name: str, split: str) -> Measure:
    return Measure(name, "doublings", lambda dataset: 1.0, partial(_log2_column, f"{name}_{split}"))


def _log2_column(column: str, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[(points[column] > 0) | (points["status"] == DIVERGED)]
    value = np.log2(asked[column].astype(float))
    return flag_untrained(asked.assign(value=value, linear=value))
