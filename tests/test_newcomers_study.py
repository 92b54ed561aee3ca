"""A newcomer's model, data set and grid: docs/your_own_study.md, word for word, from its files to a report."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import search_spaces
from analysis.report import find_and_write
from search_spaces import Request, plan
from study.data import DATASETS, load, split
from study.models import MODELS
from study.run import main
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.pending import answered
from tests.trials.small import results_in

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your_own_study.md"
NAMES = ("newcomers_model", "newcomers_data", "newcomers_grid")


def blocks() -> list[str]:
    """The page's Python: a file and a line of the model, the data set and the grid."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def module(folder: Path, name: str, source: str) -> ModuleType:
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return importlib.import_module(name)


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the page says to do: three new modules, a line in each dictionary, and a file of images in this folder."""
    monkeypatch.syspath_prepend(tmp_path)
    tables = (MODELS, DATASETS, search_spaces.GRIDS)
    parts = blocks()
    assert len(parts) == 6
    for table, name, file, line in zip(tables, NAMES, parts[::2], parts[1::2], strict=True):
        made = module(tmp_path, name, file)
        scope = {**vars(importlib.import_module("study.data")), **vars(made)}
        for key, value in eval(f"{{{line}}}", scope).items():
            monkeypatch.setitem(table, key, value)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("test", 90)):
        labels = np.arange(count) % 3
        images = rng.integers(0, 120, (count, 1, 12, 12))
        for label in range(3):  # a bright third
            images[labels == label, :, :, 4 * label : 4 * label + 4] += 40
        arrays |= {f"{part}_x": images.astype(np.uint8), f"{part}_y": labels.astype(np.int64)}
    np.savez(tmp_path / "mine.npz", **arrays)
    yield tmp_path
    for name in NAMES:
        del sys.modules[name]


def test_the_dry_run_lists_its_curves_and_calls_its_cost_a_guess(
    newcomer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--grid", "mine", "--data-dir", str(newcomer), "--results", str(newcomer / "r"), "--dry-run"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "grid mine: 45 trials in 9 cells" in printed
    assert re.search(r"^25/25 +~[\d:]+\?  mine softmax lr m 0 bs 4-64 seeds 0-4$", printed, re.MULTILINE)
    assert "nobody has measured softmax yet" in printed
    (newcomer / "mine.npz").unlink()
    assert main(options) == 2
    assert "mine.npz cannot be read" in capsys.readouterr().err


def test_its_networks_are_trained_probed_and_reported(newcomer: Path) -> None:
    whole = load("mine", newcomer)
    data = DeviceData.of(split(whole, train_size=240, val_size=60, test_size=90), whole.sha256)
    results = results_in(newcomer / "r")
    for one in plan(Request("mine", seeds=(0, 1, 2))).values():
        row = execute(one, data, results)
        assert row["status"] == "ok"
        assert answered(row) == {probe.key for probe in one.probes}
        assert row["test_acc"] > 0.8
    page, findings = find_and_write(results.location)
    assert "softmax" in page.read_text(encoding="utf-8")
    assert any(figure.name for figure in findings.figures)
    assert set(findings.table.trials["dataset"]) == {"mine"}
