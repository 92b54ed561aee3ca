"""Small networks trained on real digits for a second, so that gradients look as they do in the study."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

N_TRAIN = 1400


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 scans resized to 28x28 pixels in [0, 1], and their classes."""
    scans = load_digits()
    x = interpolate(torch.from_numpy(scans.images / 16).float().unsqueeze(1), size=(28, 28), mode="bilinear")
    return x, torch.from_numpy(scans.target).long()


@pytest.fixture(scope="session")
def test_split(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, y = digits
    return x[N_TRAIN:], y[N_TRAIN:]


@pytest.fixture(scope="session")
def few(test_split: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The first hundred test images."""
    return test_split[0][:100], test_split[1][:100]


def _trained(digits: tuple[Tensor, Tensor], epochs: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 2, 2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(392, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
    x, y = digits
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(N_TRAIN, generator=order).split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def trained(digits: tuple[Tensor, Tensor]) -> nn.Module:
    return _trained(digits, epochs=5)


@pytest.fixture
def network(trained: nn.Module) -> nn.Module:
    """A network of low confidence: no image is saturated, so every loss has an exact gradient."""
    model = copy.deepcopy(trained)
    _scale_logits(model, 0.25)
    return model


@pytest.fixture
def confident(trained: nn.Module, test_split: tuple[Tensor, Tensor]) -> nn.Module:
    """The same network with logits scaled to a largest margin of 30: p_y often rounds to 1 in float32, never in
    float64."""
    model = copy.deepcopy(trained)
    x, y = test_split
    with torch.no_grad():
        logits = model(x)
    true_class = y.unsqueeze(1)
    others = logits.scatter(1, true_class, float("-inf")).amax(dim=1)
    largest_margin = float((logits.gather(1, true_class).squeeze(1) - others).max())
    _scale_logits(model, 30 / largest_margin)
    return model


def _scale_logits(model: nn.Module, factor: float) -> None:
    head = list(model.children())[-1]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(factor)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
