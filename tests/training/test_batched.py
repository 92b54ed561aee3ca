"""Networks trained together become what each would have become alone; how many to batch is measured."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from study.data import AUGMENTATIONS
from study.models import set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import streams
from study.training.batched import GAIN, StackedNetworks, best_count, throughput
from study.training.loop import TrainingRun
from study.training.masks import DropoutMasks
from study.training.schedules import SCHEDULES
from tests.models.kinds import KINDS, shape_of
from tests.training.networks import model_of, run_of, trained, trained_together
from tests.trials.small import tensors


def assert_same(batched: TrainingRun, single: TrainingRun, rounding: float = 1e-4) -> None:
    for name, tensor in single.model.state_dict().items():
        torch.testing.assert_close(batched.model.state_dict()[name], tensor, rtol=rounding, atol=rounding, msg=name)
    for one, other in zip(batched.optimizer.moments(), single.optimizer.moments(), strict=True):  # type: ignore[attr-defined]
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding)
    ours, theirs = batched.state, single.state
    assert (ours.steps, ours.gradient_equivalents, ours.diverged, ours.reached_target) == (
        theirs.steps, theirs.gradient_equivalents, theirs.diverged, theirs.reached_target,
    )  # fmt: skip
    assert [(e.epoch, e.lr) for e in ours.history] == [(e.epoch, e.lr) for e in theirs.history]
    for mine, its in zip(ours.history, theirs.history, strict=True):
        assert mine.train_loss == pytest.approx(its.train_loss, rel=rounding)


def memory_order(tensor: Tensor) -> list[int]:
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_gradients_and_evaluation_of_every_model_are_each_networks_own(name: str) -> None:
    models = [model_of(name, seed, torch.float64).train() for seed in range(2)]
    single = copy.deepcopy(models)
    stacked = StackedNetworks(models)
    masks = DropoutMasks(stacked.template, shape_of(name), 4, [streams.generator(seed, "dropout") for seed in (0, 1)])
    x = torch.rand(2, 4, *shape_of(name), dtype=torch.float64, generator=streams.generator(0))
    y = torch.tensor([[0, 1, 2, 3], [9, 9, 0, 1]])
    losses = stacked.compute_gradients(x, y, masks.calls, tuple(masks.next(4)))
    pixels = torch.randint(256, (5, *shape_of(name)), dtype=torch.uint8, generator=streams.generator(1))
    labels = torch.tensor([3, 1, 4, 1, 5])
    together = stacked.evaluate(pixels, labels, "float32", at_once=3)
    for seed, network in enumerate(single):
        set_dropout_generator(network, streams.generator(seed, "dropout"))
        loss = nn.functional.cross_entropy(network(x[seed]), y[seed])
        loss.backward()
        assert losses[seed].item() == pytest.approx(loss.item(), rel=1e-12)
        for key, parameter in network.named_parameters():
            gradient = stacked.weights[key].grad
            assert parameter.grad is not None and gradient is not None
            assert memory_order(gradient[seed]) == memory_order(parameter)
            torch.testing.assert_close(gradient[seed], parameter.grad, rtol=1e-9, atol=1e-12, msg=key)
        for key, buffer in network.named_buffers():
            torch.testing.assert_close(dict(models[seed].named_buffers())[key], buffer, msg=key)
        logits = network.eval()(pixels.double() / 255)
        loss_found, accuracy = together[seed]
        assert loss_found == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-9)
        assert accuracy == (logits.argmax(1) == labels).double().mean()


def test_on_a_gpu_networks_are_stacked_in_the_memory_order_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    last, first = torch.channels_last, torch.contiguous_format
    monkeypatch.setattr(  # a CPU keeps a model's order
        "study.training.batched.prepare",
        lambda model, name: model.to(memory_format=first if name == "float32" else last),
    )
    stacked = StackedNetworks([model_of("c1", seed).to(memory_format=last) for seed in range(2)])
    assert all(weights.is_contiguous() for weights in stacked.weights.values())


@pytest.mark.parametrize("model", ["m1_8", "stdcnn"])
@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_seeds_rates_momenta_and_schedules_train_together(model: str, augmentation: str) -> None:
    def runs() -> list[TrainingRun]:
        augment, halve = AUGMENTATIONS[augmentation], SCHEDULES["halve_every_5"]
        return [
            run_of(model, seed=0, momentum=0.0, augmentation=augment),
            run_of(model, seed=1, learning_rate=0.02, weight_decay=1e-3, augmentation=augment),
            run_of(
                model,
                seed=2,
                learning_rate=0.03,
                momentum=0.5,
                weight_decay=2e-3,
                schedule=halve,
                epochs=7,
                augmentation=augment,
            ),
        ]

    for batched, single in zip(trained_together(runs()), map(trained, runs()), strict=True):
        assert_same(batched, single)


def test_each_run_ends_at_its_own_target_and_hooks_get_its_own_epochs() -> None:
    def runs() -> list[TrainingRun]:
        return [run_of(seed=0, epochs=2), run_of(seed=1, epochs=4, target_loss=10.0), run_of(seed=2, epochs=4)]

    epochs: list[tuple[int, int]] = []
    batched = trained_together(runs(), lambda run: epochs.append((run.recipe.seed, run.state.epochs_done)))
    assert [(run.state.epochs_done, run.state.reached_target) for run in batched] == [(2, None), (1, True), (4, None)]
    assert epochs == [(0, 1), (1, 1), (2, 1), (0, 2), (2, 2), (2, 3), (2, 4)]
    assert all(run.state.seconds > 0 for run in batched)
    for one, other in zip(batched, map(trained, runs()), strict=True):
        assert_same(one, other)


def test_a_diverging_run_does_not_affect_the_others() -> None:
    def runs() -> list[TrainingRun]:
        return [run_of(seed=0), run_of(seed=1, learning_rate=1e30), run_of(seed=2)]

    batched = trained_together(runs())
    assert batched[1].state.diverged == "loss became nan in epoch 1" and batched[1].state.epochs_done == 0
    for one, other in list(zip(batched, map(trained, runs()), strict=True))[::2]:
        assert_same(one, other)
        assert math.isfinite(one.state.history[-1].train_loss)


def test_runs_at_different_epochs_continue_together() -> None:
    resumed = trained(run_of(seed=1, epochs=1))
    resumed.recipe = run_of(seed=1, epochs=3).recipe
    batched = trained_together([run_of(seed=0), resumed])
    for seed, run in enumerate(batched):
        assert_same(run, trained(run_of(seed=seed)))


def test_a_finished_run_keeps_only_its_own_memory() -> None:
    held: list[int] = []
    runs = trained_together(
        [run_of(seed=0, epochs=1), run_of(seed=1, epochs=2)],
        lambda run: held.append(max(p.untyped_storage().nbytes() // p.nbytes for p in run.model.parameters())),
    )
    assert held == [2, 2, 1]  # slices of two networks, then of the one that is left
    for parameter in (p for run in runs for p in run.model.parameters()):
        assert parameter.untyped_storage().nbytes() == parameter.nbytes and parameter.grad is None


def test_runs_that_cannot_be_batched_are_refused() -> None:
    with pytest.raises(ValueError, match="one batch size and precision"):
        trained_together([run_of(), run_of(batch_size=16)])
    with pytest.raises(ValueError, match="one architecture"):
        trained_together([run_of(), run_of("m1_20")])
    noisy = run_of()
    noisy.optimizer = OPTIMIZERS["msgd"](noisy.model, learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    with pytest.raises(ValueError, match="plain SGD"):
        trained_together([run_of(), noisy])


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": 1},
        {"padding": "valid", "bias": False},
        {"stride": (2, 1), "padding": (0, 2)},
        {"padding": "same"},
        {"groups": 2},
        {"dilation": 2},
        {"padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_every_kind_of_convolution_can_be_stacked(settings: dict[str, object]) -> None:
    def networks() -> list[nn.Module]:
        return [nn.Conv2d(2, 4, (3, 2), **settings).double() for _ in range(2)]  # type: ignore[arg-type]

    models = networks()
    x = torch.rand(2, 3, 2, 7, 6, dtype=torch.float64)
    expected = torch.stack([model(images) for model, images in zip(models, x, strict=True)])
    torch.testing.assert_close(StackedNetworks(models).logits(x), expected)


def test_masks_drawn_in_advance_depend_on_the_network_alone() -> None:
    def masks(seeds: tuple[int, ...]) -> list[Tensor]:
        drawn = DropoutMasks(model_of("stdcnn"), (1, 28, 28), 4, [streams.generator(seed) for seed in seeds])
        drawn._minibatches = drawn._used = 3  # as on a GPU
        return [drawn.next(images)[0] for images in (4, 4, 2, 4)]

    together, alone = masks((0, 1)), masks((1,))
    assert [each.shape for each in together] == [(2, 4, 50), (2, 4, 50), (2, 2, 50), (2, 4, 50)]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one[1], other[0]) and not torch.equal(one[0], one[1])
        assert set(one.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("most", "rates", "best"),
    [
        (64, lambda n: min(n, 8.0), 8),  # linear up to eight, then saturated
        (6, lambda n: float(n), 6),
        (64, lambda n: 1.0, 1),  # a large network fills the device alone
        (64, lambda n: float(n) if n <= 4 else 0.0, 4),  # more do not fit
        (64, lambda n: (GAIN * 1.01) ** (n.bit_length() - 1), 64),
        (16, lambda n: {1: 10.0, 2: 6.0}.get(n, 3.0 * n), 16),  # one alone has faster kernels than two together
        (64, lambda n: float(n == 1), 1),  # two do not fit
        (1, lambda n: pytest.fail("nothing to choose"), 1),
    ],
)
def test_the_number_of_networks_doubles_while_it_pays(most: int, rates: object, best: int) -> None:
    assert best_count(most, rates) == best  # type: ignore[arg-type]


def test_throughput_is_positive_and_zero_without_enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run_of(seed=seed) for seed in range(2)]
    assert throughput(runs, tensors().train) > 0

    def full(*unused: object, **settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    monkeypatch.setattr("study.training.batched.StackedNetworks", full)
    assert throughput(runs, tensors().train) == 0
