"""What the correlation report correlates: curvature and robustness per cell and per trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.groups import Codes, group_codes
from analysis.tables.cells import FLAGS
from analysis.tables.table import ALIKE, CURVE, QUESTION, SETTING

STUDY = (*ALIKE, *QUESTION)
"""The columns of one study: correlations are never taken across data sets, models, protocols or attacks."""

STRATUM = (*CURVE, *QUESTION)
"""The columns of one curve under one attack: only the batch size and the seed vary."""

ALONGSIDE = tuple(name for name in SETTING if name not in ALIKE)
"""Settings of a curve that the report compares along no axis: held fixed along every axis."""

CURVATURES = ("lambda1_test", "lambda1_train")

UNDECIDABLE = "undecidable: no cell with 3 seeds of which two thirds did not diverge"

_SEED_COLUMNS = {
    "seed": "seeds",
    "trial_id": "trial_ids",
    "accuracy": "accuracy_seeds",
    "logit": "logit_seeds",
}


@dataclass(frozen=True)
class Observations:
    """The measured cells and their trials for one curvature.

    Attributes:
        curvature: one of `CURVATURES`.
        cells: one row per usable cell with `x` (mean log2 lambda1) and codes `study`, `stratum`, `cell`, `run` (equal
            for the two cells of one run on two curves).
        trials: one row per seed of those cells: `seed`, `trial` (a code), `accuracy`, `logit`, `x`, keys and codes.
        studies, strata: the keys behind the codes, and `left_out`: how many cells were left out, and why.
    """

    curvature: str
    cells: pd.DataFrame
    trials: pd.DataFrame
    studies: pd.DataFrame
    strata: pd.DataFrame


def keyed(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells (`analysis.tables.cells`) with the codes `study`, `stratum`, `cell` and `run` of `Observations`."""
    return cells.assign(
        study=group_codes(cells, STUDY),
        stratum=group_codes(cells, STRATUM),
        cell=np.arange(len(cells)),
        run=pd.factorize(cells["trial_ids"].map(_first))[0],
    )


def observe(cells: pd.DataFrame, curvature: str) -> Observations:
    """The `keyed` cells without flags that have an answer and a positive `curvature`."""
    coded = cells.assign(x=cells[f"log2_{curvature}"])
    reasons = _reasons(coded)
    usable = coded[reasons == ""].reset_index(drop=True)
    return Observations(
        curvature,
        usable,
        _explode(usable, curvature),
        _keys(coded, reasons, "study", STUDY),
        _keys(coded, reasons, "stratum", STRATUM),
    )


def _first(trial_ids: NDArray[Any]) -> object:
    return trial_ids[0] if trial_ids.size else None


def keep_decidable(decidable: NDArray[np.bool_], groups: Codes) -> NDArray[np.bool_]:
    """The decidable members of each group; all members of a group that has no decidable one."""
    has = np.bincount(groups, weights=decidable) > 0 if groups.size else np.zeros(0, dtype=bool)
    kept: NDArray[np.bool_] = decidable | ~has[groups]
    return kept


def batch_list(sizes: NDArray[np.int_]) -> str:
    """Batch sizes as one field of a CSV file: "16 32 64"."""
    return " ".join(map(str, sorted(set(sizes.tolist()))))


def _reasons(coded: pd.DataFrame) -> NDArray[np.object_]:
    """Why each cell is left out; "" if it is not."""
    reason = np.full(len(coded), "", dtype=object)
    for flag in FLAGS:
        reason[coded[flag].to_numpy(dtype=bool) & (reason == "")] = flag
    unanswered = coded["n_seeds"].to_numpy() == 0
    reason[unanswered] = "not run"
    reason[unanswered & (coded["n_diverged"].to_numpy() > 0)] = "diverged"
    reason[(reason == "") & ~np.isfinite(coded["x"].to_numpy(dtype=float))] = "without a positive lambda1"
    return reason


def _keys(coded: pd.DataFrame, reasons: NDArray[np.object_], code: str, names: Sequence[str]) -> pd.DataFrame:
    keys = coded.drop_duplicates(code).set_index(code)[list(names)].sort_index()
    out = pd.DataFrame({code: coded[code].to_numpy(), "reason": reasons})
    counts = out[out["reason"] != ""].groupby([code, "reason"]).size().reset_index(name="count")
    counts["text"] = counts["count"].astype(str) + " " + counts["reason"]
    texts = counts.groupby(code)["text"].agg(", ".join)
    return keys.assign(left_out=texts.reindex(keys.index).fillna(""))


def _explode(usable: pd.DataFrame, curvature: str) -> pd.DataFrame:
    counts = usable["n_seeds"].to_numpy()
    keys = [*ALONGSIDE, "regime", "momentum", "batch_size", "study", "stratum", "cell", "decidable"]
    trials = usable[keys].loc[usable.index.repeat(counts)].reset_index(drop=True)
    columns = _SEED_COLUMNS | {"x": f"log2_{curvature}_seeds"}
    for name, source in columns.items():
        trials[name] = np.concatenate(usable[source].to_list()) if len(usable) else np.empty(0)
    trials["trial"] = pd.factorize(trials["trial_id"])[0]
    finite = np.isfinite(trials["x"].to_numpy(dtype=float))
    measured: pd.DataFrame = trials.loc[finite].reset_index(drop=True)
    return measured


def by_code(codes: Codes, count: int) -> list[Codes]:
    """The rows of each code 0..count-1."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(1, count))
    return list(np.split(order, ends)) if count else []
