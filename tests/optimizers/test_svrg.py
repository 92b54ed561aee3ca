"""SVRG: exact at its snapshot, unbiased away from it, of small variance near it, and without effect on buffers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from study.models import set_dropout_generator
from study.optimizers.svrg import SVRG
from tests.optimizers.small import (
    BATCH,
    CLASSES,
    IMAGES,
    KINDS,
    RATE,
    assert_same_bits,
    batches,
    built,
    flat,
    gradient,
    images,
    network,
    step_direction,
    stream,
)  # fmt: skip

DOUBLE = torch.float64


def begun(model: nn.Module, roll: int = 0) -> SVRG:
    """SVRG with its snapshot at the model's weights, the masks of the steps about to come."""
    optimizer = SVRG(model, learning_rate=RATE)
    set_dropout_generator(model, stream(7))
    optimizer.begin_epoch(lambda: batches(DOUBLE, roll), stream())
    set_dropout_generator(model, stream(7))
    return optimizer


def test_masks_of_torchs_own_dropout_are_the_same_at_the_snapshot_and_at_the_weights() -> None:
    """With equal masks the two gradients of a step cancel at the snapshot, and the step is along g(snapshot)."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 30), nn.Dropout(0.5), nn.Linear(30, CLASSES))
    model.generator = []  # type: ignore[assignment]  # a module may call anything so
    model = model.to(DOUBLE)
    optimizer = SVRG(model, learning_rate=RATE)
    optimizer.begin_epoch(lambda: batches(DOUBLE, 0), stream())
    expected = torch.cat([g.flatten() for g in optimizer._full_gradient])
    torch.testing.assert_close(directions(model, optimizer)[0], expected)


def moved(model: nn.Module, distance: float) -> None:
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(distance * torch.randn(p.shape, generator=stream(20 + i), dtype=p.dtype))


def directions(model: nn.Module, optimizer: SVRG, roll: int = 0) -> Tensor:
    """v of each minibatch of an epoch, the weights standing still: (3, parameters)."""
    steps = [lambda x=x, y=y: optimizer.step(x, y) for x, y in batches(DOUBLE, roll)]
    return torch.stack([step_direction(model, step) for step in steps])


def full_gradient(model: nn.Module, roll: int = 0) -> Tensor:
    """Over the epoch's batches with the epoch's masks, every image alike."""
    set_dropout_generator(model, stream(7))
    total = sum(gradient(model, x, y) * len(y) for x, y in batches(DOUBLE, roll))
    return total / IMAGES  # type: ignore[operator, return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_snapshot_every_step_is_the_full_gradient(kind: str) -> None:
    model = network(kind, DOUBLE)
    expected = full_gradient(copy.deepcopy(model))
    optimizer = begun(model)
    for v in directions(model, optimizer):
        torch.testing.assert_close(v, expected, rtol=0, atol=1e-13)
    if kind == "plain":
        torch.testing.assert_close(expected, gradient(model, *images(DOUBLE)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_away_from_it_the_epochs_mean_by_image_is_the_full_gradient(kind: str) -> None:
    """With dropout and batch norm too: sum n_B g_B(snapshot) = N g(snapshot), masks and batches being the same."""
    model = network(kind, DOUBLE)
    optimizer = begun(model)
    moved(model, 0.3)
    v = directions(model, optimizer)
    sizes = torch.tensor([len(y) for _, y in batches()], dtype=DOUBLE)
    expected = full_gradient(model)
    torch.testing.assert_close(sizes @ v / IMAGES, expected, rtol=0, atol=1e-13)
    assert (v - expected).abs().max() > 1e-3  # single steps do differ


@pytest.mark.parametrize("position", [0, 2])
def test_a_step_is_unbiased_at_every_position_even_in_the_smaller_last_batch(position: int) -> None:
    """Over the rotations of the order every image comes as often to every place: the mean v is exact."""
    vs = []
    for roll in range(IMAGES):
        model = network("plain", DOUBLE)
        optimizer = begun(model, roll)
        moved(model, 0.3)
        x, y = batches(DOUBLE, roll)[position]
        vs.append(step_direction(model, lambda o=optimizer, x=x, y=y: o.step(x, y)))  # type: ignore[misc]
    assert len(batches()[2][1]) == IMAGES % BATCH
    torch.testing.assert_close(torch.stack(vs).mean(0), full_gradient(model), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_near_the_snapshot_the_variance_is_far_below_sgds_and_grows_with_distance(kind: str) -> None:
    def variances(distance: float) -> tuple[float, float]:
        model = network(kind, DOUBLE)
        optimizer = begun(model)
        moved(model, distance)
        ours = directions(model, optimizer).var(0).sum()
        set_dropout_generator(model, stream(7))
        sgds = torch.stack([gradient(model, x, y) for x, y in batches(DOUBLE)]).var(0).sum()
        return float(ours), float(sgds)

    near, sgd = variances(1e-3)
    assert near < 1e-3 * sgd
    assert 50 < variances(1e-2)[0] / near < 200  # the difference of gradients is linear in the distance


def test_the_passes_at_the_snapshot_do_not_change_running_statistics() -> None:
    ours, sgds = network("batch_norm"), network("batch_norm")
    optimizer = built("svrg", ours)
    optimizer.begin_epoch(batches, stream())
    assert_same_bits(ours, sgds)
    x, y = batches()[0]
    optimizer.step(x, y)
    built("sgd", sgds).step(x, y)
    for (name, buffer), expected in zip(ours.named_buffers(), sgds.buffers(), strict=True):
        assert torch.equal(buffer, expected), name


def test_a_step_draws_the_dropout_masks_of_one_pass() -> None:
    model, peer = network("dropout", DOUBLE), network("dropout", DOUBLE)
    optimizer = begun(model)
    set_dropout_generator(peer, generator := stream(7))
    for x, y in batches(DOUBLE):
        optimizer.step(x, y)
        peer(x)
    drawn = model[2].generator  # type: ignore[index]
    assert torch.equal(drawn.get_state(), generator.get_state())


def test_momentum_and_weight_decay_act_on_v_as_torchs() -> None:
    model = network("plain", DOUBLE)
    optimizer = SVRG(model, learning_rate=RATE, momentum=0.9, weight_decay=0.01)
    optimizer.begin_epoch(lambda: batches(DOUBLE), stream())
    snapshot, full = copy.deepcopy(model), full_gradient(model)
    theta, velocity = flat(model.parameters()), torch.zeros_like(full)
    for x, y in batches(DOUBLE):
        velocity = 0.9 * velocity + gradient(model, x, y) - gradient(snapshot, x, y) + full + 0.01 * theta
        theta = theta - RATE * velocity
        optimizer.step(x, y)
        torch.testing.assert_close(flat(model.parameters()), theta, rtol=0, atol=1e-13)


def test_frozen_and_unused_parameters_are_not_changed() -> None:
    model = network()
    model[1].requires_grad_(False)  # type: ignore[index]
    model.unused = nn.Parameter(torch.ones(2))  # type: ignore[assignment]
    before = copy.deepcopy(model.state_dict())
    optimizer = built("svrg", model)
    optimizer.begin_epoch(batches, stream())
    for x, y in batches():
        optimizer.step(x, y)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"4.weight", "4.bias"}
