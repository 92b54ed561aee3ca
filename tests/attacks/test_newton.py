"""Newton directions against dense Hessians, and their limits where the Hessian or the gradient vanishes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from search_spaces.probe import LOSSES as SAME_DIRECTION
from study.attacks import ATTACKS
from study.attacks.l2 import l2grad
from study.attacks.linf import fgsm
from study.attacks.losses import LOSSES, input_gradient
from study.attacks.newton import fhsm, l2hess, newton_direction
from tests.attacks.test_attacks import images, linear_model

Split = tuple[Tensor, Tensor]
CONVERGED: dict[str, Any] = {"newton_steps": 100, "newton_tolerance": 1e-7}


def dense_newton_direction(head: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """Pseudo-inverse of W'(diag p - pp')W times W'(p - one-hot), by numpy."""
    weight = head.weight.detach()
    p = head(x.flatten(1)).detach().softmax(1)
    a = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    g = (p - one_hot(y, p.shape[1])) @ weight
    inverse = np.linalg.pinv((weight.T @ a @ weight).numpy(), rcond=1e-9, hermitian=True)
    return (torch.from_numpy(inverse) @ g.unsqueeze(2)).view_as(x)


def unit(direction: Tensor) -> Tensor:
    return nn.functional.normalize(direction.flatten(1), dim=1, eps=1e-300)


