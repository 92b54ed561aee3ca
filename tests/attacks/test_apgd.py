"""Auto-PGD against torchattacks' port of the authors' code, from the same starts; closed forms; dropped images."""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from study.attacks.apgd import apgd_ce, apgd_t
from study.attacks.linf import linf_ball_in_box
from study.attacks.losses import LOSSES

EPSILONS = [0.03, 0.06, 0.1]

Split = tuple[Tensor, Tensor]


def fooled(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1) != y


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_apgd_on_cross_entropy_has_the_predictions_of_the_reference(
    network: nn.Module, few: Split, epsilon: float
) -> None:
    x, y = few[0], network(few[0]).argmax(1)  # no clean errors, so that both draw a start for every image
    with torch.random.fork_rng():
        theirs = torchattacks.APGD(network, eps=epsilon, steps=100, loss="ce", seed=5)(x, y)
    ours = apgd_ce(network, x, y, epsilon=epsilon, loss=LOSSES["ce"], generator=torch.Generator().manual_seed(5))
    assert torch.equal(fooled(network, ours, y), fooled(network, theirs, y))
    assert 0 < int(fooled(network, ours, y).sum()) < 100


def test_targeted_apgd_has_the_predictions_of_the_reference(
    network: nn.Module, few: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    (x, y), epsilon = few, 0.06
    drawn = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    start = x + epsilon * (2 * drawn - 1) / (2 * drawn - 1).abs().max()
    ours = apgd_t(network, x, y, epsilon=epsilon, loss=LOSSES["dlr"], start=start, steps=40)
    monkeypatch.setattr(torch, "rand", lambda shape: drawn.expand(shape))  # which the peer draws for each target anew
    with torch.random.fork_rng():
        theirs = torchattacks.APGDT(network, eps=epsilon, steps=40)(x, y)
    assert torch.equal(fooled(network, ours, y), fooled(network, theirs, y))


@pytest.mark.parametrize("attack", [apgd_ce, apgd_t])
def test_images_stay_in_the_ball_and_the_box_and_clean_errors_as_they_are(
    attack: object, network: nn.Module, few: Split, generator: torch.Generator
) -> None:
    x, y = few[0], few[1].clone()
    y[:10] = (network(x[:10]).argmax(1) + 1) % 10  # wrong without an attack
    found = attack(network, x, y, epsilon=0.05, loss=LOSSES["ce"], generator=generator, steps=20)  # type: ignore[operator]
    assert torch.equal(found[:10], x[:10])
    lower, upper = linf_ball_in_box(x, 0.05)
    assert bool(((found >= lower) & (found <= upper)).all())


def test_an_image_does_not_depend_on_those_beside_it(network: nn.Module, few: Split) -> None:
    network.double()
    x, y = few[0].double(), few[1]
    start = x + 0.06 * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype) - 1)
    for attack in (apgd_ce, apgd_t):
        together = attack(network, x, y, epsilon=0.06, loss=LOSSES["ce"], start=start, steps=20)
        alone = [
            attack(network, *(part.unsqueeze(0) for part in (x[i], y[i])), epsilon=0.06, loss=LOSSES["ce"],
                   start=start[i : i + 1], steps=20)
            for i in range(12)
        ]  # fmt: skip
        torch.testing.assert_close(together[:12], torch.cat(alone), rtol=0, atol=1e-9)


def test_on_two_classes_both_reach_the_corner_where_the_margin_is_largest() -> None:
    """The targeted attack has only a difference of logits to follow there."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(16, 2, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), head).eval()
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = model(x).argmax(1)
    toward = torch.where(y == 0, 1, -1).view(-1, 1) * (head.weight[1] - head.weight[0]).sign()
    corner = (x + 0.2 * toward.view_as(x)).clamp(0, 1)
    for attack in (apgd_ce, apgd_t):
        draws = torch.Generator().manual_seed(4)
        found = attack(model, x, y, epsilon=0.2, loss=LOSSES["ce"], generator=draws)
        assert torch.equal(fooled(model, found, y), fooled(model, corner, y))
        right = ~fooled(model, corner, y)
        torch.testing.assert_close(found[right], corner[right], rtol=0, atol=1e-9)


def test_a_start_or_a_generator_is_needed(network: nn.Module, few: Split) -> None:
    with pytest.raises(ValueError, match="needs a start or a generator"):
        apgd_ce(network, *few, epsilon=0.1, loss=LOSSES["ce"])
