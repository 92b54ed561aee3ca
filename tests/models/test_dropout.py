"""Dropout from an explicit generator equals torch's dropout except for the source of its masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from study.models import Dropout, build, set_dropout_generator


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dropout(p: float, generator: torch.Generator) -> Dropout:
    module = Dropout(p)
    set_dropout_generator(module, generator)
    return module


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_same_bits_as_torch_from_the_same_stream(p: float) -> None:
    x = torch.randn(40, 50, generator=stream(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = functional.dropout(x, p)
    assert torch.equal(dropout(p, stream(3))(x), expected)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_mean_and_variance_are_those_of_inverted_dropout(p: float) -> None:
    """Of ones: values 0 or 1/(1-p), mean 1, variance p/(1-p)."""
    n = 200_000
    out = dropout(p, stream())(torch.ones(n, dtype=torch.float64))
    assert set(out.unique().tolist()) == {0.0, 1 / (1 - p)}
    assert abs(out.mean() - 1) < 5 * (p / (1 - p) / n) ** 0.5
    assert abs((out == 0).double().mean() - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_gradients_pass_where_values_do() -> None:
    x = torch.ones(100, requires_grad=True)
    out = dropout(0.5, stream())(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_in_eval_mode_it_is_the_identity_and_draws_nothing() -> None:
    generator = stream()
    x = torch.randn(8, 9, generator=stream(1))
    assert torch.equal(dropout(0.5, generator).eval()(x), x)
    assert torch.equal(generator.get_state(), stream().get_state())
    assert torch.equal(Dropout(0.5).eval()(x), x)  # needs no generator to evaluate


def test_the_global_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    dropout(0.5, stream())(torch.ones(10))
    assert torch.equal(torch.get_rng_state(), before)


def test_resuming_from_the_generators_state_gives_the_same_masks() -> None:
    module, x = dropout(0.5, stream()), torch.ones(64)
    module(x)
    assert module.generator is not None
    saved = module.generator.get_state()
    uninterrupted = [module(x) for _ in range(3)]
    resumed = torch.Generator()
    resumed.set_state(saved)
    again = dropout(0.5, resumed)
    assert all(torch.equal(a, again(x)) for a in uninterrupted)


def test_training_without_a_generator_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"set_dropout_generator\(model, generator\)"):
        Dropout(0.5)(torch.ones(3))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_a_probability_outside_the_unit_interval_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        Dropout(p)


def test_every_dropout_layer_of_a_model_gets_the_generator() -> None:
    model = build("stdcnn", image_shape=(1, 28, 28), num_classes=10, generator=stream())
    x = torch.rand(4, 1, 28, 28, generator=stream(1))
    set_dropout_generator(model, stream(2))
    first, second = model(x), model(x)
    assert not torch.equal(first, second)
    set_dropout_generator(model, stream(2))
    assert torch.equal(model(x), first)


def test_a_model_without_dropout_is_not_changed() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    set_dropout_generator(model, stream())
    assert model(torch.ones(1, 2)).shape == (1, 2)
