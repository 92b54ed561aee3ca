"""L2 attacks step a fixed Euclidean length and are clipped to the box."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from search_spaces.probe import LOSSES as SAME_DIRECTION
from study.attacks.l2 import l2_radius, l2_step_in_box, l2grad
from study.attacks.losses import LOSSES
from tests.attacks.test_attacks import images, linear_model


def test_the_radius_is_a_step_of_epsilon_in_every_pixel() -> None:
    assert l2_radius(0.1, 784) == pytest.approx(torch.full((784,), 0.1, dtype=torch.float64).norm().item())


@pytest.mark.parametrize("loss", SAME_DIRECTION)
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
def test_l2grad_on_a_softmax_model_moves_along_w_times_p_minus_one_hot(loss: str, epsilon: float) -> None:
    model, head = linear_model(3)
    x, y = images(20, 3)
    gradient = (model(x).softmax(1) - torch.nn.functional.one_hot(y, 3)) @ head.weight
    step = epsilon * math.sqrt(16) * gradient / gradient.norm(dim=1, keepdim=True)
    expected = (x + step.view_as(x)).clamp(0, 1)
    torch.testing.assert_close(l2grad(model, x, y, epsilon=epsilon, loss=LOSSES[loss]), expected, rtol=0, atol=1e-12)


def step_of(direction: Tensor, radius: float = 0.5) -> Tensor:
    x = torch.full_like(direction, 0.5)
    return l2_step_in_box(x, direction, radius) - x


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-30, 1.0, 1e200])
def test_a_step_inside_the_box_has_the_length_of_the_radius_whatever_the_scale(scale: float) -> None:
    direction = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    torch.testing.assert_close(step_of(direction).flatten(1).norm(dim=1), torch.full((5,), 0.5, dtype=torch.float64))


def test_an_image_with_a_zero_direction_is_not_moved_and_the_others_are() -> None:
    direction = torch.zeros(2, 1, 4, 4)
    direction[1, 0, 0, 0] = 1e-40
    step = step_of(direction)
    assert torch.equal(step[0], torch.zeros(1, 4, 4)) and float(step[1, 0, 0, 0]) == 0.5


def test_a_step_that_leaves_the_box_is_clipped() -> None:
    direction = torch.tensor([[[[3.0, -4.0]]]])
    torch.testing.assert_close(l2_step_in_box(torch.full_like(direction, 0.5), direction, 5.0), direction.clamp(0, 1))
