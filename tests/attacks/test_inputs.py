"""Mistakes that would give a plausible but meaningless accuracy are refused with a line that says what to do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from study.attacks.evaluate import attack_split
from study.attacks.inputs import check_epsilon, check_split


def small_model() -> nn.Module:
    layers = (
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    return nn.Sequential(*layers).eval()


def split() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, 1, 4, 4, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])


def test_valid_input_passes_with_values_at_both_ends() -> None:
    x, y = split()
    x[0], x[1] = 0.0, 1.0
    check_split(small_model(), x, y)
    check_split(small_model(), (255 * x).byte(), y)
    for epsilon in (1 / 255, 1):
        check_epsilon(epsilon)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x - 0.5, "put normalisation inside the model"),
        (lambda x: x + 0.5, "put normalisation inside the model"),
        (lambda x: x * 255, "put normalisation inside the model"),
        (lambda x: x.where(x != x[0, 0, 0, 0], math.nan), "must be finite"),
        (lambda x: x.where(x != x[0, 0, 0, 0], math.inf), "must be finite"),
        (lambda x: (x * 255).long(), "divide 8-bit pixels by 255"),
        (lambda x: x[:0], "x is empty"),
    ],
)
def test_images_that_are_not_pixels_are_refused(spoil, message: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    x, y = split()
    with pytest.raises(ValueError, match=message):
        check_split(small_model(), spoil(x), y)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 2, 0, 1, 3]), r"labels must be in 0\.\.2"),
        (torch.tensor([0, 1, 2, 0, 1, -1]), r"labels must be in 0\.\.2"),
        (torch.tensor([0, 1, 2, 0, 1]), r"labels must have shape \(6,\)"),
        (torch.eye(3).long().repeat(2, 1), r"labels must have shape \(6,\)"),
        (torch.zeros(6), r"labels must be int64"),
    ],
)
def test_labels_that_are_not_class_numbers_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_split(small_model(), split()[0], labels)


def test_a_single_layer_left_in_training_mode_is_refused_by_name() -> None:
    model = small_model()
    model.get_submodule("1").train()
    with pytest.raises(ValueError, match=r"training mode \(1\): call model\.eval\(\)"):
        check_split(model, *split())


class AlwaysDropout(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return dropout(super().forward(x), 0.5, training=True)


def test_a_model_that_is_random_in_eval_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="answers the same input differently"):
        check_split(AlwaysDropout(small_model()).eval(), *split())


def test_a_model_whose_weights_have_diverged_is_refused() -> None:
    model = small_model()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ValueError, match="weights have diverged"):
        check_split(model, *split())


@pytest.mark.parametrize("head", [nn.Linear(16, 1), nn.Sequential(nn.Linear(16, 3), nn.Unflatten(1, (3, 1)))])
def test_a_model_that_returns_no_row_of_logits_for_each_image_is_refused(head: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"must return logits \(n, classes\)"):
        check_split(nn.Sequential(nn.Flatten(), head).eval(), *split())


@pytest.mark.parametrize("epsilon", [0.0, -0.1, 1.01, 8, math.nan, math.inf])
def test_an_epsilon_outside_the_pixel_range_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match=r"epsilon must be in \(0, 1\]"):
        check_epsilon(epsilon)


def test_an_attack_on_a_split_checks_its_input(generator: torch.Generator) -> None:
    (x, y), model = split(), small_model()
    for arguments, epsilon, message in (
        ((small_model().train(), x, y), 0.1, "training mode"),
        ((model, x, y), 0.0, "epsilon"),
        ((model, 2 * x + 1, y), 0.1, "pixels"),
        ((model, (255 * x).long(), y), 0.1, "8-bit"),
        ((model, x[:0].byte(), y), 0.1, "empty"),
        ((model, x, y[:5]), 0.1, "labels"),
    ):
        with pytest.raises(ValueError, match=message):
            attack_split(*arguments, attack="pgd", epsilon=epsilon, loss="ce", generator=generator)


@pytest.mark.gpu
@pytest.mark.parametrize(("change", "refused"), [(1e-6, False), (1e-2, True)])
def test_on_a_gpu_two_passes_may_differ_by_rounding_alone(change: float, refused: bool) -> None:
    class Wavers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.passes = small_model(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            return self.inner(x) * (1 + change * self.passes)

    x, y = split()
    if refused:
        with pytest.raises(ValueError, match="answers the same input differently"):
            check_split(Wavers().eval().cuda(), x, y)
    else:
        check_split(Wavers().eval().cuda(), x, y)
