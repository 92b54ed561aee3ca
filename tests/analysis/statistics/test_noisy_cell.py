"""A noisy cell among quiet ones: its own seeds decide, adjusted over curves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.multiplicity import allow_for_a_noisy_cell
from analysis.tables.cells import cells
from analysis.tables.pairs import pair_up
from analysis.tables.table import from_rows
from tests.analysis import synthetic as s

CURVES = np.repeat(np.arange(4), 3)


def test_one_curve_of_four_pays_for_all_and_for_both_directions() -> None:
    p = np.full(12, 0.5)
    p[4] = 0.003
    found = p < 0.05
    assert allow_for_a_noisy_cell(p, found, CURVES, 0.05)[4] == pytest.approx(0.003 * 4 * 2 / 0.8)


def test_curves_that_are_found_together_pay_less() -> None:
    """Benjamini-Hochberg over curves: two of four at their level pay for half as many."""
    p = np.full(12, 0.5)
    p[[1, 4, 5]] = 0.008, 0.006, 0.004
    adjusted = allow_for_a_noisy_cell(p, p < 0.05, CURVES, 0.05)
    assert adjusted[[1, 4, 5]] == pytest.approx(np.array([0.008, 0.006, 0.004]) * 2 * 2 / 0.8)
    alone = allow_for_a_noisy_cell(p, np.arange(12) == 1, CURVES, 0.05)
    assert alone[1] == pytest.approx(0.008 * 4 * 2 / 0.8)


def test_nothing_found_and_nothing_to_test() -> None:
    p = np.full(12, 1e-9)
    assert allow_for_a_noisy_cell(p, np.zeros(12, dtype=bool), CURVES, 0.05) == pytest.approx(p * 4 * 2 / 0.8)
    assert allow_for_a_noisy_cell(np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=int), 0.05).size == 0


def test_each_cell_by_itself_is_students_t_against_the_mean_of_the_other() -> None:
    """The larger p of the two cells, in the direction of the gap."""
    table = from_rows(s.curve_rows(batch_sizes=(16, 512), fgsm=s.line(0.3, 0.03), noise=0.02))
    summary = cells(table)
    for _, pair in pair_up(summary, "lambda1_test").iterrows():
        i, j = (summary.iloc[int(pair[side])] for side in ("i", "j"))
        for name, ours in (("logit_seeds", "p_accuracy_alone"), ("log2_lambda1_test_seeds", "p_lambda1_alone")):
            one, other = i[name], j[name]
            way = "greater" if other.mean() > one.mean() else "less"
            back = "less" if way == "greater" else "greater"
            expected = max(
                stats.ttest_1samp(other, one.mean(), alternative=way).pvalue,
                stats.ttest_1samp(one, other.mean(), alternative=back).pvalue,
            )
            assert pair[ours] == pytest.approx(expected)
