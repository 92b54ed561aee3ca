"""Rank statistics of the papers' own tables, by the functions that judge our rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.published import published
from analysis.statistics.correlations import kendall_tau_b, partial_spearman, spearman


def yao_table(table: str, model: str) -> pd.DataFrame:
    """A table of Yao et al. 2018 with one row per batch size and columns (metric, split, eps); eps 0 for
    none.
    """
    rows = published()
    rows = rows[(rows["table"] == table) & (rows["model"] == model)].assign(eps=lambda r: r["eps"].fillna(0.0))
    return rows.pivot(index="batch_size", columns=["metric", "split", "eps"], values="value_std").sort_index()


def yao_statistics(table: str, model: str, eps: float) -> dict[str, float]:
    """lambda1 of each split against test FGSM accuracy at `eps`, and batch size against clean accuracy.

    Keys: tau_train, tau_test, rho_train, rho_test, rho_batch_clean, rho_lambda_x, rho_gradx (the last two,
    of the input curvature and gradient norm on the test set, NaN where the table does not print them).
    """
    wide = yao_table(table, model)
    robust = _column(wide, "fgsm_acc", "test", eps)
    sharp = {split: _column(wide, "lambda1_theta", split) for split in ("train", "test")}
    batch = wide.index.to_numpy(dtype=float)
    found = {f"tau_{split}": kendall_tau_b(x, robust).estimate for split, x in sharp.items()}
    found |= {f"rho_{split}": spearman(x, robust).estimate for split, x in sharp.items()}
    found["rho_batch_clean"] = spearman(batch, _column(wide, "clean_acc", "test")).estimate
    found["rho_lambda_x"] = spearman(_column(wide, "lambda1_x", "test"), robust).estimate
    found["rho_gradx"] = spearman(_column(wide, "grad_x_norm", "test"), robust).estimate
    return found


def _column(wide: pd.DataFrame, metric: str, split: str, eps: float = 0.0) -> np.ndarray:
    key = (metric, split, eps)
    return wide[key].to_numpy(dtype=float) if key in wide.columns else np.full(len(wide), np.nan)


def choudhary_table() -> pd.DataFrame:
    """Table 2 of Choudhary (2020): one row per trained network, the SGD row that is printed twice kept
    once.
    """
    rows = published()
    rows = rows[rows["table"] == "Choudhary-T2"]
    wide = rows.pivot(index="variant", columns="metric", values="value_std")
    return wide.drop_duplicates()


def choudhary_statistics() -> dict[str, float]:
    """lambda1 against FGSM and PGD accuracy: rho, given clean accuracy, and without Adam."""
    wide = choudhary_table()
    sgd = wide[~wide.index.str.contains("adam")]
    found: dict[str, float] = {"n": len(wide)}
    for attack in ("fgsm", "pgd"):
        x, y, clean = wide["lambda1_theta"], wide[f"{attack}_acc"], wide["clean_acc"]
        found[f"rho_{attack}"] = spearman(x, y).estimate
        found[f"partial_given_clean_{attack}"] = partial_spearman(x, y, clean).estimate
        found[f"rho_{attack}_no_adam"] = spearman(sgd["lambda1_theta"], sgd[f"{attack}_acc"]).estimate
    return found
