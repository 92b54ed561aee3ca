"""The analysis from Python, the code of its guide, and the tables next to the report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import analysis
from analysis.notebook import Study
from analysis.output.columns import DESCRIPTIONS
from analysis.output.downloads import aggregated, described, networks
from analysis.statistics.intervals import mean_interval
from analysis.tables.table import from_rows
from tests.analysis.large_batch import to_the_loss
from tests.analysis.output.browser import Browser
from tests.analysis.synthetic import curve_rows, line
from tests.stored import results_in

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "python_api.md"
TABLES = ("claims", "correlations", "counterexamples", "paper_versus_ours", "cells", "networks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curve of the natural-training paper with planted counterexamples, in a folder `results/smoke`.

    Beside it, more seeds of two of its cells in a folder `more_seeds`.
    """
    work = tmp_path_factory.mktemp("work")
    planted: dict[str, Any] = {"fgsm": line(0.3, 0.05), "log2_lambda1": line(2.0, 0.7)}
    for name, sizes, seeds in (("results/smoke", (16, 64, 256), (0, 1, 2)), ("results/more_seeds", (16, 64), (3, 4))):
        results_in(work / name, curve_rows(batch_sizes=sizes, seeds=seeds, **planted))
    return work / "results/smoke"


@pytest.fixture(scope="module")
def guided(folder: Path) -> dict[str, Any]:
    """The variables of the guide's code, run in the folder above the results."""
    _, results = GUIDE.read_text(encoding="utf-8").split("## The results of a study")
    blocks = re.findall(r"```python\n(.*?)```", results, flags=re.DOTALL)
    left: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parents[1])
        exec("\n".join(blocks), left)
    return left


