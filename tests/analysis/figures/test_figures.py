"""Figures show the table's values, leave gaps where there is nothing to show, and draw."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.figures import FIGURES, Figure, FigureData, study_figures
from analysis.figures.batch_size import accuracy_figure, clean_figure, lambda1_figure
from analysis.figures.curve_sets import curve_sets, setups
from analysis.figures.figure import DATA, HEIGHT
from analysis.figures.figure_data import curve_id
from analysis.figures.forest import forest_figures
from analysis.figures.labels import END_LABELS, LINE
from analysis.figures.natural_training import REGIMES
from analysis.figures.plane import CONFIRMED, TEXTS, arrow_figure, scatter_figure
from analysis.findings import find
from analysis.output.latex import latex_tables
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import counterexample_section
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import StudyTable, from_rows
from analysis.theme import PAPER
from analysis.theme import REGIMES as THEME
from search_spaces.large_batch import LARGE_BATCH
from tests.analysis.figures.drawn import draws
from tests.analysis.synthetic import curve_rows, flat, line, planned, trial

SIZES = (16, 32, 64, 128, 256)


def regimes(**choices: Any) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for number, regime in enumerate(("lr", "lr_bs", "benchmark")):
        rng = np.random.default_rng(number)
        for row in curve_rows(regime=regime, batch_sizes=SIZES, rng=rng, **choices):
            rows.setdefault(row["trial_id"], row)
    return list(rows.values())


STABLE, PUBLISHED = "stable loss", "published loss"


def clean(table: StudyTable) -> Figure:
    data = FigureData(table)
    figure = clean_figure(data, data.setups[0], REGIMES)
    assert figure is not None
    return figure


def under_attack(table: StudyTable, **choices: Any) -> Figure:
    data = FigureData(table)
    asked: dict[str, Any] = {"attack": "fgsm", "epsilon": 0.3} | choices
    figure = accuracy_figure(data, data.setups[0], REGIMES, **asked)
    assert figure is not None
    return figure


def lambda1(table: StudyTable, split: str = "train") -> Figure:
    data = FigureData(table)
    figure = lambda1_figure(data, data.setups[0], REGIMES, splits=(split,))
    assert figure is not None
    return figure


def cells(figure: Figure, curve: str, kind: str) -> dict[int, dict[str, Any]]:
    records = figure.data[DATA]
    return {r["batch_size"]: dict(r) for r in records if r["curve"].startswith(curve) and r["kind"] == kind}


def domain(figure: Figure) -> list[float]:
    """The limits of the vertical axis."""
    (found,) = {
        str(layer["encoding"]["y"]["scale"]["domain"])
        for layer in figure.spec()["layer"]
        if "scale" in layer["encoding"]["y"]
    }
    limits: list[float] = json.loads(found)
    return limits


def test_a_cell_shows_the_mean_of_its_seeds_and_their_t_interval() -> None:
    table = from_rows(regimes(noise=0.02))
    seeds = table.attacks.query("regime == 'lr' and batch_size == 32 and attack == 'fgsm' and loss == 'ce'")[
        "accuracy"
    ].to_numpy(dtype=float)
    shown = cells(under_attack(table), "LR constant", PUBLISHED)[32]
    low, high = stats.t.interval(0.95, 2, loc=seeds.mean(), scale=stats.sem(seeds))
    assert [shown["mean"], shown["low"], shown["high"]] == pytest.approx([seeds.mean(), low, high], rel=1e-4)
    assert shown["seeds"] == 3
    assert shown["values"] == pytest.approx(list(seeds), rel=1e-3)


def test_lambda1_shows_the_geometric_mean_and_the_interval_of_the_logarithm() -> None:
    table = from_rows(regimes(lambda_noise=0.3))
    seeds = np.log(table.points.query("regime == 'benchmark' and batch_size == 128")["lambda1_test"].astype(float))
    low, high = stats.t.interval(0.95, 2, loc=seeds.mean(), scale=stats.sem(seeds))
    shown = cells(lambda1(table, "test"), "Benchmark", "eigenvalue")[128]
    expected = np.exp([seeds.mean(), low, high])
    assert [shown["mean"], shown["low"], shown["high"]] == pytest.approx(expected, rel=1e-4)


def test_the_run_at_batch_64_is_on_both_curves() -> None:
    figure = clean(from_rows(regimes()))
    lr, lr_bs = (cells(figure, curve, "clean")[64] for curve in ("LR constant", "LR/BS"))
    assert lr["mean"] == lr_bs["mean"]


def test_no_line_crosses_a_diverged_cell_and_a_lone_cell_keeps_its_interval() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, diverged=(128,)))
    shown = cells(under_attack(table), "LR constant", PUBLISHED)
    assert shown[128]["mean"] is None
    assert shown[128]["state"] == "diverged"
    assert shown[16]["segment"] == shown[64]["segment"] != shown[256]["segment"]
    assert shown[256]["low"] is not None
    assert "diverged" in under_attack(table).caption


def test_a_missing_cell_is_a_gap_too() -> None:
    rows = curve_rows(regime="lr", batch_sizes=(16, 64))
    grid = planned(rows, [trial(batch_size=size, seed=seed) for size in (16, 32, 64) for seed in (0, 1, 2)])
    shown = cells(clean(from_rows(rows, grid=grid)), "LR constant", "clean")
    assert (shown[32]["mean"], shown[32]["state"]) == (None, "missing")
    assert " Gaps: not run yet." in clean(from_rows(rows, grid=grid)).caption
    assert shown[16]["segment"] != shown[64]["segment"]


def test_a_cell_most_of_whose_seeds_diverged_is_not_the_mean_of_its_survivors() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES)
    lost = curve_rows(regime="lr", batch_sizes=(32,), diverged=(32,))[:2]
    rows = [r for r in rows if r["trial_id"] not in {x["trial_id"] for x in lost}] + lost
    assert cells(under_attack(from_rows(rows)), "LR constant", PUBLISHED)[32]["mean"] is None


def test_a_cell_is_pale_where_its_attack_is_at_the_floor() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, pgd=line(0.1, -0.03), noise=0.0))
    figure = under_attack(table, attack="pgd")
    pale = {b: c["doubtful"] for b, c in cells(figure, "LR constant", PUBLISHED).items()}
    assert pale == {16: False, 32: False, 64: False, 128: False, 256: True}
    assert not any(c["doubtful"] for c in cells(clean(table), "LR constant", "clean").values())
    assert "Pale" in figure.caption


def test_both_losses_are_on_one_axis_the_stable_one_solid_and_the_published_one_hollow() -> None:
    rows = regimes(noise=0.0)
    for row in rows:
        for attack in row["attacks"]:
            attack["accuracy"] += 0.1 * (attack["loss"] == "ce")
    figure = under_attack(from_rows(rows))
    stable, published = (cells(figure, "LR constant", kind)[32]["mean"] for kind in (STABLE, PUBLISHED))
    assert published - stable == pytest.approx(0.1)
    svg = draws(figure)
    assert 'stroke-dasharray="4,3"' in svg
    assert f'fill="{PAPER}" stroke="{THEME["lr"].colour}"' in svg
    assert f'fill="{THEME["lr"].colour}" stroke="{THEME["lr"].colour}"' in svg


def test_all_attacks_of_one_strength_have_the_same_axis_which_shows_every_seed() -> None:
    table = from_rows(regimes(noise=0.02))
    spans = [domain(under_attack(table, attack=attack)) for attack in ("fgsm", "pgd")]
    assert spans[0] == spans[1]
    seeds = table.attacks["accuracy"].astype(float)
    assert spans[0][0] < seeds.min() < seeds.max() < spans[0][1] < 0.9


def test_a_wide_interval_does_not_flatten_the_curves() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, lambda_noise=0.0, seeds=(0, 1))
    rows[0]["lambda1_train"] = 2.0 * rows[1]["lambda1_train"]  # two seeds: the interval spans decades
    shown = cells(lambda1(from_rows(rows)), "LR constant", "eigenvalue")[16]
    low, high = domain(lambda1(from_rows(rows)))
    assert shown["high"] / shown["low"] > 1000
    assert high / low < 10


def test_one_seed_has_no_interval_and_the_caption_says_so() -> None:
    figure = clean(from_rows(curve_rows(regime="lr", batch_sizes=SIZES, seeds=(0,))))
    assert all(c["low"] is None for c in cells(figure, "LR constant", "clean").values())
    assert "One seed, so no interval" in figure.caption


def test_eigenvalues_at_or_below_zero_are_counted_and_the_other_seeds_keep_their_place() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES)
    rows[3]["lambda1_train"], rows[4]["lambda1_train"] = -2.0, 0.0
    table = from_rows(rows)
    shown = cells(lambda1(table), "LR constant", "eigenvalue")
    assert shown[32]["mean"] is None
    assert shown[32]["values"] == pytest.approx([rows[5]["lambda1_train"]], rel=1e-3)
    assert shown[16]["mean"] is not None
    assert "λ₁ ≤ 0 on the training set in 2 of 15 networks (LR at batch 32)" in lambda1(table).caption
    data = FigureData(table)
    plane = scatter_figure(data, data.setups[0], attack="fgsm", loss="ce", epsilon=0.3, curvature="lambda1_train")
    assert plane is not None
    assert {r["batch_size"] for r in plane.data[DATA]} == set(SIZES) - {32}
    assert "Settings left out: 1 with λ₁ ≤ 0." in plane.caption


def test_curves_are_named_at_their_ends_without_overlap() -> None:
    table = from_rows(regimes(log2_lambda1=lambda d: {0: 4.0, 4: 2.0}.get(int(d), 0.0), lambda_noise=0.0))
    figure = lambda1(table)
    labels = sorted(figure.data[END_LABELS], key=lambda label: label["at"])
    assert {label["label"] for label in labels} == {"LR", "LR/BS", "Benchmark"}
    low, high = np.log(domain(figure))
    heights = HEIGHT * (np.log([label["at"] for label in labels]) - low) / (high - low)
    assert np.diff(heights).min() == pytest.approx(HEIGHT * LINE, rel=1e-3)
    assert heights.mean() == pytest.approx(HEIGHT * (np.log(4.0) - low) / (high - low), abs=1.0)
    assert ">LR/BS<" in draws(figure)


def test_large_and_small_ticks_are_powers_of_ten() -> None:
    figure = lambda1(from_rows(regimes(log2_lambda1=line(30.0, -15.0))))
    texts = re.findall(r">([^<]+)</text>", draws(figure))
    assert "10⁸" in texts
    assert "10⁻⁸" in texts
    assert not any("e+" in text or "0000" in text for text in texts)


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
    assert [figure.title.split(": ")[1] for figure in groups[0].figures] == [
        "Clean accuracy", "accuracy under FGSM at ε = 0.3", "accuracy under PGD at ε = 0.3",
        "accuracy under all attacks at ε = 0.3", "λ₁ on the training set and the test set",
    ]  # fmt: skip


def test_every_attack_has_a_figure_at_each_epsilon_that_it_was_asked_at() -> None:
    rows = regimes()
    for row in rows:
        row["attacks"] += [a | {"epsilon": 0.1} for a in row["attacks"] if a["attack"] == "pgd"]
    group = study_figures(FigureData(from_rows(rows)))[0]
    assert [(figure.attack, figure.epsilon) for figure in group.figures if figure.attack] == [
        ("pgd", 0.1), ("worst", 0.1), ("fgsm", 0.3), ("pgd", 0.3), ("worst", 0.3),
    ]  # fmt: skip
    assert group.epsilon == 0.3


def test_the_papers_panels_are_44_and_numbered_once() -> None:
    numbers = [panel.number for panel in FIGURES.values() if panel.source == "A"]
    assert sorted(numbers) == sorted(f"{n}{side}" for n in range(1, 23) for side in "LR")


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
    """One regime of three, without the largest batch sizes."""
    (figure,) = FIGURES["A-1R"](FigureData(from_rows(curve_rows(regime="lr", batch_sizes=SIZES))))
    sizes = ", ".join(str(size) for size in (16, 32, 64, 128, 256, 512, 1024) if size not in SIZES)
    assert figure.missing == f"Not run: LR/BS constant, momentum 0; Benchmark, momentum 0.9; batch sizes {sizes}."
    assert [style.label for style in figure.legend] == [
        "LR constant, momentum 0",
        "LR/BS constant, momentum 0",
    ]  # one cell is on both


def test_a_panel_is_drawn_at_the_epsilon_that_was_asked_and_says_the_papers() -> None:
    rows = regimes()
    for row in rows:
        row["attacks"] = [attack | {"epsilon": 0.1} for attack in row["attacks"]]
    (figure,) = FIGURES["A-15L"](FigureData(from_rows(rows)))
    assert figure.title.endswith("accuracy under PGD at ε = 0.1 (the paper's is 0.3)")
    assert {record["kind"] for record in figure.data[DATA]} == {"clean", PUBLISHED}
    assert "Filled marks, solid lines: clean. Hollow marks, dashed lines: published loss." in figure.caption
    assert figure.missing.startswith("Not measured: PGD at ε = 0.3 (these networks were attacked at ε = 0.1).")


def test_a_panel_whose_attack_was_not_measured_is_not_drawn() -> None:
    rows = regimes()
    for row in rows:
        row["attacks"] = [attack for attack in row["attacks"] if attack["attack"] != "pgd"]
    data = FigureData(from_rows(rows))
    assert [figure.name for figure in FIGURES["A-1L"](data)] == ["A-1L"]
    assert FIGURES["A-15L"](data) == []


def test_eigenvalues_of_both_splits_share_one_figure() -> None:
    data = FigureData(from_rows(regimes()))
    figure = lambda1_figure(data, data.setups[0], REGIMES)
    assert figure is not None
    assert {record["kind"] for record in figure.data[DATA]} == {"training set", "test set"}
    assert "Filled marks, solid lines: training set. Hollow marks, dashed lines: test set." in figure.caption
    draws(figure)


def test_regimes_are_compared_at_the_momenta_of_the_papers_first_figures() -> None:
    run = {("lr", 0.0), ("lr", 0.9), ("lr_bs", 0.0), ("lr_bs", 0.9), ("benchmark", 0.9)}
    first, *_ = curve_sets(run)
    assert [key for key, _ in first.curves] == [("lr", 0.0), ("lr_bs", 0.0), ("benchmark", 0.9)]


def test_a_panel_of_momenta_needs_more_than_one_of_them() -> None:
    assert FIGURES["A-7L"](FigureData(from_rows(regimes()))) == []
    two = from_rows(regimes() + curve_rows(regime="lr", batch_sizes=SIZES, momentum=0.9))
    (figure,) = FIGURES["A-7L"](FigureData(two))
    assert "Not run: momentum 0.2; momentum 0.5" in figure.missing


def test_where_caption_and_text_disagree_both_attacks_are_drawn() -> None:
    table = from_rows(
        curve_rows(regime="lr", dataset="fashion-mnist") + curve_rows(regime="benchmark", dataset="fashion-mnist")
    )
    panel = FIGURES["A-3L"]
    assert [figure.name for figure in panel(FigureData(table))] == ["A-3L-fgsm", "A-3L-pgd"]
    assert "this panel has both" in panel.note


def test_counterexamples_are_arrows_between_their_two_cells() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.3, 0.1), log2_lambda1=line(1.0, 1.0), noise=0.002)
    table = from_rows(rows)
    found = counterexample_report(table).found
    mine = found.query("curvature == 'lambda1_test' and attack == 'fgsm' and loss == 'ce' and label == 'confirmed'")
    data = FigureData(table)
    figure = arrow_figure(data, data.setups[0], mine)
    assert figure is not None
    worst = mine.sort_values("severity", ascending=False).iloc[0]
    start, end = figure.data["pairs"]
    for record in (start, end):
        assert (record["y0"], record["y1"]) == pytest.approx((worst["accuracy_i"], worst["accuracy_j"]), rel=1e-5)
    assert start["cell"] != end["cell"]
    assert f"{len(mine)} confirmed pairs; the strongest of each curve is drawn" in figure.caption
    svg = draws(figure)
    (head,) = re.findall(rf'translate\(([\d.]+),([\d.]+)\) rotate\(([-\d.]+)\)"[^>]*fill="{CONFIRMED}"', svg)
    shaft = re.search(rf'd="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"[^>]*stroke="{CONFIRMED}"', svg)
    assert shaft
    x0, y0, x1, y1 = map(float, shaft.groups())
    assert tuple(map(float, head[:2])) == pytest.approx((x1, y1), abs=0.01)
    assert float(head[2]) == pytest.approx(np.degrees(np.arctan2(y1 - y0, x1 - x0)), abs=0.1)


def test_pairs_that_are_not_confirmed_have_no_arrows() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, seeds=(0,), fgsm=line(0.3, 0.1), log2_lambda1=line(1.0, 1.0))
    found = counterexample_report(from_rows(rows)).found
    data = FigureData(from_rows(rows))
    assert set(found["label"]) == {"candidate"}
    assert arrow_figure(data, data.setups[0], found.query("attack == 'fgsm' and curvature == 'lambda1_test'")) is None


def plane(table: StudyTable, **choices: Any) -> Figure:
    data = FigureData(table)
    asked: dict[str, Any] = {"attack": "fgsm", "loss": "ce", "epsilon": 0.3, "curvature": "lambda1_test"} | choices
    figure = scatter_figure(data, data.setups[0], **asked)
    assert figure is not None
    return figure


def test_a_scatter_plot_joins_each_curve_and_its_axes_hold_every_network() -> None:
    table = from_rows(regimes(fgsm=line(0.5, -0.05), log2_lambda1=line(1.0, 0.8)))
    figure = plane(table)
    assert len(figure.data[DATA]) == 15
    encoding = figure.spec()["encoding"]
    for axis, field in (("x", "lambda1_seeds"), ("y", "accuracy_seeds")):
        low, high = encoding[axis]["scale"]["domain"]
        assert all(low < seed < high for record in figure.data[DATA] for seed in record[field])
    lines = re.findall(r'aria-roledescription="line mark" d="(M[^"]*)"', draws(figure))
    assert [line.count("L") for line in lines] == [4, 4, 4]


def test_a_scatter_plot_names_each_curve_and_the_batch_sizes_of_its_ends() -> None:
    planted = {"log2_lambda1": line(1.0, 0.8), "noise": 0.0, "lambda_noise": 0.0}
    rows = [
        row
        for m in (0.0, 0.9)
        for row in curve_rows(regime="lr_bs", momentum=m, fgsm=line(0.4 + m / 3, -0.05), **planted)
    ]
    figure = plane(from_rows(rows))
    written = [record["text"] for record in figure.data[TEXTS]]
    assert sorted(written) == sorted(["LR/BS, momentum 0", "LR/BS, momentum 0.9", *2 * ("16", "1,024")])
    assert "Open marks: momentum 0." in figure.caption


def test_texts_beside_marks_cover_neither_marks_nor_each_other() -> None:
    rows = curve_rows(regime="lr", batch_sizes=SIZES, noise=0.0, lambda_noise=0.0)  # batch 64 is on two curves
    figure = plane(from_rows(rows))
    assert "A mark is the mean of 3 networks" in figure.caption
    written = [record["text"] for record in figure.data[TEXTS]]
    assert 1 <= len(written) <= 5  # around the one place where all marks are
    assert len(set(written)) == len(written)


def test_the_forest_shows_the_tau_of_every_stratum_under_both_losses_in_their_order() -> None:
    table = from_rows(regimes(fgsm=line(0.5, -0.05), log2_lambda1=line(1.0, 0.8)))
    forest = correlation_report(table).forest
    (figure,) = forest_figures(forest, attack="fgsm", curvature="lambda1_test")
    strata = forest.query("scope == 'stratum' and attack == 'fgsm' and curvature == 'lambda1_test'")
    for loss, kind in (("ce", PUBLISHED), ("stable", STABLE)):
        shown = [r["tau"] for r in figure.data[DATA] if r["kind"] == kind]
        assert shown[:-1] == pytest.approx(sorted(strata[strata["loss"] == loss]["estimate"]))  # the last is their mean
    for text in ("LR, momentum 0", "less robust", "more robust"):
        assert f">{text}<" in draws(figure)


def test_there_is_a_forest_for_each_data_set_and_number_of_epochs_and_a_mean_of_three_curves_or_more() -> None:
    planted = {"fgsm": line(0.5, -0.05), "noise": 0.0}
    rows = regimes(log2_lambda1=line(1.0, 0.8), fgsm=line(0.5, -0.05))
    rows += curve_rows(batch_sizes=SIZES, log2_lambda1=line(4.0, -0.8), epochs=5, **planted)
    rows += curve_rows(batch_sizes=SIZES, log2_lambda1=line(4.0, -0.8), dataset="fashion-mnist", **planted)
    forests = [figure for figure in find(from_rows(rows)).forests if figure.attack == "fgsm"]
    assert [figure.title.partition(":")[0] for figure in forests] == [
        "MNIST · M1 (20-20)", "Fashion-MNIST · M1 (20-20)", "MNIST · M1 (20-20)",
    ]  # fmt: skip
    means = [[record for record in figure.data[DATA] if record["curve"] == "mean"] for figure in forests]
    assert [len(mine) for mine in means] == [2, 0, 0]
    assert ["100 epochs" in figure.caption for figure in forests] == [True, True, False]


def test_that_more_pairs_are_confirmed_than_the_figures_of_arrows_show_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = from_rows(curve_rows(batch_sizes=SIZES, fgsm=line(0.3, 0.05), log2_lambda1=line(2.0, 0.7)))
    for most, said in ((1, True), (2, False)):  # one for each loss of FGSM
        monkeypatch.setattr("analysis.findings.MOST_ARROW_FIGURES", most)
        figures = find(table).arrows
        assert len(figures) == most
        assert ("Further data sets" in figures[0].caption) == said


def test_figures_are_those_of_attacked_test_images() -> None:
    rows = curve_rows(batch_sizes=SIZES, fgsm=line(0.3, 0.05), log2_lambda1=line(2.0, 0.7))
    plain = find(from_rows(rows))
    for row in rows:
        row["attacks"] += [attack | {"split": "train"} for attack in row["attacks"]]
    found = find(from_rows(rows))
    for figures in ("forests", "arrows", "planes"):
        assert [f.name for f in getattr(found, figures)] == [f.name for f in getattr(plain, figures)]
    assert [len(figure.data[DATA]) for figure in found.forests] == [len(figure.data[DATA]) for figure in plain.forests]
    section = counterexample_section(found, Charts())
    assert section.context["shown"]["pairs"] == counterexample_section(plain, Charts()).context["shown"]["pairs"]
    assert "on test and on training images" in section.body
    assert latex_tables(found)["counterexamples.tex"].count("FGSM") == latex_tables(plain)["counterexamples.tex"].count(
        "FGSM"
    )


def test_flat_noise_free_curves_draw_without_a_value_to_spread() -> None:
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, noise=0.0, lambda_noise=0.0, log2_lambda1=flat(0.0)))
    assert "<path" in draws(lambda1(table))


def test_networks_of_one_adversarial_training_at_two_strengths_are_on_two_curves() -> None:
    (cell, *_) = (cell for cell in LARGE_BATCH.cells if cell.adversarial_training == "fgsm")
    curve = {**cell.to_dict(), "regime": "adversarial"}
    assert curve_id(curve) == curve_id({**curve, "batch_size": 1, "target_loss": float("nan")})
    assert curve_id(curve) != curve_id({**curve, "adversarial_epsilon": 2 * cell.adversarial_epsilon})
