"""Spectra and landscapes show the stored numbers with their signs, name their seed, and draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.figures.figure import DATA
from analysis.figures.landscapes import SURFACES
from analysis.figures.large_batch import LANDSCAPES
from analysis.tables.table import StudyTable, from_rows, load
from search_spaces import Request, plan
from study.results.folder import Results
from tests.analysis.figures.drawn import draws
from tests.analysis.large_batch import robust, to_the_loss, with_landscapes
from tests.stored import results_in


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyTable:
    rows = to_the_loss(seeds=(1, 2), batch_sizes=(64, 256), unreached=(256,)) + robust(seeds=(0,), methods=("fgsm",))
    rows[0]["spectra"][0] |= {"converged_each": [True] * 19 + [False], "residuals": [1e-5] * 19 + [0.3]}
    rows, arrays = with_landscapes(rows, points=11)
    return load(results_in(tmp_path_factory.mktemp("figures") / "results", rows, arrays=arrays).location)


def test_the_papers_figures_are_thirteen_and_have_commands_that_plan_something() -> None:
    assert list(LANDSCAPES) == [f"C-{n}" for n in range(1, 14)]
    for panel in LANDSCAPES.values():
        for network in panel.networks:
            words = dict(word.split("=") for word in panel.command(network).split() if "=" in word)
            assert plan(Request("large_batch", {key: tuple(value.split(",")) for key, value in words.items()}))


def test_a_panel_without_rows_or_without_arrays_draws_nothing() -> None:
    assert not any(panel(from_rows([])) for panel in LANDSCAPES.values())
    rows, _ = with_landscapes(to_the_loss(seeds=(0,)))
    assert LANDSCAPES["C-6"](from_rows(rows)) == []


def test_figure_1_has_a_line_a_batch_size_of_the_smallest_seed(study: StudyTable) -> None:
    (figure,) = LANDSCAPES["C-1"](study)
    seed = study.trials.query("seed == 1 and batch_size == 64 and adversarial_training == 'none'").iloc[0]
    shown = [r["value"] for r in figure.data[DATA] if r["curve"] == "batch 64"]
    assert shown[0] == pytest.approx(seed["lambda1_train"], rel=1e-5)
    assert len(shown) == 20
    assert shown == sorted(shown, reverse=True)
    assert "Seed 1 of each network" in figure.caption
    assert '"type": "log"' in str(figure.spec()).replace("'", '"')
    draws(figure)


def test_an_eigenvalue_that_did_not_converge_is_hollow_and_counted(study: StudyTable) -> None:
    (figure,) = LANDSCAPES["C-1"](study)
    assert [r["index"] for r in figure.data[DATA] if not r["converged"]] == [20]
    assert "1 not converged (hollow)" in figure.caption
    assert "Largest residual: 0.3, relative to the top eigenvalue" in figure.caption


def test_a_spectrum_that_is_not_finite_is_left_out() -> None:
    rows = to_the_loss(seeds=(1,), batch_sizes=(64, 256))
    rows[0]["spectra"] = [one | {"eigenvalues": [float("nan")] * 20} for one in rows[0]["spectra"]]
    (figure,) = LANDSCAPES["C-1"](from_rows(rows))
    assert {r["curve"] for r in figure.data[DATA]} == {"batch 256"}


def test_figure_11_keeps_the_sign_of_single_samples(study: StudyTable) -> None:
    single, second, subset, whole = LANDSCAPES["C-11"](study)
    assert [f.title.split(": ")[1] for f in (single, second, subset, whole)] == [
        "B_H = 1 (draw 1)", "B_H = 1 (draw 2)", "B_H = 320", "B_H = 60,000",
    ]  # fmt: skip
    assert min(r["value"] for r in single.data[DATA]) < 0
    assert "20 of 40 negative" in single.caption
    assert "symlog" in str(single.spec())
    assert {r["curve"] for r in whole.data[DATA]} == {"M_ORI", "M_FGSM"}
    draws(single)


def test_figure_6_draws_the_stored_losses_on_one_log_axis(study: StudyTable) -> None:
    figures = LANDSCAPES["C-6"](study)
    assert [f.title.split(": ")[1] for f in figures] == ["batch 64", "batch 256"]
    (trial,) = study.trials.query("seed == 1 and batch_size == 64")["trial_id"]
    stored = Results(study.location).read_arrays(trial)["line_train_60000_losses"]
    shown = [r["loss"] for r in figures[0].data[DATA] if r["curve"] == SURFACES["train"].label]
    assert shown == pytest.approx(list(stored), rel=1e-5)
    assert len({r["curve"] for r in figures[0].data[DATA]}) == 3
    domains = [f.spec()["layer"][0]["encoding"]["y"]["scale"]["domain"] for f in figures]
    assert domains[0] == domains[1]
    assert "Seed 1 of 2" in figures[0].caption
    assert "stopped above the target loss" in figures[1].caption
    draws(figures[0])


def test_figure_7_is_a_heat_map_of_each_surface_on_one_colour_scale(study: StudyTable) -> None:
    figures = LANDSCAPES["C-7"](study)
    assert [f.title.split(", ")[1] for f in figures] == ["training loss", "test loss"] * 2
    scales = {str(f.template["layer"][0]["encoding"]["color"]["scale"]) for f in figures}
    assert len(scales) == 1
    records = {(round(r["v1"], 2), round(r["v2"], 2)): r["loss"] for r in figures[0].data[DATA]}
    assert len(records) == 121
    corner = min(records)  # most negative along both: v1 curves more than v2
    assert records[corner[0], 0.0 - 0.1] > records[0.0 - 0.1, corner[1]]
    draws(figures[0])


def test_figure_10_goes_from_m_ori_to_the_robust_network(study: StudyTable) -> None:
    (figure,) = LANDSCAPES["C-10"](study)
    train = {r["offset"]: r["loss"] for r in figure.data[DATA] if r["curve"] == "training loss"}
    assert train[0.0] > train[1.0] == pytest.approx(0.001)
    assert "M_FGSM" in figure.title
    draws(figure)


def test_lines_that_are_not_positive_leave_a_gap_on_the_log_axis(tmp_path: Path) -> None:
    rows, arrays = with_landscapes(to_the_loss(seeds=(0,), batch_sizes=(64,)), points=11)
    (stored,) = arrays.values()
    stored["line_train_60000_losses"][[0, 3]] = [np.inf, 0.0]
    (figure,) = LANDSCAPES["C-6"](load(results_in(tmp_path / "results", rows, arrays=arrays).location))
    assert [r["loss"] is None for r in figure.data[DATA][:4]] == [True, False, False, True]
