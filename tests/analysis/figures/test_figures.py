"""Figures show the table's values, leave gaps where there is nothing to show, and draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import vl_convert
from scipy import stats

from analysis.figures import FIGURES, Figure, FigureData, study_figures
from analysis.figures.batch_size import accuracy_figure, lambda1_figure
from analysis.figures.curve_sets import setups
from analysis.figures.figure import DATA
from analysis.figures.figure_data import curve_id
from analysis.figures.forest import forest_figure
from analysis.figures.natural_training import REGIMES
from analysis.figures.plane import arrow_figure, scatter_figure
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import StudyTable, from_rows
from search_spaces.large_batch import LARGE_BATCH
from tests.analysis.synthetic import curve_rows, flat, line, planned, trial

SIZES = (16, 32, 64, 128, 256)


def regimes(**choices: Any) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for number, regime in enumerate(("lr", "lr_bs", "benchmark")):
        rng = np.random.default_rng(number)
        for row in curve_rows(regime=regime, batch_sizes=SIZES, rng=rng, **choices):
            rows.setdefault(row["trial_id"], row)
    return list(rows.values())


def acc(table: StudyTable, **choices: Any) -> Figure:
    data = FigureData(table)
    asked: dict[str, Any] = {"attack": "fgsm", "epsilon": 0.3, "loss": "ce"} | choices
    figure = accuracy_figure(data, data.setups[0], REGIMES, **asked)
    assert figure is not None
    return figure


def lam(table: StudyTable, split: str = "train") -> Figure:
    data = FigureData(table)
    figure = lambda1_figure(data, data.setups[0], REGIMES, split=split)
    assert figure is not None
    return figure


def cells(figure: Figure, curve: str, kind: str) -> dict[int, dict[str, Any]]:
    records = figure.data[DATA]
    return {r["batch_size"]: dict(r) for r in records if r["curve"].startswith(curve) and r["kind"] == kind}


def draws(figure: Figure) -> str:
    figure.chart.to_dict(validate=True)
    svg: str = vl_convert.vegalite_to_svg(figure.export_spec(), vl_version="6.4")
    return svg


def test_a_cell_shows_the_mean_of_its_seeds_and_their_t_interval() -> None:
    table = from_rows(regimes(noise=0.02))
    seeds = table.attacks.query("regime == 'lr' and batch_size == 32 and attack == 'fgsm' and loss == 'ce'")[
        "accuracy"
    ].to_numpy(dtype=float)
    shown = cells(acc(table), "LR constant", "adversarial")[32]
    low, high = stats.t.interval(0.95, 2, loc=seeds.mean(), scale=stats.sem(seeds))
    assert [shown["mean"], shown["low"], shown["high"]] == pytest.approx([seeds.mean(), low, high], rel=1e-4)
    assert shown["seeds"] == 3


def test_lambda1_shows_the_geometric_mean_and_the_interval_of_the_logarithm() -> None:
    table = from_rows(regimes(lambda_noise=0.3))
    seeds = np.log(table.points.query("regime == 'benchmark' and batch_size == 128")["lambda1_test"].astype(float))
    low, high = stats.t.interval(0.95, 2, loc=seeds.mean(), scale=stats.sem(seeds))
    shown = cells(lam(table, "test"), "Benchmark", "eigenvalue")[128]
    expected = np.exp([seeds.mean(), low, high])
    assert [shown["mean"], shown["low"], shown["high"]] == pytest.approx(expected, rel=1e-4)


def test_the_run_at_batch_64_is_on_both_curves() -> None:
    figure = acc(from_rows(regimes()))
    lr, lr_bs = (cells(figure, curve, "clean")[64] for curve in ("LR constant", "LR/BS"))
    assert lr["mean"] == lr_bs["mean"]


def test_no_line_crosses_a_diverged_cell_and_a_lone_cell_keeps_its_interval() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, diverged=(128,)))
    shown = cells(acc(table), "LR constant", "adversarial")
    assert shown[128]["mean"] is None
    assert shown[128]["state"] == "diverged"
    assert shown[16]["line"] == shown[64]["line"] != shown[256]["line"]
    assert shown[256]["alone"]
    assert "diverged" in acc(table).caption


def test_a_missing_cell_is_a_gap_too() -> None:
    rows = curve_rows(regime="lr", batch_sizes=(16, 64))
    grid = planned(rows, [trial(batch_size=size, seed=seed) for size in (16, 32, 64) for seed in (0, 1, 2)])
    shown = cells(acc(from_rows(rows, grid=grid)), "LR constant", "clean")
    assert (shown[32]["mean"], shown[32]["state"]) == (None, "missing")
    assert shown[16]["line"] != shown[64]["line"]


def test_a_cell_most_of_whose_seeds_diverged_is_not_the_mean_of_its_survivors() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES)
    lost = curve_rows(regime="lr", batch_sizes=(32,), diverged=(32,))[:2]
    rows = [r for r in rows if r["trial_id"] not in {x["trial_id"] for x in lost}] + lost
    assert cells(acc(from_rows(rows)), "LR constant", "adversarial")[32]["mean"] is None


def test_marks_are_hollow_only_where_the_attack_is_at_its_floor() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.1, -0.03), noise=0.0))
    hollow = {b: c["hollow"] for b, c in cells(acc(table, attack="pgd"), "LR constant", "adversarial").items()}
    assert hollow == {16: False, 32: False, 64: False, 128: False, 256: True}
    assert not any(c["hollow"] for c in cells(acc(table, attack="pgd"), "LR constant", "clean").values())
    assert "Hollow" in acc(table, attack="pgd").caption


def test_one_seed_has_no_interval_and_the_caption_says_so() -> None:
    figure = acc(from_rows(curve_rows(regime="lr", batch_sizes=SIZES, seeds=(0,))))
    assert all(c["low"] is None for c in cells(figure, "LR constant", "clean").values())
    assert "One seed, so no interval" in figure.caption


def test_an_eigenvalue_that_is_not_positive_has_no_place_on_a_log_axis() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES)
    rows[3]["lambda1_train"] = -2.0
    shown = cells(lam(from_rows(rows)), "LR constant", "eigenvalue")
    assert shown[32]["mean"] is None
    assert shown[16]["mean"] is not None


def test_both_templates_are_valid_vega_lite_and_draw_curves_in_the_papers_colours() -> None:
    table = from_rows(regimes())
    for figure in (acc(table), lam(table)):
        svg = draws(figure)
        for colour in ("#2E9BD6", "#6A1B9A", "#D62728"):
            assert colour.lower() in svg.lower()
    assert 'stroke-dasharray="5,3"' in draws(acc(table))


def test_the_batch_axis_is_logarithmic_and_labelled_with_the_batch_sizes() -> None:
    x = acc(from_rows(regimes())).spec()["layer"][0]["encoding"]["x"]
    assert x["scale"]["type"] == "log"
    assert x["scale"]["base"] == 2
    assert x["axis"]["values"] == list(SIZES)


def test_settings_of_different_sizes_never_share_a_panel() -> None:
    table = from_rows(regimes() + curve_rows(regime="lr", batch_sizes=SIZES, epochs=2))
    groups = study_figures(FigureData(table))
    assert [group.setup["epochs"] for group in groups] == [100, 2]


def test_what_departs_from_plain_sgd_is_said_in_words() -> None:
    def said(**values: Any) -> str:
        (setup,) = setups(from_rows([row | values for row in curve_rows(batch_sizes=(16,))]))
        return setup.protocol

    plain = said()
    assert said(optimizer="adam") == f"{plain}, Adam"
    assert said(augmentation="flip", adversarial_training="fgsm") == f"{plain}, random flips, FGSM training"
    assert said(augmentation="crop_flip", precision="bf16") == f"{plain}, random crops and flips, trained in bf16"
    assert said(augmentation="mixup", optimizer="lion") == f"{plain}, augmentation mixup, optimizer lion"


def test_momenta_become_a_group_of_their_own() -> None:
    table = from_rows(regimes() + curve_rows(regime="lr", batch_sizes=SIZES, momentum=0.9))
    groups = study_figures(FigureData(table))
    assert [group.curves.title for group in groups] == ["Regimes", "Momentum under LR constant"]
    assert len(groups[0].figures) == 6


def test_every_epsilon_is_in_the_chart_of_its_picker() -> None:
    rows = regimes()
    for row in rows:
        row["attacks"] += [a | {"epsilon": 0.1} for a in row["attacks"]]
    group = study_figures(FigureData(from_rows(rows)))[0]
    spec = group.figures[0].spec()
    assert group.epsilons == (0.1, 0.3)
    assert spec["params"] == [{"name": "epsilon", "value": 0.3}]
    assert {r.get("epsilon") for r in spec["datasets"][DATA]} == {None, 0.1, 0.3}


def test_the_papers_panels_are_83_and_numbered_once() -> None:
    numbers = {
        panel.source: {p.number for p in FIGURES.values() if p.source == panel.source} for panel in FIGURES.values()
    }
    assert sum(panel.source in ("A", "A-workshop") for panel in FIGURES.values()) == 83
    assert numbers["A-workshop"] == {str(n) for n in range(1, 40)}
    assert numbers["A"] == {f"{n}{side}" for n in range(1, 23) for side in "LR"}


def test_a_panel_is_drawn_when_its_curves_were_run_and_names_its_command_otherwise() -> None:
    data = FigureData(from_rows(regimes()))
    assert [figure.name for figure in FIGURES["A-1L"](data)] == ["A-1L"]
    assert FIGURES["A-4R"](data) == []
    assert FIGURES["A-4R"].commands("my results") == [
        "python -m study.run --grid natural_training --results 'my results' --select dataset=cifar10 model=c1 "
        "regime=lr,lr_bs momentum=0",
        "python -m study.run --grid natural_training --results 'my results' --select dataset=cifar10 model=c1 "
        "regime=benchmark momentum=0.9",
    ]


def test_what_a_panel_lacks_is_said() -> None:
    """One regime of three, without the largest batch sizes, of one model of two."""
    (figure,) = FIGURES["A-workshop-13"](FigureData(from_rows(curve_rows(regime="lr", batch_sizes=SIZES))))
    lacks = "StdCNN, LR/BS constant, m=0, Benchmark, m=0.9"
    assert figure.missing.startswith(lacks)
    sizes = [f"batch size {size}" for size in (16, 32, 64, 128, 256, 512, 1024) if size not in SIZES]
    assert figure.missing.removeprefix(lacks) == "".join(f", {size}" for size in sizes)


def test_a_panel_of_momenta_needs_more_than_one_of_them() -> None:
    assert FIGURES["A-7L"](FigureData(from_rows(regimes()))) == []
    two = from_rows(regimes() + curve_rows(regime="lr", batch_sizes=SIZES, momentum=0.9))
    (figure,) = FIGURES["A-7L"](FigureData(two))
    assert "Not run: momentum 0.2, momentum 0.5" in figure.caption


def test_where_caption_and_text_disagree_both_attacks_are_drawn() -> None:
    table = from_rows(
        curve_rows(regime="lr", dataset="fashion-mnist") + curve_rows(regime="benchmark", dataset="fashion-mnist")
    )
    panel = FIGURES["A-3L"]
    assert [figure.name for figure in panel(FigureData(table))] == ["A-3L-fgsm", "A-3L-pgd"]
    assert "both are drawn" in panel.note


def test_counterexamples_are_arrows_between_their_two_cells() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.3, 0.1), log2_lambda1=line(1.0, 1.0), noise=0.002)
    table = from_rows(rows)
    found = counterexample_report(table).found
    mine = found.query("curvature == 'lambda1_test' and attack == 'fgsm' and loss == 'ce' and label == 'confirmed'")
    data = FigureData(table)
    figure = arrow_figure(data, data.setups[0], mine)
    assert figure is not None
    worst = mine.sort_values("severity", ascending=False).iloc[0]
    start, end = figure.data["pairs"][:2]
    assert (start["accuracy"], end["accuracy"]) == pytest.approx((worst["accuracy_i"], worst["accuracy_j"]), rel=1e-5)
    assert "<path" in draws(figure)


def test_plane_and_forest_draw_what_the_reports_say() -> None:
    table = from_rows(regimes(fgsm=line(0.5, -0.05), log2_lambda1=line(1.0, 0.8)))
    data = FigureData(table)
    plane = scatter_figure(data, data.setups[0], attack="fgsm", loss="ce", epsilon=0.3, curvature="lambda1_test")
    forest = correlation_report(table).forest.query("cells == 'sound'")
    tree = forest_figure(forest, attack="fgsm", loss="ce", curvature="lambda1_test")
    assert plane is not None
    assert tree is not None
    assert len(plane.data[DATA]) == 15
    strata = forest.query("scope == 'stratum' and attack == 'fgsm' and loss == 'ce' and curvature == 'lambda1_test'")
    assert [r["tau"] for r in tree.data[DATA]][:3] == pytest.approx(list(strata["estimate"]))
    draws(plane)
    draws(tree)


def test_flat_noise_free_curves_draw_without_a_value_to_spread() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, noise=0.0, lambda_noise=0.0, log2_lambda1=flat(0.0)))
    assert "<path" in draws(lam(table))


def test_networks_of_one_adversarial_training_at_two_strengths_are_on_two_curves() -> None:
    (cell, *_) = (cell for cell in LARGE_BATCH.cells if cell.adversarial_training == "fgsm")
    curve = {**cell.to_dict(), "regime": "adversarial"}
    assert curve_id(curve) == curve_id({**curve, "batch_size": 1, "target_loss": float("nan")})
    assert curve_id(curve) != curve_id({**curve, "adversarial_epsilon": 2 * cell.adversarial_epsilon})