@pytest.mark.parametrize("loss", SAME_DIRECTION)
@pytest.mark.parametrize("n_classes", [2, 3, 5, 10])
def test_converged_it_is_the_pseudo_inverse_of_a_softmax_models_hessian_times_the_gradient(
    loss: str, n_classes: int
) -> None:
    model, head = linear_model(n_classes)
    x, y = images(30, n_classes)
    found = newton_direction(model, x, y, loss=LOSSES[loss], **CONVERGED)
    torch.testing.assert_close(unit(found), unit(dense_newton_direction(head, x, y)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", SAME_DIRECTION)
def test_attacks_step_along_the_sign_and_along_the_unit_vector_of_the_newton_direction(loss: str) -> None:
    model, head = linear_model(5)
    x, y = images(30, 5)
    direction = dense_newton_direction(head, x, y)
    settings = {"epsilon": 0.1, "loss": LOSSES[loss], **CONVERGED}
    clear = unit(direction).abs() > 1e-4  # the sign of the others is the solver's rounding
    expected = (x + 0.1 * direction.sign()).clamp(0, 1)
    assert torch.equal(fhsm(model, x, y, **settings).flatten(1)[clear], expected.flatten(1)[clear])
    expected = (x + 0.4 * unit(direction).view_as(x)).clamp(0, 1)
    torch.testing.assert_close(l2hess(model, x, y, **settings), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", SAME_DIRECTION)
def test_with_two_classes_the_newton_direction_is_the_gradient(loss: str) -> None:
    model, _ = linear_model(2)
    x, y = images(20, 2)
    settings = {"epsilon": 0.1, "loss": LOSSES[loss]}
    assert torch.equal(fhsm(model, x, y, **settings), fgsm(model, x, y, **settings))
    torch.testing.assert_close(l2hess(model, x, y, **settings), l2grad(model, x, y, **settings), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", SAME_DIRECTION)
@pytest.mark.parametrize("confidence", ["network", "confident"])
def test_one_newton_step_gives_the_first_order_attack_bit_for_bit(
    loss: str, confidence: str, few: Split, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(confidence)
    settings = {"epsilon": 0.1, "loss": LOSSES[loss]}
    assert torch.equal(fhsm(model, *few, **settings, newton_steps=1), fgsm(model, *few, **settings))
    assert torch.equal(l2hess(model, *few, **settings, newton_steps=1), l2grad(model, *few, **settings))


def hessian_product(model: nn.Module, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    x = x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x, create_graph=True)
    return torch.autograd.grad(g, x, v)[0]


@pytest.mark.parametrize("tolerance", [0.5, 0.1, 1e-3])
def test_the_residual_by_double_backward_is_below_the_tolerance(
    tolerance: float, network: nn.Module, few: Split
) -> None:
    network.double()
    x, y = few[0].double(), few[1]
    v = newton_direction(network, x, y, loss=LOSSES["ce"], newton_tolerance=tolerance, newton_steps=30)
    product, g = unit(hessian_product(network, x, y, v)), unit(input_gradient(network, x, y, LOSSES["ce"]))
    # v is known up to a factor; the best one leaves the sine of the angle between H v and g.
    sine = (product - (product * g).sum(1, keepdim=True) * g).norm(dim=1)
    assert 0 < float(sine.max()) < tolerance


def test_further_iterations_do_not_change_an_image_that_has_converged(network: nn.Module, few: Split) -> None:
    ten, hundred = (newton_direction(network, *few, loss=LOSSES["stable"], newton_steps=steps) for steps in (10, 100))
    assert torch.equal(ten, hundred)


def test_the_converged_direction_raises_the_margins_of_all_wrong_classes_alike() -> None:
    model, head = linear_model(5)
    x, y = images(30, 5)
    rise = newton_direction(model, x, y, loss=LOSSES["ce"], **CONVERGED).flatten(1) @ head.weight.detach().T
    margins = (rise - rise.gather(1, y[:, None])).scatter(1, y[:, None], torch.nan)
    spread = margins.nan_to_num(-torch.inf).amax(1) / margins.nan_to_num(torch.inf).amin(1)
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=1e-4)


def test_images_processed_in_pieces_get_the_same_directions(
    network: nn.Module, few: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.double()
    x, y = few[0][:50].double(), few[1][:50]
    whole = newton_direction(network, x, y, loss=LOSSES["stable"])
    monkeypatch.setattr("study.autograd.JACOBIAN_BYTES", 10**6)
    pieces = newton_direction(network, x, y, loss=LOSSES["stable"])
    torch.testing.assert_close(whole, pieces, rtol=1e-6, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ["l2grad", "fhsm", "l2hess"])
def test_the_stable_loss_on_saturated_images_attacks_as_float64_does(
    name: str, confident: nn.Module, few: Split
) -> None:
    x, y = few
    settings = {"epsilon": 0.1, "loss": LOSSES["stable"]}
    single = ATTACKS[name].run(confident, x, y, **settings)
    double = ATTACKS[name].run(confident.double(), x.double(), y, **settings)
    assert float(((single.double() - double).abs() > 1e-3).double().mean()) < 2e-3


@pytest.mark.parametrize("name", ["fgsm", "l2grad", "fhsm", "l2hess"])
def test_at_extreme_margins_cross_entropy_moves_nothing_and_the_stable_loss_still_raises_the_loss(name: str) -> None:
    model, head = linear_model(3)
    x, _ = images(20, 3)
    y = model(x).argmax(1)
    with torch.no_grad():
        head.weight.mul_(1e6), head.bias.mul_(1e6)  # margins of 1e5: 1 - p_y is 0 in float64 too
    extreme = ATTACKS[name].run(model, x, y, epsilon=0.1, loss=LOSSES["stable"])
    assert torch.equal(ATTACKS[name].run(model, x, y, epsilon=0.1, loss=LOSSES["ce"]), x)
    assert bool(extreme.isfinite().all()) and not torch.equal(extreme, x)
    assert bool((model(extreme).gather(1, y[:, None]) < model(x).gather(1, y[:, None])).all())


@pytest.mark.parametrize("name", ["l2grad", "fhsm", "l2hess"])
@pytest.mark.parametrize("loss", SAME_DIRECTION)
def test_an_image_without_a_gradient_is_not_moved_and_the_others_are(name: str, loss: str) -> None:
    model, _ = linear_model(3)
    gated = nn.Sequential(nn.Threshold(0.4, 0.0), model)  # constant on images of pixels below .4
    x, y = images(6, 3)
    x[::2] *= 0.3
    x_adv = ATTACKS[name].run(gated, x, y, epsilon=0.1, loss=LOSSES[loss])
    assert torch.equal(x_adv[::2], x[::2])
    assert bool((x_adv[1::2] != x[1::2]).flatten(1).any(dim=1).all())


class Quadratic(nn.Module):
    """Logits (x'x / 2, 0): a gradient of x and, at p = 1/2 (1 + tiny), a Hessian that is not J'AJ."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.flatten(1).square().sum(1) / 2
        return torch.stack([half, torch.zeros_like(half)], dim=1)


def test_a_network_that_is_not_piecewise_linear_gets_its_gauss_newton_direction() -> None:
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = newton_direction(Quadratic(), x, torch.zeros(5, dtype=torch.int64), loss=LOSSES["ce"], **CONVERGED)
    torch.testing.assert_close(unit(found), -unit(x))  # J'AJ is a multiple of xx'


@pytest.mark.parametrize("name", ["fgsm", "fgsm10", "l2grad", "fhsm", "l2hess"])
def test_adversarial_training_with_an_attack_makes_a_network_more_robust_to_it(
    name: str, network: nn.Module, digits: Split
) -> None:
    x, y = digits[0][:160], digits[1][:160]
    attack = {"epsilon": 0.1, "loss": LOSSES["stable"]}

    def robust_accuracy() -> float:
        with torch.no_grad():
            return float((network(x_adv).argmax(1) == y).double().mean())

    x_adv = ATTACKS[name].run(network, x, y, **attack)
    before = robust_accuracy()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for batch in torch.arange(160).split(32) * 4:
        optimizer.zero_grad()
        x_batch = ATTACKS[name].run(network, x[batch], y[batch], **attack)
        assert all(p.grad is None for p in network.parameters())
        cross_entropy(network(x_batch), y[batch]).backward()
        optimizer.step()
    x_adv = ATTACKS[name].run(network, x, y, **attack)
    assert robust_accuracy() > before + 0.05
