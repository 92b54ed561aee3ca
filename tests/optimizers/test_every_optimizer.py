"""Properties of every entry of OPTIMIZERS, and of those that equal torch's."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from study.optimizers import OPTIMIZERS, Builder
from study.optimizers.multiplicative_noise import MultiplicativeNoise
from study.optimizers.selective_backprop import SelectiveBackprop
from study.results import checkpoints
from study.training.loop import TrainingState
from tests.optimizers.small import IMAGES, KINDS, RATE, assert_same_bits, batches, built, fit, network, stream

MOMENTUM = {name: 0.0 if name in ("adam", "adamw") else 0.9 for name in OPTIMIZERS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(name: str, kind: str) -> None:
    settings = {"momentum": MOMENTUM[name], "weight_decay": 0.01}
    whole = network(kind)
    whole_optimizer = built(name, whole, **settings)
    whole_state = fit(whole, whole_optimizer, 4)

    first = network(kind)
    first_optimizer = built(name, first, **settings)
    stored = checkpoints.state_to_bytes(first, first_optimizer, fit(first, first_optimizer, 2))
    resumed = network(kind)
    optimizer = built(name, resumed, **settings)
    state = fit(resumed, optimizer, 4, checkpoints.load_state(resumed, optimizer, stored))

    assert_same_bits(resumed, whole)
    assert state == whole_state
    assert state.steps == whole_optimizer.updates > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fresh_state_can_be_restored(name: str) -> None:
    one = network()
    optimizer = built(name, one)
    fresh = optimizer.state_dict()
    fit(one, optimizer, 1)
    assert optimizer.updates > 0
    optimizer.load_state_dict(fresh)
    assert (optimizer.updates, optimizer.gradient_equivalents) == (0, 0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_of_another_network_is_refused(name: str) -> None:
    model = network()
    stored = checkpoints.state_to_bytes(network("batch_norm"), built(name, model), TrainingState())
    with pytest.raises(ValueError, match="does not fit this trial"):
        checkpoints.load_state(model, built(name, model), stored)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_global_generator_is_not_used(name: str) -> None:
    before = torch.get_rng_state()
    fit(model := network("dropout"), built(name, model), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "settings", "peer"),
    [
        ("sgd", {"momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD),
        ("adam", {"weight_decay": 0.01}, torch.optim.Adam),
        ("adamw", {"weight_decay": 0.01}, torch.optim.AdamW),
        ("adamw", {"weight_decay": 0.5}, torch.optim.AdamW),
    ],
)
def test_equals_torch_to_the_bit(name: str, settings: dict[str, float], peer: type[torch.optim.Optimizer]) -> None:
    ours, theirs = network(), network()
    optimizer = built(name, ours, **settings)
    torchs = peer(theirs.parameters(), lr=RATE, fused=True, **settings)  # type: ignore[call-arg]
    for epoch in range(3):
        optimizer.learning_rate = torchs.param_groups[0]["lr"] = RATE / (epoch + 1)
        for x, y in batches():
            torchs.zero_grad()
            loss = F.cross_entropy(theirs(x), y)
            loss.backward()
            torchs.step()
            assert torch.equal(optimizer.step(x, y), loss.detach())
    assert_same_bits(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "variant",
    [partial(MultiplicativeNoise, sigma=0.0), partial(SelectiveBackprop, beta=0.0)],
    ids=["msgd", "selective_backprop"],
)
def test_without_noise_or_selectivity_it_is_sgd_to_the_bit(variant: Builder, kind: str) -> None:
    settings = {"learning_rate": RATE, "momentum": 0.9, "weight_decay": 0.01}
    ours, sgds = network(kind), network(kind)
    state = fit(ours, variant(ours, **settings), 3)
    assert state.steps == fit(sgds, built("sgd", sgds, **settings), 3).steps == 9
    assert_same_bits(ours, sgds)


@pytest.mark.parametrize(("name", "per_epoch"), [("sgd", 1), ("adam", 1), ("adamw", 1), ("msgd", 1), ("svrg", 3)])
def test_gradient_equivalents_of_an_epoch(name: str, per_epoch: int) -> None:
    """SVRG: one gradient of every image for the snapshot, two in the steps."""
    state = fit(model := network(), built(name, model), 2)
    assert (state.steps, state.gradient_equivalents) == (6, 2 * IMAGES * per_epoch)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_with_momentum_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"set momentum to 0, not 0\.9"):
        built(name, network(), momentum=0.9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_returned_loss_is_the_minibatchs_before_the_step(name: str) -> None:
    model = network()
    optimizer = built(name, model)
    optimizer.begin_epoch(batches, stream())
    x, y = batches()[0]
    expected = F.cross_entropy(model(x), y).detach()
    loss = optimizer.step(x, y)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)
