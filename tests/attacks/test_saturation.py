"""On a confident network float32 cross-entropy weakens attacks; the stable loss does not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from study.attacks.evaluate import AttackResult, attack_split
from study.attacks.losses import LOSSES, input_gradient

Split = tuple[Tensor, Tensor]


def signs(model: nn.Module, split: Split, loss: str) -> Tensor:
    x, y = split
    return input_gradient(model, x.to(next(model.parameters()).dtype), y, LOSSES[loss]).sign().double()


def attacked(model: nn.Module, split: Split, attack: str, loss: str) -> AttackResult:
    draws = torch.Generator().manual_seed(0)
    return attack_split(model, *split, attack=attack, loss=loss, epsilon=0.15, generator=draws)


@pytest.fixture
def exact(confident: nn.Module) -> nn.Module:
    return copy.deepcopy(confident).double()


def test_the_confident_network_is_saturated_in_float32_and_not_in_float64(
    confident: nn.Module, exact: nn.Module, test_split: Split
) -> None:
    x, y = test_split
    assert 0.15 < attacked(confident, test_split, "fgsm", "ce").saturated_fraction < 0.5
    with torch.no_grad():
        assert float(exact(x.double()).softmax(1)[torch.arange(len(y)), y].max()) < 1


def test_the_stable_loss_has_the_signs_of_float64_cross_entropy_and_float32_cross_entropy_has_not(
    confident: nn.Module, exact: nn.Module, test_split: Split
) -> None:
    truth = signs(exact, test_split, "ce")
    assert float((signs(confident, test_split, "stable") != truth).double().mean()) < 1e-5
    assert float((signs(confident, test_split, "ce") != truth).double().mean()) > 0.05


def test_fgsm_accuracy_is_overstated_by_float32_cross_entropy_and_exact_with_the_stable_loss(
    confident: nn.Module, exact: nn.Module, test_split: Split
) -> None:
    published = attacked(confident, test_split, "fgsm", "ce")
    stable = attacked(confident, test_split, "fgsm", "stable")
    truth = attacked(exact, test_split, "fgsm", "ce")
    assert published.accuracy > stable.accuracy + 0.1
    assert abs(stable.correct - truth.correct) <= 1


def test_the_zero_gradient_fraction_does_not_reveal_the_fault(confident: nn.Module, test_split: Split) -> None:
    assert attacked(confident, test_split, "fgsm", "ce").zero_grad_fraction == 0


def test_without_saturation_both_losses_give_the_same_fgsm(network: nn.Module, test_split: Split) -> None:
    published, stable = (attacked(network, test_split, "fgsm", loss) for loss in ("ce", "stable"))
    assert published.saturated_fraction == 0
    assert published.correct_bits == stable.correct_bits
