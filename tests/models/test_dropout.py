"""Dropout from an explicit generator equals torch's dropout except for the source of its masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional

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


def test_in_eval_mode_it_is_the_identity_and_draws_nothing() -> None:
    generator = stream()
    x = torch.randn(8, 9, generator=stream(1))
    assert torch.equal(dropout(0.5, generator).eval()(x), x)
    assert torch.equal(generator.get_state(), stream().get_state())
    assert torch.equal(Dropout(0.5).eval()(x), x)  # needs no generator to evaluate


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
