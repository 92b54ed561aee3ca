"""Measures of sharpness, tracked curvature and spectral densities in the report, on planted rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.figures.sharpness import density_figures, edges_of_stability, position, smoothed, tracks
from analysis.findings import find
from analysis.output.page.document import render
from analysis.output.page.sharpness import said
from analysis.tables.measures import SHARPNESS, sharpness
from analysis.tables.table import StudyTable, from_rows, load
from search_spaces import Trial
from study.results.schema import Row
from tests.analysis.synthetic import row
from tests.stored import results_in

TRIAL = Trial(
    dataset="mnist", model="m1_8", learning_rate=0.1, batch_size=32, epochs=8, momentum=0.9,
    train_size=5000, val_size=100, test_size=1000,
)  # fmt: skip


def entry(measure: str, value: float | None, size: int = 1000, **fields: object) -> Row:
    empty = dict.fromkeys(("standard_error", "nodes", "weights"))
    known = {"measure": measure, "split": "train", "subset_size": size, "radius": 0.0, "value": value, "seconds": 1.0}
    return empty | known | fields


def epoch(number: int, lr: float, lambda1: float | None, own: float | None = None) -> Row:
    images = None if lambda1 is None else 500
    line = {"epoch": number, "lr": lr, "train_loss": 0.1, "val_acc": 0.9, "lambda1": lambda1}
    return line | {"lambda1_images": images, "batch_sharpness": own, "track_seconds": None if lambda1 is None else 0.5}


def rows() -> list[Row]:
    """Two batch sizes with two seeds; the rate halves after epoch 4; rate times lambda1 ends at 3.6 and 0.4."""
    found = []
    for batch_size, end in ((32, 72.0), (128, 8.0)):
        for seed in (0, 1):
            one = row(
                replace(TRIAL, batch_size=batch_size, seed=seed), clean=0.98, attacks={("fgsm", "ce"): 0.4},
                log2_lambda1=3.0,
            )  # fmt: skip
            history = [
                epoch(1, 0.1, 2.0, 4.0),
                epoch(2, 0.1, None),
                epoch(4, 0.1, 9.0, 18.0),
                epoch(8, 0.05, end, 40.0),
            ]
            masses = {"nodes": [-0.5, 0.0, 0.1, 8.0], "weights": [0.1, 0.6, 0.299, 0.001]}
            measured = [
                entry("density", None, **masses),
                entry("trace", 12.0, standard_error=0.1),
                entry("trace", 5.0, 50),
            ]
            found.append(one | {"history": history, "sharpness": measured, "train_confidence": 0.97})
    return found


@pytest.fixture(scope="module")
def table() -> StudyTable:
    return from_rows(rows())


def test_every_measure_is_one_number_a_network(table: StudyTable) -> None:
    found = sharpness(table)
    assert list(found.columns) == list(SHARPNESS) and list(found.index) == list(table.trials["trial_id"])
    assert (found["trace"] == 12.0).all()  # that on most images
    assert (found["lambda1_norm"] == 8.0 * 10.0**2).all()
    np.testing.assert_allclose(found["doubt"], 0.03)
    assert found["adaptive_sharpness"].isna().all()


def test_only_tracked_epochs_are_in_the_table_of_a_folder(table: StudyTable, tmp_path: Path) -> None:
    results_in(tmp_path, rows())
    for of in (table, load(tmp_path)):
        assert sorted(set(of.tracked["epoch"])) == [1, 4, 8] and len(of.tracked) == 12


def test_a_track_is_the_rate_of_the_epoch_times_its_curvature(table: StudyTable) -> None:
    (track,) = tracks(table)
    eigenvalue, own = track.figures
    ends = {(r["curve"], r["epoch"]): r["value"] for r in eigenvalue.data["cells"]}
    assert ends["batch 32", 8] == pytest.approx(0.05 * 72) and ends["batch 128", 1] == pytest.approx(0.1 * 2)
    assert {r["value"] for r in own.data["cells"] if r["epoch"] == 4} == {1.8}
    assert sorted(track.ends) == pytest.approx([0.4, 0.4, 3.6, 3.6])
    assert edges_of_stability(0.0) == [2.0] and edges_of_stability(0.9) == [2.0, 3.8] and track.edge == 3.8
    drawn = json.dumps(eigenvalue.template)
    assert '"datum": 2.0' in drawn and '"datum": 3.8' in drawn


def test_the_sentence_counts_the_networks_near_the_edge(table: StudyTable) -> None:
    (track,) = tracks(table)
    assert (
        "is 2 in the median (0.4 to 3.6) of 4 networks, and the largest while they trained 2.2 in the median (0.9"
        in said(track)
    )
    assert "2 of 4 came within a fifth of the edge of stability, 3.8, or beyond it." in said(track)
    assert "None of 4 came" in said(replace(track, peaks=track.peaks / 2))
    assert said(replace(track, ends=np.full(4, np.nan))) == "No eigenvalue is finite."


def test_a_density_is_drawn_with_all_its_mass() -> None:
    nodes, weights = np.array([-2.0, 0.0, 0.01, 30.0]), np.array([0.1, 0.5, 0.3, 0.1])
    grid = np.linspace(-12, 14, 4001)
    density = smoothed(nodes, weights, grid, 0.03)
    assert np.trapezoid(density, grid) == pytest.approx(1.0, rel=1e-6)
    right = grid > position(np.array([5.0]), 0.03)
    assert np.trapezoid(density[right], grid[right]) == pytest.approx(0.1, rel=1e-3)


def test_densities_are_drawn_a_line_for_each_batch_size(table: StudyTable) -> None:
    (figure,) = density_figures(table)
    values = [record["value"] for record in figure.data["cells"] if record["curve"] == "batch 32"]
    assert min(values) < -0.5 and max(values) > 8.0
    assert [style.label for style in figure.legend] == ["batch 32", "batch 128"]
    assert "506,050 eigenvalues" in figure.caption and "1,000 training images" in figure.caption


def test_charts_follow_the_schema_of_vega_lite(table: StudyTable) -> None:
    for figure in (*tracks(table)[0].figures, *density_figures(table)):
        assert figure.chart.to_dict()["title"]["text"] == figure.title.replace("λ₁", "λ1")


def test_the_page_has_the_section_only_where_something_was_measured(table: StudyTable) -> None:
    assert 'id="sharpness"' in render(find(table), [])
    plain = from_rows([one | {"history": [], "sharpness": None} for one in rows()])
    assert 'id="sharpness"' not in render(find(plain), [])


def test_a_regime_with_a_slash_has_figures_with_file_names() -> None:
    table = from_rows([one | {"regimes": ["lr/bs"]} for one in rows()])
    figures = [figure for track in tracks(table) for figure in track.figures] + density_figures(table)
    assert figures
    assert all("lr-bs" in figure.name and "/" not in figure.name for figure in figures)
