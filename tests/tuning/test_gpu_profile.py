"""Profiling runs the trial's own code in short and weights its parts as the whole trial would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import AttackProbe, InputCurvatureProbe, LandscapeProbe, SpectrumProbe
from study.data import DATASETS
from study.models import build
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.tuning import gpu_profile
from study.tuning.gpu_profile import BASIS_BYTES, Meter, profile_trial
from tests.stored import results_in
from tests.trials.small import planned, probes, tensors, trial


class FakeMeter(Meter):
    """A CPU that reports one peak, and for each part in turn the given kernel time."""

    def __init__(self, *busy: float | None) -> None:
        self.device, self.name, self.total_bytes = torch.device("cpu"), "simulated", 10**9
        self._busy = list(busy)

    def synchronize(self) -> None:
        return

    def peak_bytes(self) -> int:
        return 1000

    def busy_seconds(self, work: Callable[[], None]) -> float | None:
        work()
        return self._busy.pop(0)


def test_every_kind_of_part_runs_and_memory_counts_the_vectors_that_lanczos_keeps() -> None:
    every_kind = probes() | {
        AttackProbe("fgsm", 0.2, "ce", "train", source="parent"),
        InputCurvatureProbe("train"),
        SpectrumProbe("train", 60, 20),
        LandscapeProbe("interpolation", "test", 50),
    }
    meter = FakeMeter(1e9, 1e9, 1e9)
    found = profile_trial(planned(trial(epochs=2), every_kind), tensors(), meter)
    assert (found.device, found.total_bytes) == ("simulated", 10**9)
    assert found.memory_bytes == 1000 + 60 * BASIS_BYTES * _weights("m1_8")
    assert found.busy == pytest.approx(1.0)  # kernels take no longer than their part


def test_a_trial_without_probes_is_profiled_in_training() -> None:
    found = profile_trial(planned(trial(), frozenset()), tensors(), FakeMeter(0.0))
    assert (found.memory_bytes, found.busy) == (1000, 0.0)


def test_memory_is_rehearsed_with_the_graph_and_times_are_taken_without(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed: list[bool] = []

    def record(*arguments: Any, **options: Any) -> Any:
        replayed.append(options.get("replay", True))
        return execute(*arguments, **options)

    monkeypatch.setattr(gpu_profile, "execute", record)
    profile_trial(planned(trial(), frozenset()), tensors(), FakeMeter(0.0))
    assert replayed == [True, False, False, False]


def test_busy_is_unknown_where_a_part_could_not_be_profiled() -> None:
    found = profile_trial(planned(), tensors(), FakeMeter(0.0, None, 0.0))
    assert found.busy is None


def test_long_training_outweighs_its_probes() -> None:
    attack = frozenset([AttackProbe("pgd", 0.1, "ce")])
    short = profile_trial(planned(trial(epochs=1), attack), tensors(), FakeMeter(0.0, 1e9))
    long = profile_trial(planned(trial(epochs=1000), attack), tensors(), FakeMeter(0.0, 1e9))
    assert short.busy is not None
    assert long.busy is not None
    assert long.busy < 0.1 < short.busy


@pytest.mark.gpu
def test_on_a_gpu_the_profile_covers_the_memory_of_the_trial(tmp_path: Path) -> None:
    parts = [(x.cuda(), y.cuda()) for x, y in (tensors().train, tensors().validation, tensors().test)]
    data = DeviceData(parts[0], parts[1], parts[2], tensors().sha256)
    found = profile_trial(planned(), data, Meter())
    torch.cuda.reset_peak_memory_stats()
    peak = execute(planned(), data, results_in(tmp_path))["peak_memory_bytes"]
    assert peak <= 1.25 * found.memory_bytes
    assert found.busy is None or 0 < found.busy < 1
    gpu_shares = pytest.importorskip("study.tuning.gpu_shares", reason="the rest needs ray")
    assert gpu_shares.gpu_share("digits/m1_8/sgd/bs32/fgsm", [found], {}) <= 0.25


def _weights(model: str) -> int:
    info = DATASETS["digits"]
    made = build(model, image_shape=info.image_shape, num_classes=info.num_classes, generator=torch.Generator())
    return sum(p.numel() for p in made.parameters())
