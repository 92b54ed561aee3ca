"""With the same start and loss, torchattacks and foolbox give the same adversarial images."""

from __future__ import annotations

import eagerpy
import foolbox
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from study.attacks.l2 import l2grad
from study.attacks.linf import fgsm, fgsm10, pgd
from study.attacks.losses import LOSSES

CE = LOSSES["ce"]
EPSILON = 0.1


def assert_same_attack(model: nn.Module, ours: Tensor, theirs: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(model(ours).argmax(1), model(theirs).argmax(1))
    # A pixel whose gradient is 0 up to rounding may differ; nothing else may.
    assert float(((ours - theirs).abs() > 1e-6).double().mean()) < 1e-3


def test_fgsm_agrees_with_torchattacks(network: nn.Module, few: tuple[Tensor, Tensor]) -> None:
    theirs = torchattacks.FGSM(network, eps=EPSILON)(*few)
    assert_same_attack(network, fgsm(network, *few, epsilon=EPSILON, loss=CE), theirs)


def test_fgsm_agrees_with_foolbox(network: nn.Module, few: tuple[Tensor, Tensor]) -> None:
    peer = foolbox.PyTorchModel(network, bounds=(0, 1), device=few[0].device)
    _, theirs, _ = foolbox.attacks.LinfFastGradientAttack()(peer, *few, epsilons=EPSILON)
    assert_same_attack(network, fgsm(network, *few, epsilon=EPSILON, loss=CE), theirs)


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.2])
def test_fgsm10_agrees_with_the_basic_iterative_method_of_torchattacks(
    network: nn.Module, few: tuple[Tensor, Tensor], epsilon: float
) -> None:
    theirs = torchattacks.BIM(network, eps=epsilon, alpha=epsilon / 10, steps=10)(*few)
    assert_same_attack(network, fgsm10(network, *few, epsilon=epsilon, loss=CE), theirs)


def test_l2grad_agrees_with_foolbox(network: nn.Module, few: tuple[Tensor, Tensor]) -> None:
    peer = foolbox.PyTorchModel(network, bounds=(0, 1), device=few[0].device)
    _, theirs, _ = foolbox.attacks.L2FastGradientAttack()(peer, *few, epsilons=28 * EPSILON)
    assert_same_attack(network, l2grad(network, *few, epsilon=EPSILON, loss=CE), theirs)


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_agrees_with_torchattacks(network: nn.Module, few: tuple[Tensor, Tensor], random_start: bool) -> None:
    epsilon = 0.1
    with torch.random.fork_rng():
        torch.manual_seed(5)  # torchattacks draws its start from the global generator
        peer = torchattacks.PGD(network, eps=epsilon, alpha=epsilon / 30, steps=40, random_start=random_start)
        theirs = peer(*few)
    generator = torch.Generator().manual_seed(5)
    ours = pgd(network, *few, epsilon=epsilon, loss=CE, generator=generator, random_start=random_start)
    assert_same_attack(network, ours, theirs)


class FoolboxPgdFrom(foolbox.attacks.LinfProjectedGradientDescentAttack):
    def __init__(self, start: Tensor, step_size: float) -> None:
        super().__init__(abs_stepsize=step_size, steps=40, random_start=True)
        self.start = start

    def get_random_start(self, x0: eagerpy.Tensor, epsilon: float) -> eagerpy.Tensor:
        return eagerpy.astensor(self.start)


def test_pgd_agrees_with_foolbox(network: nn.Module, few: tuple[Tensor, Tensor], generator: torch.Generator) -> None:
    x, y = few
    epsilon = 0.1
    start = pgd(network, x, y, epsilon=epsilon, loss=CE, generator=generator, steps=0)
    peer = foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device)
    _, theirs, _ = FoolboxPgdFrom(start, epsilon / 30)(peer, x, y, epsilons=epsilon)
    assert_same_attack(network, pgd(network, x, y, epsilon=epsilon, loss=CE, start=start), theirs)
