"""FGSM, FGSM10 and PGD equal their closed forms, and the properties that every attack must have."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.probe import LOSSES as SAME_DIRECTION
from study.attacks import ATTACKS
from study.attacks.linf import fgsm, fgsm10, linf_ball_in_box, pgd
from study.attacks.losses import LOSSES

AUTO_PGD = {"apgd_ce": 1, "apgd_t": 9}
"""The number of classes that each aims at, of ten."""

EPSILONS = [0.005, 0.03, 0.1, 0.3, 1.0]


def linear_model(n_classes: int, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(16, n_classes, dtype=dtype)
    return nn.Sequential(nn.Flatten(), head).eval(), head


def images(n: int, n_classes: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images with pixels at both ends of the box as well as inside it, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = (2 * torch.rand(n, 1, 4, 4, generator=generator, dtype=dtype) - 0.5).clamp(0, 1)
    return x, torch.randint(n_classes, (n,), generator=generator)


@pytest.mark.parametrize("loss", SAME_DIRECTION)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_fgsm_on_a_softmax_model_moves_along_the_sign_of_w_times_p_minus_one_hot(loss: str, epsilon: float) -> None:
    model, head = linear_model(3)
    x, y = images(20, 3)
    p_minus_one_hot = model(x).softmax(1) - nn.functional.one_hot(y, 3)
    direction = (p_minus_one_hot @ head.weight).sign().view_as(x)
    expected = (x + epsilon * direction).clamp(0, 1)
    assert torch.equal(fgsm(model, x, y, epsilon=epsilon, loss=LOSSES[loss]), expected)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_pgd_on_a_two_class_linear_model_ends_in_the_corner_of_fgsm(epsilon: float) -> None:
    model, _ = linear_model(2)
    x, y = images(20, 2)
    corner = fgsm(model, x, y, epsilon=epsilon, loss=LOSSES["ce"])
    reached = pgd(model, x, y, epsilon=epsilon, loss=LOSSES["ce"], random_start=False)
    torch.testing.assert_close(reached, corner, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [2, 20, 100])
def test_all_steps_but_the_published_forty_cross_the_ball(steps: int) -> None:
    """From the opposite corner the distance is 2 epsilon; the published steps travel 1.33 epsilon."""
    model, _ = linear_model(2)
    x, y = images(20, 2)
    corner = fgsm(model, x, y, epsilon=0.1, loss=LOSSES["ce"])

    def from_afar(steps: int) -> Tensor:
        return pgd(model, x, y, epsilon=0.1, loss=LOSSES["ce"], start=2 * x - corner, steps=steps)

    torch.testing.assert_close(from_afar(steps), corner, rtol=0, atol=1e-12)
    assert ATTACKS["pgd"].step_size(0.3, 40) == 0.01  # Madry's, on MNIST
    assert float((from_afar(40) - corner).abs().max()) > 0.05


def test_every_attack_runs_the_network_once_for_each_step() -> None:
    model, _ = linear_model(2)
    x, y = images(5, 2)
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    seen = {"fgsm": 1, "fgsm10": 10, "pgd": 40, "l2grad": 1, "fhsm": 1, "l2hess": 1}
    assert {*seen, *AUTO_PGD} == ATTACKS.keys()
    for name, steps in seen.items():
        calls.clear()
        ATTACKS[name].run(model, x, y, epsilon=0.1, loss=LOSSES["ce"], generator=torch.Generator())
        assert len(calls) == ATTACKS[name].steps == steps


@pytest.mark.parametrize("name", AUTO_PGD)
def test_auto_pgd_runs_the_network_101_times_for_each_target_and_once_before(name: str) -> None:
    model, _ = linear_model(10)
    x, _ = images(5, 10)
    calls: list[int] = []
    y = model(x).argmax(1)
    model.register_forward_hook(lambda *_: calls.append(1))
    x_adv = ATTACKS[name].run(model, x, y, epsilon=1e-6, loss=LOSSES["ce"], generator=torch.Generator())
    assert len(calls) == 1 + AUTO_PGD[name] * 101
    assert torch.equal(model(x_adv).argmax(1), y)  # else it ends early


def test_random_start_is_uniform_in_the_ball_and_clipped_to_the_box() -> None:
    model, _ = linear_model(2)
    x, y = torch.full((2000, 1, 4, 4), 0.5), torch.zeros(2000, dtype=torch.int64)
    x[:, :, 0] = 0.0

    def start() -> Tensor:
        draws = torch.Generator().manual_seed(3)
        return pgd(model, x, y, epsilon=0.2, loss=LOSSES["ce"], generator=draws, steps=0)

    inner = (start() - x)[:, :, 1:].flatten() / 0.2
    assert abs(float(inner.mean())) < 0.02 and abs(float(inner.square().mean()) - 1 / 3) < 0.01
    assert 0.49 < float((start()[:, :, 0] == 0).double().mean()) < 0.51  # half of the ball lies below 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_start_does_not_depend_on_how_the_images_are_cut_into_batches(dtype: torch.dtype) -> None:
    model, _ = linear_model(2, dtype)
    x, y = images(200, 2, dtype=dtype)

    def start(sizes: list[int]) -> Tensor:
        draws = torch.Generator().manual_seed(3)
        pieces = zip(x.split(sizes), y.split(sizes), strict=True)
        return torch.cat([pgd(model, *p, epsilon=0.2, loss=LOSSES["ce"], generator=draws, steps=0) for p in pieces])

    assert torch.equal(start([200]), start([1, 7, 64, 100, 28]))


def test_pgd_with_a_random_start_but_no_generator_says_what_to_pass() -> None:
    model, _ = linear_model(2)
    with pytest.raises(ValueError, match="needs a generator"):
        pgd(model, *images(5, 2), epsilon=0.1, loss=LOSSES["ce"])


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=10)
@given(epsilon=st.floats(0.001, 1.0), seed=st.integers(0, 2**32 - 1), loss=st.sampled_from(list(LOSSES)))
def test_every_attack_stays_in_the_ball_and_in_the_box(name: str, epsilon: float, seed: int, loss: str) -> None:
    model, _ = linear_model(3, torch.float32)
    x, y = images(6, 3, seed, torch.float32)
    draws = torch.Generator().manual_seed(seed)
    x_adv = ATTACKS[name].run(model, x, y, epsilon=epsilon, loss=LOSSES[loss], generator=draws)
    order = {"linf": math.inf, "l2": 2.0}[ATTACKS[name].norm]
    moved = torch.linalg.vector_norm((x_adv.double() - x.double()).flatten(1), ord=order, dim=1)
    assert float(moved.max()) <= ATTACKS[name].radius(epsilon, 16) + 1e-6
    assert float(x_adv.min()) >= 0 and float(x_adv.max()) <= 1
    if name in ("fgsm10", "pgd"):  # not even by rounding
        lower, upper = linf_ball_in_box(x, epsilon)
        assert bool((x_adv >= lower).all()) and bool((x_adv <= upper).all())
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype and not x_adv.requires_grad


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_fgsm10_is_ten_small_clipped_fgsm_steps(epsilon: float) -> None:
    model, _ = linear_model(3)
    x, y = images(20, 3)
    expected = x
    for _ in range(10):
        expected = fgsm(model, expected, y, epsilon=epsilon / 10, loss=LOSSES["ce"])
    torch.testing.assert_close(fgsm10(model, x, y, epsilon=epsilon, loss=LOSSES["ce"]), expected, rtol=0, atol=1e-12)
    assert ATTACKS["fgsm10"].step_size(epsilon, 10) == epsilon / 10


@settings(max_examples=50)
@given(epsilon=st.floats(0.001, 1.0), seed=st.integers(0, 2**32 - 1))
def test_clamping_to_the_bounds_is_the_nearest_point_of_ball_and_box(epsilon: float, seed: int) -> None:
    x, _ = images(4, 2, seed)
    point = x + 3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    lower, upper = linf_ball_in_box(x, epsilon)
    projected = point.clamp(lower, upper)
    in_two_steps = (x + (point - x).clamp(-epsilon, epsilon)).clamp(0, 1)  # as Madry's code does it
    torch.testing.assert_close(projected, in_two_steps, rtol=0, atol=1e-12)
    inside = lower + 0.3 * (upper - lower)
    assert bool(((projected - point) * (inside - projected) >= -1e-12).all())  # the obtuse angle of a projection


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_seed_gives_the_same_bits(name: str, network: nn.Module, test_split: tuple[Tensor, Tensor]) -> None:
    x, y = test_split[0][:32], test_split[1][:32]

    def attacked(seed: int) -> Tensor:
        draws = torch.Generator().manual_seed(seed)
        return ATTACKS[name].run(network, x, y, epsilon=0.1, loss=LOSSES["stable"], generator=draws)

    assert torch.equal(attacked(1), attacked(1))
    assert torch.equal(attacked(1), attacked(2)) != ATTACKS[name].random_start


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_leaves_model_images_and_global_randomness_as_they_were(
    name: str, network: nn.Module, test_split: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    x, y = test_split[0][:16].clone(), test_split[1][:16]
    parameters = list(network.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    before_x, before = x.clone(), copy.deepcopy(network.state_dict())
    flags = [p.requires_grad for p in parameters]
    random_state = torch.get_rng_state()

    ATTACKS[name].run(network, x, y, epsilon=0.1, loss=LOSSES["ce"], generator=generator)

    assert [p.requires_grad for p in parameters] == flags
    assert torch.equal(parameters[1].grad, torch.ones_like(parameters[1]))
    assert [i for i, p in enumerate(parameters) if p.grad is not None] == [1]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(x, before_x) and not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)


class MeanPixelModel(nn.Module):
    """No parameters, and a gradient that autograd returns as one expanded number."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, -total], dim=1)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_model_without_parameters_can_be_attacked(name: str, generator: torch.Generator) -> None:
    x, y = torch.full((4, 1, 4, 4), 0.5), torch.tensor([0, 1, 0, 1])
    x_adv = ATTACKS[name].run(MeanPixelModel().eval(), x, y, epsilon=0.25, loss=LOSSES["stable"], generator=generator)
    assert bool((x_adv[y == 0] < 0.5 + 1e-6).all()) and bool((x_adv[y == 1] > 0.5 - 1e-6).all())
