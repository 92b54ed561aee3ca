"""The smallest perturbation found: closed form on a linear model, FMN and a grid of strong attacks on a network."""

from __future__ import annotations

import math

import foolbox
import pytest
import torch
from torch import Tensor, nn

from study.attacks.linf import pgd
from study.attacks.losses import LOSSES
from study.attacks.minimal_epsilon import RESOLUTION, minimal_epsilon

Split = tuple[Tensor, Tensor]


def test_on_a_linear_model_it_is_the_distance_to_the_boundary() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(16, 2)
    model = nn.Sequential(nn.Flatten(), head).eval()
    x = 0.4 + 0.2 * torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))  # far from the box
    with torch.no_grad():
        head.bias -= model(x).mean(0)  # about half of the images on each side
        logits = model(x)
        distance = (logits[:, 0] - logits[:, 1]).abs() / (head.weight[0] - head.weight[1]).abs().sum()
    found = minimal_epsilon(model, x, logits.argmax(1))
    assert float(distance.max()) < 0.4
    assert bool((found >= distance * (1 - 1e-5)).all())
    assert bool((found <= distance * (RESOLUTION + 1e-3)).all())


def test_it_is_zero_for_a_clean_error_and_infinite_where_nothing_fools(network: nn.Module, few: Split) -> None:
    x, _ = few
    wrong = (network(x).argmax(1) + 1) % 10
    assert minimal_epsilon(network, x, wrong).tolist() == [0.0] * 100

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.flatten(1)[:, :3] + torch.tensor([1.0, 0.0, 0.0])

    assert minimal_epsilon(Constant().eval(), x, torch.zeros(100, dtype=torch.int64)).tolist() == [math.inf] * 100


@pytest.mark.parametrize("pixel", [0.0, 0.5, 0.9])
def test_an_image_on_the_boundary_is_settled(pixel: float) -> None:
    """Its logits tie, so that the first class is predicted, and any step towards the other fools."""
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    model = nn.Sequential(nn.Flatten(), head).eval()
    found = minimal_epsilon(model, torch.full((1, 1, 1, 2), pixel), torch.tensor([0]))
    assert 0 <= float(found) <= 1e-6


def test_a_boundary_nearer_than_the_resolution_of_a_pixel_is_found() -> None:
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.copy_(torch.tensor([3e-6, 0.0]))
    model = nn.Sequential(nn.Flatten(), head).eval()
    x = torch.linspace(0.5, 0.99, 200).reshape(-1, 1, 1, 1).expand(-1, 1, 1, 2)
    found = minimal_epsilon(model, x, torch.zeros(200, dtype=torch.int64))
    assert bool((found < 1e-5).all())


def test_bytes_and_batches_give_the_same(network: nn.Module, few: Split) -> None:
    network.double()
    x, y = (few[0] * 255).round().to(torch.uint8)[:40], few[1][:40]
    whole = minimal_epsilon(network, x, y)
    torch.testing.assert_close(minimal_epsilon(network, x, y, batch_size=7), whole, rtol=1e-9, atol=0)
    torch.testing.assert_close(minimal_epsilon(network, x.double() / 255, y), whole, rtol=1e-9, atol=0)


@pytest.mark.parametrize("which", ["network", "confident"])
def test_it_is_no_worse_than_fmn_and_a_grid_of_strong_attacks(
    which: str, few: Split, request: pytest.FixtureRequest
) -> None:
    model: nn.Module = request.getfixturevalue(which)
    x, y = few
    found = minimal_epsilon(model, x, y)
    right = found > 0
    peer = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    clipped = foolbox.attacks.LInfFMNAttack(steps=200)(peer, x, y, epsilons=None)[1]
    fmn = torch.where(model(clipped).argmax(1) != y, (clipped - x).abs().flatten(1).amax(1), math.inf)
    grid = torch.full_like(found, math.inf)
    for epsilon in torch.logspace(math.log10(0.3), math.log10(0.005), 15).tolist():
        corner = pgd(model, x, y, epsilon=epsilon, loss=LOSSES["stable"], steps=50, random_start=False)
        grid[model(corner).argmax(1) != y] = epsilon
    for other in (fmn, grid):
        assert float(found[right].median()) <= 1.02 * float(other[right].median())
        assert float((found[right] / other[right]).median()) <= 1.02
    assert bool(right.any() and found.isfinite().all())


def test_logits_that_are_not_finite_beyond_the_first_images_are_refused(few: Split) -> None:
    class Dark(nn.Module):
        """No finite logits for a black image, of which the checks see none among the first 32."""

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] + x.flatten(1).sum(1, keepdim=True).log().clamp(max=0.0)

    x, y = few[0].clone(), torch.zeros(100, dtype=torch.int64)
    x[-1], y[-1] = 0, 1
    with pytest.raises(ValueError, match="not finite"):
        minimal_epsilon(Dark().eval(), x, y)


def test_the_images_of_a_split_are_checked(network: nn.Module, few: Split) -> None:
    with pytest.raises(ValueError, match="training mode"):
        minimal_epsilon(network.train(), *few)
