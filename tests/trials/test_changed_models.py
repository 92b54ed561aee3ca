"""A model whose function was edited, or data that were changed, between two runs in one results folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from search_spaces import Planned
from study import run
from study.checks import InputError, load_data
from study.data import load, split
from study.models import MODELS, Builder
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.train import TrialSettings
from tests.trials.small import SIZES, planned, probes, results_in, tensors, timeless, trial


def small(width: int, between: type[nn.Module]) -> Builder:
    def build(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, width), between(), nn.Linear(width, num_classes))

    return build


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(width: int = 8, between: type[nn.Module] = nn.ReLU) -> None:
        monkeypatch.setitem(MODELS, "own", small(width, between))  # type: ignore[arg-type]

    change()
    return change


def own(epsilon: float = 0.1) -> Planned:
    return planned(trial(model="own", epochs=3), probes(epsilon))


@pytest.mark.parametrize("change", [{"width": 9}, {"between": nn.Tanh}], ids=["width", "activation"])
def test_new_questions_to_a_changed_model_are_refused(
    edit: Callable[..., None], change: dict[str, object], tmp_path: Path
) -> None:
    results = results_in(tmp_path)
    before = execute(own(), tensors(), results)
    edit(**change)
    with pytest.raises(ValueError, match=r"the function of model own is not the one .* use another --results"):
        execute(own(0.2), tensors(), results)
    assert results.read_row(before["trial_id"]) == before
    edit()
    assert len(execute(own(0.2), tensors(), results)["attacks"]) == 8


def test_a_row_without_a_fingerprint_stays_valid(edit: Callable[..., None], tmp_path: Path) -> None:
    results = results_in(tmp_path)
    results.write_row(execute(own(), tensors(), results) | {"model_fingerprint": None})
    assert len(execute(own(0.2), tensors(), results)["attacks"]) == 8


def test_a_half_trained_network_of_another_function_is_trained_anew(edit: Callable[..., None], tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(metrics: Mapping[str, object]) -> None:
        if metrics.get("epoch") == 2:
            raise StoppedError

    results = results_in(tmp_path / "changed")
    with pytest.raises(StoppedError):
        execute(own(), tensors(), results, report=stop, settings=TrialSettings(checkpoint_seconds=0))
    edit(between=nn.Tanh)
    row = execute(own(), tensors(), results)
    assert timeless(row) == timeless(execute(own(), tensors(), results_in(tmp_path / "new")))


def test_a_half_trained_network_of_other_data_is_trained_anew(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(metrics: Mapping[str, object]) -> None:
        if metrics.get("epoch") == 2:
            raise StoppedError

    results, one = results_in(tmp_path / "changed"), planned(trial(), frozenset())
    with pytest.raises(StoppedError):
        execute(
            one, replace(tensors(), sha256="others"), results, report=stop, settings=TrialSettings(checkpoint_seconds=0)
        )
    row = execute(one, tensors(), results)
    assert timeless(row) == timeless(execute(one, tensors(), results_in(tmp_path / "new")))


def test_data_that_stored_networks_were_not_trained_on_are_refused_before_any_trial(tmp_path: Path) -> None:
    one, two = planned(trial()), planned(trial(seed=1))
    row = execute(planned(one.trial, frozenset()), tensors(), results_in(tmp_path))
    assert len(load_data([two], None, [row])) == 1
    changed = row | {"dataset_sha256": "of others"}
    assert len(load_data([two], None, [changed | {"status": "failed"}, changed | {"dataset": "mnist"}])) == 1
    with pytest.raises(InputError, match=r"digits in .* is not the data on which stored networks were trained"):
        load_data([two], None, [changed])


def test_the_command_refuses_even_if_there_is_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = results_in(tmp_path)
    one = planned(trial(dataset="digits_8x8", model="mlp_256", epochs=1))
    grid = {one.trial.trial_id: one}
    row = execute(one, _scans(), results)
    monkeypatch.setattr(run, "plan", lambda request: grid)
    command = ["--grid", "smoke", "--results", str(tmp_path), "--no-report"]
    assert run.main(command) == 0
    digest, *numbers = row["model_fingerprint"].split()
    results.write_row(row | {"model_fingerprint": " ".join([digest, *reversed(numbers)])})
    for option in ("--dry-run", "--no-report"):
        assert run.main([*command, option]) == 2
        printed = capsys.readouterr().err
        assert "the function of model mlp_256 is not the one that trained the networks stored here" in printed
        assert len(printed.strip().splitlines()) == 1


def _scans() -> DeviceData:
    whole = load("digits_8x8", "unused")
    return DeviceData.of(split(whole, **SIZES), whole.sha256)
