"""A fingerprint changes with a model's function, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.models import fingerprint, same_function
from study.models.fingerprint import of_network

SHAPE = (1, 6, 6)


class Residual(nn.Module):
    """A branch whose last layer starts at 0, as in ReZero; `slope` is of its activation."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.branch, self._slope = nn.Linear(8, 8), slope
        nn.init.zeros_(self.branch.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.leaky_relu(self.branch(x), self._slope)


def network(
    *,
    width: int = 8,
    between: Callable[[], nn.Module] = nn.ReLU,
    gain: float = 1.0,
    seed: int = 0,
    scale: float = 1.0,
    last: type[nn.Module] = nn.Identity,
) -> nn.Module:
    torch.manual_seed(seed)
    first = nn.Linear(36, width)
    with torch.no_grad():
        first.weight.mul_(scale)
    return nn.Sequential(
        nn.Flatten(), first, nn.BatchNorm1d(width), between(), nn.Dropout(0.2 * gain), last(), nn.Linear(width, 3)
    )


def of(**changes: object) -> str:
    with torch.random.fork_rng():
        return of_network(network(**changes), SHAPE)  # type: ignore[arg-type]


def test_the_same_function_has_the_same_fingerprint() -> None:
    assert of() == of()
    assert same_function(of(), of(seed=1)), "other draws of the same initialization are no other function"


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 9},
        {"between": nn.Tanh},
        {"between": lambda: nn.LeakyReLU(0.01)},
        {"between": lambda: Residual(0.0)},
        {"gain": 2.0},
        {"scale": 2.0},
        {"last": nn.Softplus},
    ],
    ids=["width", "activation", "slope", "a branch that starts at 0", "rate of dropout", "initialization", "layer"],
)
def test_a_change_is_noticed(changes: dict[str, object]) -> None:
    assert not same_function(of(), of(**changes))


def test_a_branch_that_starts_at_zero_is_seen() -> None:
    assert not same_function(of(between=lambda: Residual(0.0)), of(between=lambda: Residual(0.5)))


def test_rounding_of_another_processor_is_no_change() -> None:
    """Weights and answers in float64, as if every float32 product were rounded otherwise."""
    digest, *numbers = of().split()
    with torch.random.fork_rng():
        exact = of_network(network().double(), SHAPE).split()
    assert numbers != exact[1:]
    assert same_function(" ".join([digest, *numbers]), " ".join([digest, *exact[1:]]))


def test_answers_that_are_not_finite_are_equal() -> None:
    assert same_function("a 1 nan 2", "a 1 nan 2")
    assert not same_function("a 1 nan 2", "a 1 3 2")
    assert same_function("a 1 nan nan", "a 1 nan nan")


@pytest.mark.parametrize("text", ["", "a", "a b c", "a 1 2 3"])
def test_other_text_is_no_fingerprint_of_a_network(text: str) -> None:
    assert not same_function(text, of())


def test_it_leaves_random_numbers_and_threads_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = fingerprint("stdcnn", image_shape=(1, 28, 28), num_classes=10)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert first != fingerprint("stdcnn", image_shape=(1, 28, 28), num_classes=3)
