"""The figures of Choudhary (2020): values, gaps and drawing."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from scipy import stats

from analysis.figures import FIGURES, Figure, FigureData
from analysis.figures.figure import DATA
from analysis.figures.sgd_variants import PANELS
from analysis.tables.table import from_rows
from analysis.theme import OPTIMIZERS
from search_spaces import Request, plan
from tests.analysis.figures.drawn import draws
from tests.analysis.variants import Level, Setting, level, rows

SGD, SVRG = Setting("lr"), Setting("lr", optimizer="svrg")
SIZES = (32, 64, 128, 256, 512, 1024)


def drawn(panel: str, levels: dict[Setting, Level], **choices: Any) -> dict[str, Figure]:
    figures = FIGURES[panel](FigureData(from_rows(rows("mnist", levels, **choices))))
    return {figure.name.removeprefix(f"{panel}-"): figure for figure in figures}


def cells(figure: Figure, curve: str) -> dict[int, dict[str, Any]]:
    return {r["batch_size"]: dict(r) for r in figure.data[DATA] if r["curve"] == curve}


def test_the_papers_five_figures_are_there() -> None:
    assert [panel.id for panel in PANELS] == ["B-1", "B-1b", "B-2", "B-3", "B-4", "B-5"]
    assert all(FIGURES[panel.id] is panel for panel in PANELS)
    assert {(panel.source, panel.dataset, panel.model) for panel in PANELS} == {("B", "mnist", "m1")}


def test_the_commands_of_a_panel_plan_its_curves_and_no_others() -> None:
    for panel in PANELS:
        planned = set()
        for command in panel.commands("here"):
            words = shlex.split(command)
            chosen = dict(word.split("=") for word in words[words.index("--select") + 1 :])
            grid = plan(Request(words[words.index("--grid") + 1], {k: tuple(v.split(",")) for k, v in chosen.items()}))
            for p in grid.values():
                for regime in set(p.regimes) & set(chosen["regime"].split(",")):
                    values = p.trial.to_dict() | {"regime": regime}
                    planned.add((tuple(values[column] for column in panel.curves.columns), p.trial.batch_size))
        assert {(curve, size) for curve, _ in panel.curves.curves for size in SIZES} == planned


def test_a_panel_has_clean_accuracy_lambda1_and_both_ratios_at_each_epsilon() -> None:
    names = ["clean", "fgsm-eps0.03", "pgd-eps0.03", "lambda1", "fgsm-eps0.15", "pgd-eps0.15"]
    assert list(drawn("B-1", {SGD: level(), SVRG: level()})) == names
    assert list(drawn("B-3", {SGD: level(), Setting("lr", 0.5): level()})) == names[:4]


def test_an_attack_ratio_is_the_mean_over_seeds_of_adversarial_over_clean_accuracy() -> None:
    made = rows("mnist", {SGD: level(0.8, 0.4), SVRG: level()}, noise=0.02)
    mine = [r for r in made if r["optimizer"] == "sgd" and r["batch_size"] == 64]
    attack = {"attack": "fgsm", "loss": "ce", "epsilon": 0.15}
    ratios = [next(a["accuracy"] for a in r["attacks"] if attack.items() <= a.items()) / r["test_acc"] for r in mine]
    low, high = stats.t.interval(0.95, 2, loc=sum(ratios) / 3, scale=stats.sem(ratios))
    figures = FIGURES["B-1"](FigureData(from_rows(made)))
    shown = cells(next(f for f in figures if f.name == "B-1-fgsm-eps0.15"), "SGD")[64]
    assert [shown["mean"], shown["low"], shown["high"]] == pytest.approx([sum(ratios) / 3, low, high], rel=1e-4)


def test_curves_of_other_optimizers_stay_apart_and_a_diverged_cell_is_a_gap() -> None:
    figures = drawn("B-1", {SGD: level(0.9), SVRG: level(0.7)}, diverged=((SVRG, 128),))
    sgd, svrg = cells(figures["clean"], "SGD"), cells(figures["clean"], "SVRG")
    assert sgd[64]["mean"] == pytest.approx(0.9, abs=0.01)
    assert svrg[64]["mean"] == pytest.approx(0.7, abs=0.01)
    assert (svrg[128]["mean"], svrg[128]["state"]) == (None, "diverged")
    assert len({cell["segment"] for cell in sgd.values()}) == 1
    assert svrg[64]["segment"] != svrg[256]["segment"]
    assert "diverged" in figures["clean"].caption
    assert "Not run: noisy SGD; selective backprop; Adam; AdamW." in figures["clean"].missing


def test_one_curve_alone_is_no_panel() -> None:
    assert drawn("B-1", {SGD: level()}) == {}
    assert FIGURES["B-1"](FigureData(from_rows([]))) == []


def test_every_template_draws_on_a_logarithmic_batch_axis() -> None:
    for slug, figure in drawn("B-1", {SGD: level(), SVRG: level()}).items():
        if slug not in ("pgd-eps0.15", "lambda1"):
            continue
        x = figure.spec()["encoding"]["x"]
        assert (x["scale"]["type"], x["scale"]["base"], x["axis"]["values"]) == ("log", 2, list(SIZES))
        assert OPTIMIZERS["svrg"].colour.lower() in draws(figure).lower()
