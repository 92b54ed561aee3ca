"""The papers' printed numbers and the rank statistics that follow from them."""

import numpy as np
import pandas as pd
import pytest

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


def test_every_printed_number_is_there_and_a_copy() -> None:
    rows = published()
    assert rows.groupby("table").size().to_dict() == {
        "Choudhary-T2": 68, "Yao-T1": 168, "Yao-T2": 40, "Yao-T3": 42, "Yao-T4": 42, "Yao-T7": 84,
    }  # fmt: skip
    rows["value"] = "changed"
    assert published()["value_std"].equals(rows["value_std"])
    assert not (published()["value"].astype(str) == "changed").any()


def test_percents_and_fractions_are_on_one_scale() -> None:
    accuracies = published()[lambda r: r["metric"].str.endswith("acc")]["value_std"]
    assert accuracies.between(0, 100).all()
    assert yao_table("Yao-T7", "M1").loc[64, ("fgsm_acc", "test", 0.1)] == 85.0


@pytest.mark.parametrize("eps", [0.005, 0.01, 0.02])
def test_yaos_c1_opposes_curvature_and_robustness_but_for_small_batches(eps: float) -> None:
    found = yao_statistics("Yao-T1", "C1", eps)
    assert {name: round(value, 3) for name, value in found.items()} == {
        "tau_train": -0.857,
        "tau_test": -0.786,
        "rho_train": -0.929,
        "rho_test": -0.905,
        "rho_batch_clean": 0.238,
        "rho_lambda_x": 0.095,
        "rho_gradx": 0.690,
    }  # fmt: skip


def test_yaos_m1_and_c2_order_perfectly() -> None:
    m1, c2 = yao_statistics("Yao-T7", "M1", 0.2), yao_statistics("Yao-T1", "C2", 0.02)
    assert m1["tau_train"] == m1["tau_test"] == c2["tau_train"] == c2["tau_test"] == -1.0
    assert round(m1["rho_batch_clean"], 3) == -0.812


def test_choudharys_networks_oppose_less_given_clean_accuracy() -> None:
    found = choudhary_statistics()
    assert found["n"] == 16
    assert found["rho_fgsm"] == pytest.approx(-0.5445, abs=5e-5)
    rounded = {name: round(value, 3) for name, value in found.items()}
    assert rounded["rho_pgd"] == -0.550
    assert rounded["partial_given_clean_fgsm"] == -0.395
    assert rounded["partial_given_clean_pgd"] == -0.406
    assert rounded["rho_fgsm_no_adam"] == -0.736
    assert rounded["rho_pgd_no_adam"] == -0.643