def test_the_guide_runs_as_it_is_written(guided: dict[str, Any], folder: Path) -> None:
    assert repr(guided["study"]) == f"<Study of 9 networks in {folder}>"
    assert len(guided["networks"]) == 9
    assert len(guided["confirmed"]) > 0
    assert set(guided["taus"]["curvature"]) == {"lambda1_train", "lambda1_test"}
    assert "A-1L" in guided["titles"]
    assert guided["tex"].startswith("% Results: smoke; 9 networks")
    assert (folder.parents[1] / guided["page"]).is_file()
    assert len(guided["both"].networks) == 13 and guided["both"].conflicts.empty
    assert set(guided["found"].cells["batch_size"]) == {16, 64}
    pgd = guided["networks"].groupby("batch_size")["pgd_acc"].mean()
    assert len(guided["rows"]) == len(guided["frame"]) == 9
    assert guided["rows"].groupby("batch_size")["pgd_acc"].mean().to_numpy() == pytest.approx(pgd.to_numpy())
    assert guided["by_size"]["pgd"].to_numpy() == pytest.approx(pgd.to_numpy())
    assert set(guided["attacks"]["attacks.attack"]) == {"fgsm", "pgd"}
    assert (folder.parents[1] / "paper" / "figures" / "A-1L.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_is_a_chart_that_a_notebook_displays_as_a_picture_too(guided: dict[str, Any]) -> None:
    chart = guided["chart"]
    assert isinstance(chart, alt.TopLevelMixin)
    shown, about = chart._repr_mimebundle_()  # type: ignore[misc]
    assert shown["image/png"].startswith(b"\x89PNG")
    assert 200 < about["image/png"]["width"] < 800
    assert "vegaEmbed" in shown["text/html"]
    with alt.renderers.enable("mimetype"):
        kinds = set(chart._repr_mimebundle_()[0])  # type: ignore[index]
    assert "image/png" in kinds and any("vegalite" in kind for kind in kinds)


def test_a_figure_shows_as_a_picture_offline_and_gives_way_to_vega(
    browser: Browser, guided: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "figure.html"
    html = guided["chart"]._repr_mimebundle_()[0]["text/html"]
    html = html.replace("https://cdn.jsdelivr.net", "file:///nowhere")
    page.write_text(f'<html data-drawn="yes"><body>{html}</body></html>', encoding="utf-8")
    shown = browser.open(page)
    shown.until("document.querySelector('.error')")
    image, error = "document.querySelector('img')", "document.querySelector('.error')"
    assert shown.run(f"{image}.naturalWidth") == 2 * shown.run(f"{image}.offsetWidth") > 0
    assert shown.run(f"{error}.offsetHeight") == 0
    shown.run(f"{error}.parentElement.classList.add('vega-embed')")  # as vegaEmbed does first
    assert shown.run(f"{image}.offsetHeight") == 0


def test_a_figure_that_is_not_there_lists_those_that_are(guided: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no figure A-99; there are: .*A-1L"):
        guided["study"].figure("A-99")


def test_a_panel_of_several_figures_lists_them() -> None:
    study = Study.__new__(Study)
    study.table = from_rows(curve_rows(dataset="fashion-mnist", batch_sizes=(16, 64)))
    with pytest.raises(ValueError, match=r"A-3L has several figures; ask for one of A-3L-fgsm, A-3L-pgd"):
        study.figure("A-3L")


def test_a_panel_is_drawn_without_the_rest_of_the_report(folder: Path) -> None:
    study = analysis.load(folder)
    study.figure("A-1L")
    assert "_findings" not in vars(study)


def test_tables_draw_no_figure_and_the_report_reads_nothing_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = analysis.load(folder)
    claims = study.claims()
    assert not study.correlations().empty and not study.counterexamples().empty
    study.measures(), study.paper_versus_ours()
    assert "_findings" not in vars(study)
    monkeypatch.delattr("analysis.report.load")
    page = study.report(tmp_path)
    assert len(pd.read_csv(page.with_name("claims.csv"))) == len(claims)


def test_every_table_is_written_next_to_the_report_as_csv_and_parquet(guided: dict[str, Any], folder: Path) -> None:
    out = folder.parents[1] / "paper"
    study: Study = guided["study"]
    calls = {name: getattr(study, name) for name in TABLES}
    page = (out / "report.html").read_text(encoding="utf-8")
    for name, call in calls.items():
        frame = call() if callable(call) else call
        csv, parquet = pd.read_csv(out / f"{name}.csv"), pd.read_parquet(out / f"{name}.parquet")
        assert list(csv.columns) == list(parquet.columns) == list(frame.columns) == list(DESCRIPTIONS[name])
        assert len(csv) == len(parquet) == len(frame)
        assert f'href="{name}.csv"' in page
        assert f'href="{name}.parquet"' in page
    assert 'href="latex/claims.tex"' in page
    assert sorted(path.name for path in (out / "latex").iterdir()) == [
        "claims.tex", "counterexamples.tex", "paper_versus_ours.tex",
    ]  # fmt: skip


def test_parquet_files_describe_each_column(guided: dict[str, Any], folder: Path) -> None:
    for name in TABLES:
        schema = pq.read_schema(folder.parents[1] / "paper" / f"{name}.parquet")
        for field in schema:
            assert field.metadata[b"description"].decode() == DESCRIPTIONS[name][field.name]


def test_a_cell_has_the_interval_of_its_seeds(folder: Path) -> None:
    study = analysis.load(folder)
    cell = study.cells.iloc[0]
    seeds = study._data.cells.iloc[0]
    for name in ("accuracy", "test_acc", "train_loss"):
        expected = mean_interval(seeds[f"{name}_seeds"])
        assert (cell[name], cell[f"{name}_low"], cell[f"{name}_high"]) == pytest.approx(expected[:3])
    expected = 2.0 ** np.array(mean_interval(seeds["log2_lambda1_train_seeds"])[:3])
    shown = cell[["lambda1_train", "lambda1_train_low", "lambda1_train_high"]].astype(float)
    assert shown.to_numpy() == pytest.approx(expected)
    assert cell["seeds"] == "0 1 2"


def test_one_seed_has_a_mean_and_no_interval() -> None:
    study = Study.__new__(Study)
    study.table = from_rows(curve_rows(batch_sizes=(16,), seeds=(0,)))
    assert study.cells["accuracy"].notna().all()
    assert study.cells[["accuracy_low", "accuracy_high", "lambda1_test_low"]].isna().all(axis=None)


def test_a_folder_without_a_row_has_empty_tables() -> None:
    study = Study.__new__(Study)
    study.table = from_rows([])
    assert study.networks.empty
    assert study.cells.empty
    assert set(aggregated(study._data.cells).columns) == set(study.cells.columns)
    assert described(networks(study.table), DESCRIPTIONS["networks"]).num_rows == 0


def test_a_network_on_two_curves_is_one_row() -> None:
    frame = networks(from_rows(to_the_loss()))
    assert frame["trial_id"].is_unique
    assert frame["regimes"].map(lambda text: isinstance(text, str)).all()


def test_importing_the_analysis_loads_no_library() -> None:
    code = "import sys; before = set(sys.modules); import analysis; print(set(sys.modules) - before - {'__future__'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'analysis'}\n"
