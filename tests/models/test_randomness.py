"""Networks that cannot be trained, or draw what no trial can seed, are refused before any trial starts."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from search_spaces import Trial
from study.models import MODELS, Dropout, check_network
from study.trials.train import check
from tests.trials.small import trial

SHAPE = (1, 6, 6)


class Noisy(nn.Module):
    """Adds what `draw` gives; `training_only` as a dropout does."""

    def __init__(self, draw: Callable[[], float], *, training_only: bool = False) -> None:
        super().__init__()
        self.draw, self.training_only = draw, training_only

    def forward(self, x: Tensor) -> Tensor:
        return x + self.draw() if self.training or not self.training_only else x


class AlwaysDropped(nn.Module):
    """The mistake of leaving out `training=self.training`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


def network(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Sequential(*layers), nn.Linear(36, 3))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.5),
        nn.RReLU(),
        StochasticDepth(0.5, "row"),
        Dropout(0.5),
        nn.Dropout(0.0),
        nn.ReLU(inplace=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_training_can_seed_are_accepted(layer: nn.Module) -> None:
    model, before = network(nn.ReLU(), layer), torch.get_rng_state()
    check_network(model, SHAPE, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (AlwaysDropped(), "it uses random numbers of torch's global generator in eval mode"),
        (Noisy(random.random, training_only=True), "it uses random numbers of Python's .* in training"),
        (Noisy(np.random.rand, training_only=True), "it uses random numbers of numpy's .* in training"),
        (nn.LazyLinear(36), "it uses LazyLinear, whose weights cannot be seeded"),
    ],
)
def test_others_are_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_network(network(nn.ReLU(), layer), SHAPE, 3)


def test_outputs_that_are_no_logits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"returns \(2, 3\) for 2 images in eval mode, not logits \(2, 4\)"):
        check_network(network(nn.ReLU()), SHAPE, 4)
    with pytest.raises(ValueError, match=r"cannot take images of shape \(1, 5, 5\)"):
        check_network(network(nn.ReLU()), (1, 5, 5), 3)


def changed_in_place(x: Tensor) -> Tensor:
    result = x.exp()
    squared = result * result
    result.zero_()
    return squared


class Then(nn.Module):
    """Applies a function to the weighted pixels."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(36, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x.flatten(1)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.detach(), "no gradient reaches its weights"),
        (lambda x: x / 0, "it returns NaN or infinity before training, in eval mode"),
        (changed_in_place, "its gradient cannot be computed: one of the variables needed for gradient"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(function: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_network(Then(function), SHAPE, 3)


def test_an_image_may_be_divided_by_its_own_deviation() -> None:
    check_network(network(nn.LayerNorm(36, eps=0.0)), SHAPE, 3)


def test_a_plan_whose_last_minibatch_is_one_image_is_refused_where_the_model_cannot_train_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def normalised(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, num_classes))

    monkeypatch.setattr("study.models.MODELS", {**MODELS, "normalised": normalised})
    check([trial(model="normalised", batch_size=size) for size in (8, 16, 120, 200)])
    check([trial(batch_size=1), trial(batch_size=7)])
    with pytest.raises(ValueError, match=r"model normalised cannot train on the last minibatch of 120 images by 17, w"):
        check([trial(model="normalised", batch_size=size) for size in (16, 17)])


def test_a_plan_with_such_a_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), AlwaysDropped(), nn.Linear(784, num_classes))

    monkeypatch.setattr("study.models.MODELS", {**MODELS, "careless": careless})
    one: Trial = trial(model="careless")
    with pytest.raises(ValueError, match="model careless: it uses random numbers"):
        check([one])
