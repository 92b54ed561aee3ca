"""Networks that users bring, with what torchvision's have in them, through training, every probe and resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Probe,
    SpectrumProbe,
)
from study.attacks import ATTACKS
from study.models import MODELS, Builder
from study.results.answers import answered
from study.results.folder import Results
from study.trials.execute import ProbeError, execute
from study.trials.train import TrialSettings
from tests.trials.small import planned, results_in, tensors, timeless, trial

ATTACK_PROBES = [AttackProbe(name, 0.1, spec.loss or "stable") for name, spec in ATTACKS.items()]
PROBES: list[Probe] = [
    *ATTACK_PROBES,
    SpectrumProbe("train", 120),
    SpectrumProbe("test", 20, count=20, tolerance=1e-2),
    InputCurvatureProbe("test"),
    InputHessianProbe(1),
    LandscapeProbe("line", "test", 20, 120),
]


class FromGrey(nn.Module):
    """A network for three colours on grey images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.expand(-1, 3, -1, -1))
        return logits


class TwoNames(nn.Module):
    """One layer under two names and used twice, in-place ReLU, integer and boolean buffers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.pool, self.relu, self.out = nn.AvgPool2d(4), nn.ReLU(inplace=True), nn.Linear(49, num_classes)
        self.first = nn.Linear(49, 49)
        self.second = self.first
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.register_buffer("used", torch.ones(49, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        hidden = self.relu(self.first(self.pool(x).flatten(1)))
        logits: Tensor = self.out(self.relu(self.second(hidden)) * self.used)
        return logits


class Identity(torch.autograd.Function):
    """The identity. Its derivative is `NoDerivative`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        output: Tensor = NoDerivative.apply(gradient)
        return output


class NoDerivative(torch.autograd.Function):
    """The identity, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        raise NotImplementedError("no second derivative")


class Once(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = Identity.apply(x)
        return output


def two_names(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return TwoNames(num_classes)


def mean_norm(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Batch normalisation whose momentum is None: the mean over all batches."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=4), nn.BatchNorm2d(4, momentum=None), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(4 * 6 * 6, num_classes),
    )  # fmt: skip


def vit(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """torchvision's, small: attention, dropout of rate 0."""
    return FromGrey(torchvision.models.VisionTransformer(28, 14, 1, 2, 8, 16, num_classes=num_classes))


def shufflenet(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    widths = [4, 8, 8, 8, 16]
    return FromGrey(torchvision.models.ShuffleNetV2([1, 1, 1], widths, num_classes=num_classes))


def drawing(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Layers that draw from torch's global generators."""
    return nn.Sequential(
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(784, 8), nn.RReLU(), StochasticDepth(0.3, "row"),
        nn.Linear(8, num_classes),
    )  # fmt: skip


def once(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), Once(), nn.ReLU(), nn.Linear(8, num_classes))


OWN: Mapping[str, Builder] = {
    "two_names": two_names, "mean_norm": mean_norm, "vit": vit, "shufflenet": shufflenet, "drawing": drawing,
    "once": once,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.models.MODELS", {**MODELS, **OWN})


class StoppedError(Exception):
    pass


def stop_after_first(metrics: Mapping[str, object]) -> None:
    if metrics.get("epoch") == 1:
        raise StoppedError


def interrupted(one: Any, results: Results) -> dict[str, Any]:
    """Train with an interruption after the first epoch."""
    with pytest.raises(StoppedError):
        execute(one, tensors(), results, report=stop_after_first, settings=TrialSettings(checkpoint_seconds=0))
    torch.rand(3)  # other draws from the global generator do not matter
    return execute(one, tensors(), results)


@pytest.mark.parametrize("name", [name for name in OWN if name != "once"])
def test_a_network_passes_training_every_probe_and_resume(name: str, tmp_path: Path) -> None:
    one = planned(trial(model=name, epochs=2), frozenset(PROBES))
    row = execute(one, tensors(), results_in(tmp_path / "whole"))
    assert row["status"] == "ok"
    assert answered(row) == {probe.key for probe in PROBES}
    training = planned(one.trial, frozenset())
    resumed = interrupted(training, results_in(tmp_path / "resumed"))
    assert resumed["weights_sha256"] == row["weights_sha256"]


def test_the_seed_decides_what_layers_draw_and_the_global_generator_does_not(tmp_path: Path) -> None:
    def weights(folder: str, seed: int) -> str:
        sha256: str = execute(planned(trial(model="drawing", seed=seed), frozenset()), tensors(), results_in(
            tmp_path / folder))["weights_sha256"]  # fmt: skip
        return sha256

    first = weights("a", 0)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert weights("b", 0) == first
        assert torch.initial_seed() == 99
    assert weights("c", 1) != first


def test_a_probe_without_an_answer_costs_no_other_its_answer(tmp_path: Path) -> None:
    """Also on the next run, which asks for the missing ones alone."""
    results = results_in(tmp_path)
    one = planned(trial(model="once"), frozenset(PROBES))
    with pytest.raises(ProbeError, match=r"in probe input_hessian: .*no second derivative"):
        execute(one, tensors(), results)
    row = results.read_row(one.trial.trial_id)
    assert row is not None
    assert row["status"] == "ok"
    assert answered(row) == {probe.key for probe in (*ATTACK_PROBES, InputCurvatureProbe("test"))}
    assert "spectrum train 120" in row["status_reason"]
    with pytest.raises(ProbeError):
        execute(one, tensors(), results)
    assert timeless(results.read_row(one.trial.trial_id) or {}) == timeless(row)
    kept = execute(planned(one.trial, frozenset(ATTACK_PROBES)), tensors(), results)
    assert kept["fgsm_acc_stable"] is not None
