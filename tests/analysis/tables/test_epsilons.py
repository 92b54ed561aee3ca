"""One headline epsilon for the networks that are compared: in verdicts, figures, correlations and measures alike."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.figures.figure_data import FigureData
from analysis.figures.study import lead, study_figures
from analysis.reports.correlation import correlation_report
from analysis.tables.epsilons import at_headline, headline_epsilons
from analysis.tables.measures import robustness
from analysis.tables.table import from_rows
from study.results.schema import Row
from tests.analysis.claims.planted_claims import judge
from tests.analysis.synthetic import curve_rows, line


def met(rows: list[Row], *epsilons: float) -> list[Row]:
    """The rows with their attacks at these epsilons, a tenth more accurate at each smaller one."""
    ordered = sorted(epsilons, reverse=True)
    return [
        row
        | {
            "attacks": [
                attack | {"epsilon": epsilon, "accuracy": attack["accuracy"] + 0.1 * smaller}
                for attack in row["attacks"]
                for smaller, epsilon in enumerate(ordered)
            ]
        }
        for row in rows
    ]


def epsilon_of(rows: list[Row]) -> float:
    table = from_rows(rows)
    (found,) = headline_epsilons(table, table.trials).unique()
    return float(found)


def test_it_is_where_most_networks_were_attacked_and_of_several_the_papers() -> None:
    rows = curve_rows(regime="benchmark")
    assert epsilon_of(met(rows, 0.1, 0.3)) == 0.3
    assert epsilon_of(met(rows, 0.1, 0.2)) == 0.2
    assert epsilon_of(met(rows[:1], 0.1, 0.3) + met(rows[1:], 0.1)) == 0.1
    assert epsilon_of([row | {"attacks": []} for row in rows]) == 0.3


def test_each_protocol_has_its_own_and_a_data_set_of_the_users_has_one() -> None:
    cheap, full = curve_rows(regime="benchmark", epochs=2), curve_rows(regime="benchmark")
    table = from_rows(met(cheap, 0.1) + met(full, 0.3))
    assert headline_epsilons(table, table.trials).groupby(table.trials["epochs"]).unique().map(list).to_dict() == {
        2: [0.1],
        100: [0.3],
    }
    assert len(at_headline(table, table.attacks)) == len(table.attacks)
    assert epsilon_of(met([row | {"dataset": "photos"} for row in full], 0.02, 0.05)) == 0.05


def test_attacks_in_the_l2_ball_do_not_choose_it_while_there_are_others() -> None:
    rows = curve_rows(regime="benchmark")
    euclidean = [{**attack, "attack": "pgd_l2", "norm": "l2", "epsilon": 2.0} for attack in rows[0]["attacks"]]
    assert epsilon_of([row | {"attacks": [*row["attacks"], *euclidean]} for row in rows]) == 0.3
    assert epsilon_of([row | {"attacks": euclidean} for row in rows]) == 2.0


def test_verdicts_figures_correlations_and_measures_read_the_same_one() -> None:
    """One network in the corner of a curve met the paper's epsilon, all met another."""
    rows = curve_rows(regime="benchmark", fgsm=line(0.6, -0.02))
    rows = met(rows[:1], 0.1, 0.3) + met(rows[1:], 0.1)
    table = from_rows(rows)
    data = FigureData(table)
    assert "attacked at epsilon 0.1 instead of 0.3" in judge("A2", rows).protocol
    groups = study_figures(data)
    assert {group.epsilon for group in groups} == {0.1}
    first = lead(data, groups)
    assert first is not None and "ε = 0.1" in first.figures[0].caption
    forest = correlation_report(table).forest
    strata = at_headline(table, forest[forest["scope"] == "stratum"])
    assert set(strata["epsilon"]) == {0.1}
    attacks = table.attacks[(table.attacks["attack"] == "fgsm") & (table.attacks["loss"] == "ce")]
    expected = attacks[attacks["epsilon"] == 0.1].set_index("trial_id")["accuracy"]
    found = robustness(table)["fgsm"]
    pd.testing.assert_series_equal(found, expected.reindex(found.index), check_names=False)
    assert found.iloc[0] == pytest.approx(0.1 + attacks.loc[attacks["epsilon"] == 0.3, "accuracy"].iloc[0])
