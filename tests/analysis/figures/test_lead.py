"""The first picture: sharpness against accuracy under the strongest attack that most networks met, setup by setup."""

from __future__ import annotations

from typing import Any

from analysis.figures import FigureData, Lead, lead, study_figures
from analysis.tables.table import from_rows
from tests.analysis.synthetic import Curve, curve_rows, line

SIZES = (16, 64, 256)


def shown(rows: list[dict[str, Any]]) -> Lead | None:
    data = FigureData(from_rows(rows))
    return lead(data, study_figures(data))


def test_it_shows_the_largest_settings_under_the_stronger_attack_and_the_stable_loss() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.3, -0.02))
    rows += curve_rows(regime="lr_bs", batch_sizes=SIZES, fgsm=line(0.5, 0), pgd=line(0.35, 0))
    rows += curve_rows(regime="lr", batch_sizes=SIZES, epochs=2, pgd=line(0.1, 0))  # the same data set and model
    rows += curve_rows(regime="benchmark", batch_sizes=SIZES, dataset="fashion-mnist", pgd=line(0.1, 0))
    found = shown(rows)
    assert found is not None
    assert [figure.title.partition(":")[0] for figure in found.figures] == ["MNIST", "Fashion-MNIST"]
    assert all("under PGD at ε = 0.3, stable loss" in figure.caption for figure in found.figures)
    assert [style.label for style in found.regimes] == ["LR constant", "LR/BS constant", "Benchmark"]
    assert found.others == 1


def test_its_title_says_what_every_curve_shows_over_its_whole_range_or_nothing() -> None:
    def seen(*curves: Curve, sizes: tuple[int, ...] = (16, 32, 64, 128, 256)) -> list[str]:
        planted: dict[str, Any] = {"log2_lambda1": line(1.0, 0.8), "fgsm": line(0.9, 0), "noise": 0.0}
        rows = [
            row
            for regime, pgd in zip(("lr", "benchmark"), curves, strict=False)
            for row in curve_rows(regime=regime, momentum=0.9, pgd=pgd, batch_sizes=sizes, **planted)
        ]
        found = shown(rows)
        assert found is not None
        return [figure.title for figure in found.figures]

    falls, rises = line(0.4, -0.05), line(0.4, 0.05)
    assert seen(falls, falls) == ["MNIST: sharper, less robust"]
    assert seen(rises) == ["MNIST: sharper, more robust"]
    assert seen(falls, rises) == ["MNIST"]
    assert seen(falls, lambda d: 0.4 - 0.05 * min(d, 5 - d)) == ["MNIST"], "one curve turns back"
    assert seen(falls, sizes=SIZES) == ["MNIST"], "three cells are in order by chance in one study of three"


def test_its_titles_compare_the_regimes_that_all_data_sets_have() -> None:
    planted: dict[str, Any] = {"log2_lambda1": line(1.0, 0.8), "momentum": 0.9, "noise": 0.0}
    rows = curve_rows(regime="benchmark", pgd=line(0.5, -0.05), **planted)
    rows += curve_rows(regime="lr", pgd=line(0.2, 0.05), **planted)
    rows += curve_rows(regime="benchmark", dataset="fashion-mnist", pgd=line(0.1, 0.05), **planted)
    found = shown(rows)
    assert found is not None
    assert [figure.title for figure in found.figures] == [
        "MNIST, Benchmark: sharper, less robust",
        "Fashion-MNIST, Benchmark: sharper, more robust",
    ]


def test_an_attack_on_two_cells_does_not_take_the_picture() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.3, 0))
    for row in rows[:4]:
        row["attacks"] += [a | {"attack": "apgd_ce", "accuracy": 0.1} for a in row["attacks"] if a["attack"] == "pgd"]
    found = shown(rows)
    assert found is not None
    assert found.figures[0].attack == "pgd"


def test_without_an_eigenvalue_it_is_accuracy_along_the_batch_size() -> None:
    rows = [row | {"lambda1_train": None} for row in curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.3, 0))]
    found = shown(rows)
    assert found is not None
    assert [figure.title.split(": ")[1] for figure in found.figures] == ["accuracy under PGD at ε = 0.3"]


def test_without_an_attack_there_is_no_picture() -> None:
    assert shown(curve_rows(regime="lr", batch_sizes=SIZES, diverged=SIZES)) is None
