"""Selective backprop: its selection rule, full batches from a queue, and a selection without side effects."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.optimizers.selective_backprop import SelectiveBackprop
from tests.optimizers.small import IMAGES, KINDS, RATE, assert_same_bits, batches, built, fit, network, stream


class _Scores(nn.Module):
    """Logits 0 and -pixel: the loss of class 1 is log(1 + exp(pixel)), which grows with the pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.trained_on: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.trained_on.append(x.flatten())
        return torch.stack([torch.zeros(len(x)), -x.flatten() * self.scale], dim=1)


def begun(optimizer: SelectiveBackprop, seed: int = 0) -> SelectiveBackprop:
    optimizer.begin_epoch(list, stream(seed))
    return optimizer


def pixels(values: Tensor) -> tuple[Tensor, Tensor]:
    return values[:, None, None, None], torch.ones(len(values), dtype=torch.int64)


def after_first_epoch(history: Tensor, beta: float, size: int = 1024) -> tuple[_Scores, SelectiveBackprop]:
    """With learning rate 0 the losses do not change. The history holds the losses of these pixels."""
    model = _Scores()
    optimizer = begun(SelectiveBackprop(model, learning_rate=0.0, beta=beta, history=size))
    optimizer.step(*pixels(history))
    optimizer.end_epoch()
    model.trained_on.clear()
    return model, begun(optimizer)


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_selection_probability_is_the_fraction_of_lower_losses_to_the_power_beta(beta: float) -> None:
    n = 4000
    grid = torch.linspace(0, 1, n)
    model, optimizer = after_first_epoch(grid, beta, size=n)
    shuffled = grid[torch.randperm(n, generator=stream(1))]
    optimizer.step(*pixels(shuffled))
    optimizer.end_epoch()
    selected = torch.cat(model.trained_on)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = int(((selected >= low) & (selected < low + 0.25)).sum())
        p = ((low + 0.25) ** (beta + 1) - low ** (beta + 1)) / (beta + 1) / 0.25  # the mean of u^beta over the bin
        assert abs(inside / (n / 4) - p) < 5 * (p * (1 - p) / (n / 4)) ** 0.5 + 1 / n


def test_the_lowest_loss_and_ties_at_the_bottom_are_never_selected() -> None:
    model, optimizer = after_first_epoch(torch.ones(50), beta=1.0)
    optimizer.step(*pixels(torch.ones(50)))
    optimizer.end_epoch()
    assert model.trained_on == []
    assert optimizer.updates == 1


def test_the_history_holds_the_newest_losses() -> None:
    """After ten high losses, the older low ones are forgotten."""
    _, optimizer = after_first_epoch(torch.zeros(30), beta=1.0, size=10)
    optimizer.step(*pixels(torch.full((10,), 5.0)))
    history = optimizer.state_dict()["history"]
    torch.testing.assert_close(history, F.softplus(torch.full((10,), 5.0)))


def test_selected_images_wait_for_a_full_batch_and_the_rest_is_one_smaller_step() -> None:
    model, optimizer = after_first_epoch(torch.rand(16, generator=stream(3)), beta=1.0)
    steps_before = optimizer.updates
    incoming = torch.rand(40, 16, generator=stream(4))
    for values in incoming:
        optimizer.step(*pixels(values))
    full = [len(batch) for batch in model.trained_on]
    optimizer.end_epoch()
    sizes = [len(batch) for batch in model.trained_on]
    assert full == [16] * len(full)
    assert len(full) > 5
    assert 0 < sizes[-1] < 16
    assert sizes[:-1] == full
    assert optimizer.updates - steps_before == len(sizes)
    # In the order in which they came, none twice.
    order = [incoming.flatten().tolist().index(v) for v in torch.cat(model.trained_on).tolist()]
    assert order == sorted(set(order))


def test_the_first_epoch_equals_sgd() -> None:
    ours, sgds = network("dropout"), network("dropout")
    assert fit(ours, built("selective_backprop", ours), 1) == fit(sgds, built("sgd", sgds), 1)
    assert_same_bits(ours, sgds)


@pytest.mark.parametrize("kind", KINDS)
def test_selecting_draws_no_dropout_mask_and_changes_no_running_statistic(kind: str) -> None:
    model = network(kind)
    optimizer = SelectiveBackprop(model, learning_rate=RATE, beta=1e9)  # after the first epoch it selects nothing
    fit(model, optimizer, 1)
    before, masks = copy.deepcopy(model), copy.deepcopy([m.generator.get_state() for m in _dropouts(model)])
    begun(optimizer)
    for x, y in batches():
        loss = optimizer.step(x, y)
        torch.testing.assert_close(loss, F.cross_entropy(before.eval()(x), y).detach())
    optimizer.end_epoch()
    assert_same_bits(model, before)
    assert all(torch.equal(m.generator.get_state(), s) for m, s in zip(_dropouts(model), masks, strict=True))
    assert model.training


def _dropouts(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, "generator")]


def test_gradient_equivalents_are_a_third_for_each_image_and_one_for_each_selected_image() -> None:
    model = network()
    fed: list[int] = []
    model.register_forward_pre_hook(lambda m, args: fed.append(len(args[0])) if m.training else None)
    optimizer = built("selective_backprop", model)
    fit(model, optimizer, 4)
    assert sum(fed[:3]) == IMAGES
    assert sum(fed) < 4 * IMAGES
    assert optimizer.updates == len(fed)
    assert optimizer.gradient_equivalents == pytest.approx(sum(fed) + 3 * IMAGES / 3)
