"""Accuracy of a network on a split under an attack: what the result holds, how it is batched, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.attacks import ATTACKS
from study.attacks.evaluate import (
    ON_CPU,
    ON_GPU,
    AttackResult,
    attack_split,
    bytes_per_image,
    images_at_once,
    measure_clean_gradient,
)
from study.attacks.losses import LOSSES
from study.models import build

Split = tuple[Tensor, Tensor]


@pytest.fixture
def split(few: Split) -> Split:
    """A hundred images held as bytes."""
    return (few[0] * 255).round().to(torch.uint8), few[1]


def attacked(model: nn.Module, x: Tensor, y: Tensor, *, attack: str = "pgd", batch_size: int = 512) -> AttackResult:
    draws = torch.Generator().manual_seed(7)
    loss = ATTACKS[attack].loss or "ce"
    return attack_split(model, x, y, attack=attack, loss=loss, epsilon=0.1, generator=draws, batch_size=batch_size)


def unpacked(result: AttackResult) -> Tensor:
    bits = np.unpackbits(np.frombuffer(result.correct_bits, "uint8"), count=result.n)
    return torch.from_numpy(bits.astype(bool))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_result_is_the_attack_scored_image_by_image(attack: str, network: nn.Module, split: Split) -> None:
    x, y = split
    result = attacked(network, x, y, attack=attack)
    draws = torch.Generator().manual_seed(7)
    x_adv = ATTACKS[attack].run(network, x.float() / 255, y, epsilon=0.1, loss=LOSSES["ce"], generator=draws)
    with torch.no_grad():
        expected = network(x_adv).argmax(1) == y
    assert torch.equal(unpacked(result), expected)
    assert (result.n, result.correct, result.accuracy) == (
        100,
        int(expected.sum()),
        int(expected.sum()) / 100,
    )
    assert len(result.correct_bits) == 13  # 100 bits in whole bytes
    assert 0 < result.accuracy < 1 and result.seconds > 0


def test_the_result_states_the_settings_of_the_attack(network: nn.Module, split: Split) -> None:
    pgd = attacked(network, *split, attack="pgd")
    assert (pgd.attack, pgd.loss, pgd.epsilon, pgd.norm) == ("pgd", "ce", 0.1, "linf")
    assert (pgd.steps, pgd.step_size, pgd.random_start) == (40, 0.1 / 30, True)
    fgsm = attacked(network, *split, attack="fgsm")
    assert (fgsm.norm, fgsm.steps, fgsm.step_size, fgsm.random_start) == ("linf", 1, 0.1, False)
    assert (fgsm.newton_steps, fgsm.newton_tolerance, fgsm.radius) == (None, None, 0.1)
    l2hess = attacked(network, *split, attack="l2hess")
    assert (l2hess.norm, l2hess.epsilon, l2hess.radius) == ("l2", 0.1, pytest.approx(0.1 * 28))  # sqrt of 784 pixels
    assert (l2hess.newton_steps, l2hess.newton_tolerance) == (10, 0.1)


def test_settings_reach_the_attack_and_the_result(network: nn.Module, split: Split) -> None:
    def result(attack: str, settings: dict[str, float]) -> AttackResult:
        draws = torch.Generator()
        return attack_split(network, *split, attack=attack, loss="ce", epsilon=0.1, generator=draws, settings=settings)

    one = result("fhsm", {"newton_steps": 1})
    assert (one.newton_steps, one.newton_tolerance) == (1, 0.1)
    assert one.correct_bits == result("fgsm", {}).correct_bits != result("fhsm", {}).correct_bits
    assert result("l2hess", {"newton_tolerance": 0.01}).newton_tolerance == 0.01
    twenty = result("pgd", {"steps": 20})
    assert (twenty.steps, twenty.step_size) == (20, 0.1 / 8)


@pytest.mark.parametrize("attack", ATTACKS)
def test_ragged_batches_equal_one_full_batch(attack: str, network: nn.Module, split: Split) -> None:
    # A matrix product rounds differently at another batch size; in float64 that is too little to change a sign.
    network.double()
    x, y = split[0][:40], split[1][:40]
    whole, *ragged = (attacked(network, x, y, attack=attack, batch_size=size) for size in (40, 7, 32))
    for result in ragged:
        assert dataclasses.replace(result, seconds=0) == dataclasses.replace(whole, seconds=0)


def test_bytes_and_their_pixels_give_the_same_result(network: nn.Module, split: Split) -> None:
    x, y = split[0][:40], split[1][:40]
    as_pixels = attacked(network, x.float() / 255, y)
    assert attacked(network, x, y).correct_bits == as_pixels.correct_bits


def test_a_float64_model_attacks_float32_pixels_and_bytes(network: nn.Module, test_split: Split) -> None:
    x, y = test_split[0][:50], test_split[1][:50]
    single = attacked(network, x, y, attack="fgsm")
    double = attacked(network.double(), x, y, attack="fgsm")
    assert abs(single.correct - double.correct) <= 1
    assert attacked(network, (x * 255).to(torch.uint8), y, attack="fgsm").n == 50


@pytest.mark.parametrize("loss", LOSSES)
def test_a_clean_gradient_measured_before_is_used(loss: str, network: nn.Module, split: Split) -> None:
    before = measure_clean_gradient(network, *split, loss=loss)
    draws = [torch.Generator().manual_seed(7) for _ in range(2)]
    given, measured = (
        attack_split(
            *(network, *split),
            attack="fgsm",
            loss=loss,
            epsilon=0.1,
            generator=generator,
            clean_gradient=clean_gradient,
        )
        for generator, clean_gradient in zip(draws, (before, None), strict=True)
    )
    assert dataclasses.replace(given, seconds=0) == dataclasses.replace(measured, seconds=0)


class BrightnessModel(nn.Module):
    """Class 0 with logit `gain` x (brightness above one half), so black images have no gradient at all."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        logit = self.gain * torch.relu(x.flatten(1).mean(1) - 0.5)
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


