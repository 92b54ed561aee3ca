"""The first picture: every network a dot, the means, and names that do not cover each other."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.figures.figure_data import FigureData
from analysis.figures.labels import LINE
from analysis.figures.lead import lead
from analysis.tables.table import from_rows
from tests.analysis.synthetic import curve_rows, line

SIZES = (16, 64, 256)


def figure_data(**planted: object) -> FigureData:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.3, -0.02), **planted)
    rows += curve_rows(regime="lr_bs", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.35, 0))
    return FigureData(from_rows(rows))


def test_it_shows_every_network_under_the_stronger_attack_on_both_losses() -> None:
    shown = lead(figure_data())
    assert shown is not None
    accuracy, curvature = shown.figures
    assert "PGD" in accuracy.title
    dots = accuracy.data["dots"]
    assert len(dots) == 2 * len(SIZES) * 3 * 2
    assert {dot["of"] for dot in dots if dot["hollow"]} == {"published loss"}
    assert {dot["of"] for dot in dots if not dot["hollow"]} == {"stable loss"}
    assert len(curvature.data["dots"]) == 2 * len(SIZES) * 3
    assert {regime for regime, _ in shown.regimes} == {"lr", "lr_bs"}


def test_the_lines_join_the_means_of_the_dots() -> None:
    shown = lead(figure_data(log2_lambda1=line(2.0, 0.5)))
    assert shown is not None
    for figure in shown.figures:
        logarithmic = figure.name == "lead-lambda1"
        for mean in figure.data["lines"]:
            mine = [
                dot["value"]
                for dot in figure.data["dots"]
                if (dot["curve"], dot["batch"], dot["hollow"]) == (mean["curve"], mean["batch"], False)
            ]
            expected = np.exp(np.mean(np.log(mine))) if logarithmic else np.mean(mine)
            assert mean["value"] == pytest.approx(expected, rel=1e-4)


def test_networks_without_a_positive_eigenvalue_are_counted_in_words() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES)
    rows[0]["lambda1_train"] = -0.5
    shown = lead(FigureData(from_rows(rows)))
    assert shown is not None
    assert "1 network without a positive eigenvalue is not drawn." in shown.figures[1].caption
    assert len(shown.figures[1].data["dots"]) == len(rows) - 1
    assert {mean["batch"] for mean in shown.figures[1].data["lines"]} == {64, 256}  # as in every other figure


def test_a_network_on_two_curves_is_counted_once() -> None:
    rows = {row["trial_id"]: row for regime in ("lr", "lr_bs") for row in curve_rows(regime=regime, batch_sizes=SIZES)}
    next(row for row in rows.values() if row["batch_size"] == 64)["lambda1_train"] = -0.5
    shown = lead(FigureData(from_rows(list(rows.values()))))
    assert shown is not None
    assert "1 network without a positive eigenvalue is not drawn." in shown.figures[1].caption


def test_an_attack_on_two_cells_does_not_take_the_picture() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.3, 0))
    for row in rows[:4]:
        row["attacks"] += [a | {"attack": "apgd_ce", "accuracy": 0.1} for a in row["attacks"] if a["attack"] == "pgd"]
    shown = lead(FigureData(from_rows(rows)))
    assert shown is not None
    assert "(PGD" in shown.figures[0].title


def test_without_an_attack_there_is_no_picture() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, diverged=SIZES)
    assert lead(FigureData(from_rows(rows))) is None


@pytest.mark.parametrize("spread", [0.0, 0.001, 0.05])
def test_the_names_of_curves_that_end_close_together_are_apart(spread: float) -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.3, 0), fgsm=line(0.5, 0), noise=0.0)
    rows += curve_rows(regime="lr_bs", batch_sizes=SIZES, pgd=line(0.3 + spread, 0), fgsm=line(0.5, 0), noise=0.0)
    shown = lead(FigureData(from_rows(rows)))
    assert shown is not None
    figure = shown.figures[0]
    low, high = figure.template["layer"][0]["encoding"]["y"]["scale"]["domain"]
    one, other = ((label["value"] - low) / (high - low) for label in figure.data["labels"])
    assert abs(other - one) >= LINE - 1e-3
    assert {label["text"] for label in figure.data["labels"]} == {"LR", "LR/BS"}
