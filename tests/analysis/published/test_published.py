"""The papers' printed numbers and the rank statistics that follow from them."""

import pytest

from analysis.published import published
from analysis.published.statistics import choudhary_statistics, yao_statistics, yao_table


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
