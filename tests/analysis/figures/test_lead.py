"""The first picture: the regimes under the strongest attack that most networks met, and their curvature."""

from __future__ import annotations

from typing import Any

from analysis.figures import FigureData, Lead, lead, study_figures
from analysis.tables.table import from_rows
from tests.analysis.synthetic import curve_rows, line

SIZES = (16, 64, 256)


def shown(rows: list[dict[str, Any]]) -> Lead | None:
    data = FigureData(from_rows(rows))
    return lead(data, study_figures(data))


def test_it_shows_the_regimes_of_the_largest_setting_under_the_stronger_attack() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.3, -0.02))
    rows += curve_rows(regime="lr_bs", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.35, 0))
    rows += curve_rows(regime="lr", batch_sizes=SIZES, epochs=2, pgd=line(0.1, 0))
    found = shown(rows)
    assert found is not None
    assert [figure.title.split(": ")[1] for figure in found.figures] == [
        "accuracy under PGD at ε = 0.3", "λ₁ on the training set",
    ]  # fmt: skip
    assert {regime for (regime, _), _ in found.curves.curves} == {"lr", "lr_bs"}
    assert found.settings == 2


def test_an_attack_on_two_cells_does_not_take_the_picture() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.3, 0))
    for row in rows[:4]:
        row["attacks"] += [a | {"attack": "apgd_ce", "accuracy": 0.1} for a in row["attacks"] if a["attack"] == "pgd"]
    found = shown(rows)
    assert found is not None
    assert found.figures[0].attack == "pgd"


def test_without_an_attack_there_is_no_picture() -> None:
    assert shown(curve_rows(regime="lr", batch_sizes=SIZES, diverged=SIZES)) is None
