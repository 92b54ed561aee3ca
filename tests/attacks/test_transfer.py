"""Images made with one network and scored on another."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from study.attacks import ATTACKS
from study.attacks.evaluate import attack_split

Split = tuple[Tensor, Tensor]


class Switch(nn.Module):
    """Class 0 where one pixel is bright; `gain` of 0 leaves the answer and takes its gradient away."""

    def __init__(self, pixel: int, gain: float = 1.0) -> None:
        super().__init__()
        self.pixel, self.gain = pixel, gain

    def forward(self, x: Tensor) -> Tensor:
        logit = x.flatten(1)[:, self.pixel] - 0.5
        logit = self.gain * logit + (1 - self.gain) * logit.sign()
        return torch.stack([logit, -logit], dim=1)


def bright() -> Split:
    return torch.full((6, 1, 2, 2), 0.55), torch.zeros(6, dtype=torch.int64)


def transferred(model: nn.Module, source: nn.Module | None, *, attack: str = "fgsm") -> tuple[float, float]:
    result = attack_split(
        model.eval(),
        *bright(),
        attack=attack,
        loss=ATTACKS[attack].loss or "stable",
        epsilon=0.1,
        generator=torch.Generator().manual_seed(0),
        source=None if source is None else source.eval(),
    )
    return result.accuracy, result.zero_grad_fraction


@pytest.mark.parametrize("attack", ATTACKS)
def test_images_fool_a_network_that_uses_the_same_pixel_and_no_other(attack: str) -> None:
    assert transferred(Switch(0), Switch(0), attack=attack) == (0, 0)
    if not ATTACKS[attack].random_start:  # which moves every pixel
        assert transferred(Switch(1), Switch(0), attack=attack) == (1, 0)


def test_the_clean_gradient_is_that_of_the_source() -> None:
    blind = Switch(0, gain=0.0)
    assert transferred(blind, None) == (1, 1)
    assert transferred(blind, Switch(0)) == (0, 0)
    assert transferred(Switch(0), blind) == (1, 1)


def test_a_copy_of_the_network_as_source_gives_the_white_box_attack(network: nn.Module, few: Split) -> None:
    def result(source: nn.Module | None) -> object:
        found = attack_split(
            network, *few, attack="pgd", loss="ce", epsilon=0.1, generator=torch.Generator(), source=source
        )
        return dataclasses.replace(found, seconds=0)

    assert result(copy.deepcopy(network)) == result(None)


def test_a_float64_source_makes_images_for_a_float32_model(network: nn.Module, few: Split) -> None:
    exact = copy.deepcopy(network).double()
    single, double = (
        attack_split(network, *few, attack="fgsm", loss="ce", epsilon=0.1, generator=torch.Generator(), source=source)
        for source in (None, exact)
    )
    assert abs(single.correct - double.correct) <= 1


def test_both_networks_are_checked(network: nn.Module, few: Split) -> None:
    for model, source in ((network, copy.deepcopy(network).train()), (copy.deepcopy(network).train(), network)):
        with pytest.raises(ValueError, match="training mode"):
            attack_split(model, *few, attack="fgsm", loss="ce", epsilon=0.1, generator=torch.Generator(), source=source)
