"""Measures of robustness: all attacks together, one number a network, curves over epsilon, and cells PGD flatters."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from analysis.figures import FigureData
from analysis.figures.robust_curves import robust_accuracy, robust_curves
from analysis.output.downloads import networks
from analysis.tables.cells import cells
from analysis.tables.measures import ANY_LOSS, ROBUSTNESS, WORST, robustness, worst
from analysis.tables.table import StudyTable, from_rows
from study.results.schema import Row
from tests.analysis import synthetic as s

QUANTILES = [0.0, *np.linspace(0.01, 0.4, 98), np.inf, np.inf]


def measured(auto: float = 0.02) -> list[Row]:
    """Rows with the smallest perturbations, and auto-PGD that leaves `auto` less of the images right than PGD."""
    rows = s.curve_rows(batch_sizes=(16, 64, 256))
    for row in rows:
        pgd = next(a for a in row["attacks"] if (a["attack"], a["loss"]) == ("pgd", "ce"))
        right = np.unpackbits(np.frombuffer(pgd["correct_bits"], np.uint8), count=pgd["n"])
        right[np.flatnonzero(right)[: round(auto * pgd["n"])]] = 0
        found = {"attack": "apgd_t", "loss": "dlr", "correct": int(right.sum()), "accuracy": float(right.mean())}
        row["attacks"] = [*row["attacks"], pgd | found | {"correct_bits": np.packbits(right).tobytes()}]
        row |= {"headline_epsilon": pgd["epsilon"], "minimal_epsilon_quantiles": list(QUANTILES)}
        row["minimal_epsilon_area"] = 0.2
    return rows


@pytest.fixture(scope="module")
def table() -> StudyTable:
    return from_rows(measured())


def test_an_image_withstands_all_attacks_if_it_is_right_under_each(table: StudyTable) -> None:
    found = worst(table).set_index("trial_id")
    for row in measured():
        bits = [np.unpackbits(np.frombuffer(a["correct_bits"], np.uint8), count=a["n"]) for a in row["attacks"]]
        one = found.loc[row["trial_id"]]
        assert (one["correct"], one["n"], one["attacks"]) == (np.logical_and.reduce(bits).sum(), 10_000, 5)
        assert one["accuracy"] <= min(a["accuracy"] for a in row["attacks"])


def test_attacks_in_another_norm_and_rows_without_bits_do_not_count() -> None:
    rows = measured()
    rows[0]["attacks"][0] |= {"norm": "l2"}
    rows[1]["attacks"][0] |= {"correct_bits": None}
    found = worst(from_rows(rows)).set_index("trial_id")
    assert found.loc[rows[0]["trial_id"], "attacks"] == 4
    assert rows[1]["trial_id"] not in found.index
    counts = networks(from_rows(rows)).set_index("trial_id")["worst_attacks"]
    assert counts[rows[0]["trial_id"]] == 4 and counts[rows[2]["trial_id"]] == 5
    assert pd.isna(counts[rows[1]["trial_id"]])


def test_every_measure_has_one_number_a_network_and_more_is_more_robust(table: StudyTable) -> None:
    found = robustness(table)
    assert list(found.columns) == list(ROBUSTNESS)
    assert sorted(found.index) == sorted(table.trials["trial_id"])
    assert found.notna().all(axis=None)
    trials = table.trials.set_index("trial_id")
    assert (found["pgd"] == trials["pgd_acc"]).all()
    np.testing.assert_allclose(found["apgd"], trials["pgd_acc"] - 0.02, atol=1e-4)
    assert set(found["minimal_epsilon_median"]) == {QUANTILES[50]} and set(found["minimal_epsilon_area"]) == {0.2}
    without = robustness(from_rows(s.curve_rows(batch_sizes=(16,))))
    assert without[["apgd", "minimal_epsilon_area", "minimal_epsilon_median"]].isna().all(axis=None)


@pytest.mark.parametrize(("auto", "marked"), [(0.02, True), (0.005, False)])
def test_cells_of_pgd_are_marked_where_auto_pgd_is_over_a_point_stronger(auto: float, marked: bool) -> None:
    found = cells(from_rows(measured(auto)))
    assert found.loc[found["attack"] == "pgd", "overstated"].eq(marked).any()
    published = found[(found["attack"] == "pgd") & (found["loss"] == "ce")]
    assert (published["overstated"] == marked).all()
    assert not found.loc[found["attack"] != "pgd", "overstated"].any()
    assert published["sound"].all()  # a mark, which leaves no cell out of a test


def test_auto_pgd_is_compared_on_the_networks_that_were_asked_both() -> None:
    rows = measured(0.005)
    for row in rows:
        if row["seed"]:
            row |= {"attacks": [a for a in row["attacks"] if a["attack"] != "apgd_t"], "pgd_acc": 0.9}
    assert not cells(from_rows(rows))["overstated"].any()


def test_all_attacks_together_are_a_choice_of_the_figures(table: StudyTable) -> None:
    data = FigureData(table)
    found = data.cells[data.cells["attack"] == WORST]
    assert len(found) == data.cells[["regime", "batch_size"]].drop_duplicates().shape[0]
    assert set(found["loss"]) == {ANY_LOSS} and (found["n_seeds"] == 3).all()
    means = worst(table).merge(table.points[["trial_id", "regime", "batch_size"]], on="trial_id")
    expected = means.groupby(["regime", "batch_size"])["accuracy"].mean()
    mine = found.set_index(["regime", "batch_size"])["accuracy"]
    assert mine.to_dict() == pytest.approx(expected.to_dict())


def test_the_curve_over_epsilon_is_the_share_of_larger_perturbations(table: StudyTable) -> None:
    two = np.array([[0.0, 0.1, 0.2, np.inf], [0.1, 0.1, 0.3, 0.4]])
    assert robust_accuracy(two, np.array([0.0, 0.1, 0.25, 1.0])).tolist() == [7 / 8, 4 / 8, 3 / 8, 1 / 8]
    figures = robust_curves(FigureData(table))
    assert len(figures) == 2  # a figure a regime
    first = [r for r in figures[0].data["cells"] if r["curve"] == "batch 16"]
    accuracy = [r["accuracy"] for r in first]
    assert all(("dotted" in one.caption) == ("rule" in str(one.template)) for one in figures)
    assert accuracy == sorted(accuracy, reverse=True) and accuracy[0] == pytest.approx(100 / 101, abs=1e-4)
    assert not robust_curves(FigureData(from_rows(deepcopy(s.curve_rows(batch_sizes=(16,))))))
