"""Initial weights have torch's default distributions and are drawn from the given generator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from study.models import MODELS, build
from study.models.initialization import drawing_from
from tests.models.kinds import KINDS, shape_of


def network(name: str, generator: torch.Generator) -> nn.Module:
    return build(name, image_shape=shape_of(name), num_classes=10, generator=generator)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", KINDS)
def test_the_bits_are_those_of_torch_manual_seed(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        peer = MODELS[name](image_shape=shape_of(name), num_classes=10)
    assert same_bits(network(name, stream(7)), peer)


def test_torchs_global_generator_is_neither_used_nor_changed() -> None:
    before = torch.get_rng_state()
    network("m1_20", stream(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_is_restored_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="do not fit"):
        build("stdcnn", image_shape=(1, 1, 1), num_classes=10, generator=stream(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "vgg11"])
def test_weights_and_biases_are_uniform_within_one_over_the_root_of_the_fan_in(name: str) -> None:
    """torch's default: kaiming_uniform with a = sqrt(5) is uniform on +-1/sqrt(fan_in), as is the bias."""
    for module in network(name, stream(1)).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            scaled = module.weight.detach().double().flatten() * math.sqrt(fan_in)
            n = len(scaled)
            assert scaled.abs().max() <= 1 + 1e-6
            assert scaled.abs().max() > 1 - 20 / n
            assert abs(scaled.mean()) < 5 / math.sqrt(3 * n)
            assert abs(scaled.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / n)
            if module.bias is not None:
                assert module.bias.abs().max() <= (1 + 1e-6) / math.sqrt(fan_in)
                assert module.bias.abs().max() > 0
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()  # type: ignore[union-attr]
            assert (module.running_var == 1).all()  # type: ignore[union-attr]


def test_the_convolutions_of_vgg11_are_normal_with_variance_two_over_the_fan_out() -> None:
    for module in network("vgg11", stream(1)).modules():
        if isinstance(module, nn.Conv2d):
            scaled = module.weight.detach().double().flatten() * math.sqrt(9 * module.out_channels / 2)
            n = len(scaled)
            assert abs(scaled.mean()) < 5 / math.sqrt(n)
            assert abs(scaled.square().mean() - 1) < 5 * math.sqrt(2 / n)
            assert abs(scaled.pow(4).mean() - 3) < 5 * math.sqrt(96 / n)  # a normal's kurtosis, not a uniform's 1.8
            assert module.bias is not None
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Linear):
            assert module.weight.abs().max() <= (1 + 1e-6) / math.sqrt(module.in_features)


def test_a_generator_that_is_not_on_the_cpu_is_refused() -> None:
    class OnTheGpu:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="drawn on the CPU"), drawing_from(OnTheGpu()):  # type: ignore[arg-type]
        pass
