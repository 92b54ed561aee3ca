"""The code of docs/your_own_optimizer.md as it stands, from the optimizer's file to a resumed trial of its grid."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import search_spaces
from search_spaces import Planned, Request, plan
from study import optimizers
from study.data import load, split
from study.results.answers import answered
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.train import TrialSettings
from tests.trials.small import results_in, timeless

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your_own_optimizer.md"


def blocks() -> list[str]:
    """The page's Python: the optimizer's file, its line, the space's file, its line."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def module(folder: Path, name: str, source: str) -> ModuleType:
    (folder / f"{name}.py").write_text(source)
    return importlib.import_module(name)


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the page says to do: two new modules, and a line in each dictionary."""
    file, line, space, grid_line = blocks()
    monkeypatch.syspath_prepend(tmp_path)
    signum = module(tmp_path, "newcomers_optimizer", file)
    monkeypatch.setattr(optimizers, "OPTIMIZERS", optimizers.OPTIMIZERS | eval(f"{{{line}}}", vars(signum)))
    monkeypatch.setattr("study.trials.train.OPTIMIZERS", optimizers.OPTIMIZERS)
    newcomers_space = module(tmp_path, "newcomers_space", space)
    for name, spaces in eval(f"{{{grid_line}}}", vars(newcomers_space)).items():
        monkeypatch.setitem(search_spaces.GRIDS, name, spaces)
    yield
    for name in ("newcomers_optimizer", "newcomers_space"):
        del sys.modules[name]


def planned() -> Planned:
    """A trial of the page's grid, made small."""
    request = Request(
        "signum", {"optimizer": ("signum",), "batch_size": ("32",)}, seeds=(0,), epochs=4, train_size=120, test_size=50
    )
    (one,) = plan(request).values()
    return one


def tensors() -> DeviceData:
    """The images of that trial."""
    images, trial = load("digits_8x8", "unused"), planned().trial
    parts = split(images, train_size=trial.train_size, val_size=trial.val_size, test_size=trial.test_size)
    return DeviceData.of(parts, images.sha256)


class _KilledError(Exception):
    pass


@pytest.mark.usefixtures("newcomer")
def test_it_trains_in_its_grid_and_answers_every_probe(tmp_path: Path) -> None:
    one = planned()
    row = execute(one, tensors(), results_in(tmp_path / "r"))
    assert answered(row) == {probe.key for probe in one.probes}
    assert (row["status"], row["optimizer"], row["steps"]) == ("ok", "signum", 4 * 4)
    assert row["history"][-1]["train_loss"] < row["history"][0]["train_loss"]


@pytest.mark.usefixtures("newcomer")
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(tmp_path: Path) -> None:
    def killed_in_epoch_2(metrics: object) -> None:
        if metrics["epoch"] == 2:  # type: ignore[index]
            raise _KilledError

    one = replace(planned(), probes=frozenset())
    interrupted, undisturbed = results_in(tmp_path / "interrupted"), results_in(tmp_path / "undisturbed")
    with pytest.raises(_KilledError):
        execute(one, tensors(), interrupted, report=killed_in_epoch_2, settings=TrialSettings(checkpoint_seconds=0.0))
    epochs: list[int] = []
    resumed = execute(one, tensors(), interrupted, report=lambda metrics: epochs.append(metrics["epoch"]))
    assert epochs == [3, 4]
    assert timeless(resumed) == timeless(execute(one, tensors(), undisturbed))
    assert interrupted.read_weights(one.trial.trial_id) == undisturbed.read_weights(one.trial.trial_id)
