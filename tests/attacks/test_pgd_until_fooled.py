"""PGD that stops image by image: the iterates of PGD, for each image until it is misclassified."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from study.attacks.linf import PGD_STEPS, pgd, pgd_until_fooled
from study.attacks.losses import LOSSES

Split = tuple[Tensor, Tensor]
EPSILON = 0.1


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)


@pytest.fixture
def exact(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).double()


@pytest.mark.parametrize("loss", LOSSES)
def test_each_image_is_the_first_iterate_of_pgd_that_is_misclassified_or_its_last(
    exact: nn.Module, few: Split, loss: str
) -> None:
    x, y = few[0][:60].double(), few[1][:60]
    found = pgd_until_fooled(exact, x, y, epsilon=EPSILON, loss=LOSSES[loss], generator=seeded())
    expected = torch.full_like(x, torch.nan)
    waiting = torch.ones(len(y), dtype=torch.bool)
    common = {"epsilon": EPSILON, "loss": LOSSES[loss]}
    iterate = pgd(exact, x, y, **common, generator=seeded(), steps=0)
    for steps in range(PGD_STEPS + 1):
        if steps:
            iterate = pgd(exact, x, y, **common, start=iterate, steps=1, step_size=EPSILON / 30)
        with torch.no_grad():
            wrong = exact(iterate).argmax(dim=1) != y
        stops = waiting & (wrong if steps < PGD_STEPS else torch.ones_like(wrong))
        expected[stops] = iterate[stops]
        waiting &= ~stops
    with torch.no_grad():
        still_right = exact(expected).argmax(dim=1) == y
    assert 0 < int(still_right.sum()) < len(y)  # both kinds of image were met
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_an_image_that_pgd_fools_is_fooled_here_too(exact: nn.Module, few: Split) -> None:
    x, y = few[0].double(), few[1]
    common = {"epsilon": EPSILON, "loss": LOSSES["stable"]}
    with torch.no_grad():
        by_pgd = exact(pgd(exact, x, y, **common, generator=seeded())).argmax(dim=1) != y
        here = exact(pgd_until_fooled(exact, x, y, **common, generator=seeded())).argmax(dim=1) != y
    assert by_pgd.any() and not (by_pgd & ~here).any()


def test_a_fooled_image_costs_no_further_pass(exact: nn.Module, few: Split) -> None:
    x, y = few[0].double(), few[1]
    seen: list[int] = []
    exact.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    pgd_until_fooled(exact, x, y, epsilon=0.3, loss=LOSSES["ce"], generator=seeded())
    assert seen[0] == len(y) and seen == sorted(seen, reverse=True)
    assert sum(seen) < PGD_STEPS * len(y) / 2


def test_images_that_are_misclassified_at_the_start_are_not_moved(exact: nn.Module, few: Split) -> None:
    x = few[0][:8].double()
    with torch.no_grad():
        never = exact(x).argmin(dim=1)
    found = pgd_until_fooled(exact, x, never, epsilon=1e-6, loss=LOSSES["ce"], generator=seeded())
    assert float((found - x).abs().max()) <= 1e-6