def bright_and_black(n_bright: int, n_black: int) -> Split:
    x = torch.cat([torch.full((n_bright, 1, 4, 4), 0.9), torch.zeros(n_black, 1, 4, 4)])
    return x, torch.zeros(len(x), dtype=torch.int64)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [3, 8])
def test_zero_gradients_are_counted_over_the_whole_split(loss: str, batch_size: int) -> None:
    model, split = BrightnessModel(gain=1.0).eval(), bright_and_black(n_bright=3, n_black=5)
    clean = measure_clean_gradient(model, *split, loss=loss, batch_size=batch_size)
    assert (clean.zero_fraction, clean.saturated_fraction) == (5 / 8, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_images_are_those_whose_probability_rounds_to_one_in_float32(dtype: torch.dtype) -> None:
    x, y = bright_and_black(n_bright=3, n_black=5)
    model = BrightnessModel(gain=75.0).eval()  # a margin of 30: 1 - p = 1e-13, 0 in float32 and not in float64
    clean = measure_clean_gradient(model, x.to(dtype), y, loss="stable")
    assert clean.saturated_fraction == 3 / 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"attack": "fgms"},
            f"unknown attack 'fgms'; valid: {', '.join(ATTACKS)}",
        ),
        ({"loss": "nll"}, "unknown loss 'nll'; valid: ce, stable, dlr"),
        ({"attack": "apgd_t"}, "apgd_t follows a loss of its own: pass loss='dlr', not 'ce'"),
        ({"epsilon": 8}, r"epsilon must be in \(0, 1\]"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"settings": {"newton_steps": 3}}, "fgsm takes no settings, not newton_steps"),
        ({"attack": "fhsm", "settings": {"steps": 3}}, "fhsm takes only newton_steps, newton_tolerance"),
        ({"attack": "fhsm", "settings": {"newton_steps": 0}}, "newton_steps must be a whole number of at least 1"),
        ({"attack": "fhsm", "settings": {"newton_steps": 1.5}}, "newton_steps must be a whole number"),
        ({"attack": "l2hess", "settings": {"newton_tolerance": 0}}, r"newton_tolerance must be in \(0, 1\)"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(changed: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"attack": "fgsm", "loss": "ce", "epsilon": 0.1}
    with pytest.raises(ValueError, match=message):
        attack_split(
            BrightnessModel(1.0).eval(),
            *bright_and_black(4, 4),
            generator=torch.Generator(),
            **{**arguments, **changed},  # type: ignore[arg-type]
        )


class NotFiniteInTheDark(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        brightness = x.flatten(1).mean(1)
        logit = torch.where(brightness > 0.3, brightness, brightness / 0)
        return torch.stack([logit, -logit], dim=1)


def test_logits_that_are_not_finite_anywhere_in_the_split_are_refused() -> None:
    x, y = bright_and_black(n_bright=40, n_black=5)
    with pytest.raises(ValueError, match="logits that are not finite"):
        attacked(NotFiniteInTheDark().eval(), x, y, attack="fgsm")


def test_as_many_images_are_attacked_at_a_time_as_the_memory_of_their_graphs_allows() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.rand(10, 1, 2, 2), torch.zeros(10, dtype=torch.int64)
    # Kept for backward: the input (4 floats), the hidden layer after ReLU (8), log-probabilities and label.
    assert 4 * (4 + 8 + 3) <= bytes_per_image(model, x, y) <= 4 * (4 + 8 + 2 * 3) + 8 + 8
    assert images_at_once(model, x, y) == ON_CPU.most
    for limits in (ON_CPU, ON_GPU):
        assert limits.images(2**40, x) == limits.least
        assert limits.images(1, x) == limits.most
        assert limits.images(2**40, torch.empty(0, 3, 224, 224)) == max(1, limits.least // 49)
    assert 16 < images_at_once(build_on_mnist("stdcnn"), torch.rand(40, 1, 28, 28), torch.zeros(40).long()) < 128


def build_on_mnist(name: str) -> nn.Module:
    return build(name, image_shape=(1, 28, 28), num_classes=10, generator=torch.Generator()).eval()


def test_attacks_and_scores_are_in_float32_whatever_the_caller_allows(network: nn.Module, split: Split) -> None:
    seen = []
    network.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    torch.set_float32_matmul_precision("medium")
    try:
        attacked(network, *split, attack="fgsm")
        for attack in ATTACKS.values():
            x, draws = split[0].float() / 255, torch.Generator()
            attack.run(network, x, split[1], epsilon=0.1, loss=LOSSES["ce"], generator=draws)
        assert set(seen) == {"highest"}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.gpu
def test_on_a_gpu_batches_are_large_for_small_networks_and_small_for_large_ones() -> None:
    x, y = torch.rand(40, 3, 32, 32), torch.zeros(40, dtype=torch.int64)
    small, large = (
        build(name, image_shape=(3, 32, 32), num_classes=10, generator=torch.Generator()).eval().cuda()
        for name in ("m1_20", "resnet18")
    )
    assert images_at_once(small, x, y) == ON_GPU.most
    assert images_at_once(large, x, y) == ON_GPU.least


@pytest.mark.gpu
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_a_gpu_fools_the_images_that_it_fools_on_a_cpu(
    attack: str, network: nn.Module, split: Split
) -> None:
    torch.backends.cudnn.allow_tf32 = True  # torch's default, which attacks must not use
    on_cpu = unpacked(attacked(network, *split, attack=attack))
    x, y = (part.cuda() for part in split)
    on_gpu = unpacked(attacked(network.cuda(), x, y, attack=attack))
    assert int((on_cpu != on_gpu).sum()) <= 1  # sums differ in their last bit


@pytest.mark.gpu
def test_random_starts_can_be_drawn_on_the_gpu(network: nn.Module, split: Split) -> None:
    x, y = (part.cuda() for part in split)
    draws = [torch.Generator("cuda").manual_seed(7) for _ in range(2)]
    first, again = (
        attack_split(network.cuda(), x, y, attack="pgd", loss="ce", epsilon=0.1, generator=generator)
        for generator in draws
    )
    assert first.correct_bits == again.correct_bits
    assert 0 < first.accuracy < 1
