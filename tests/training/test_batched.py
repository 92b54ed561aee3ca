"""Networks trained as one program are the networks that each would have become alone."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from study.data import AUGMENTATIONS
from study.models import MODELS, set_dropout_generator
from study.optimizers import OPTIMIZERS, SGD
from study.training import streams
from study.training.batched import train_together
from study.training.loop import Recipe, Run, TrainingState, train
from study.training.schedules import SCHEDULES
from study.training.stacked import Replicas
from tests.training.networks import image_shape, model_of
from tests.trials.small import tensors

BATCH = 32


def run_of(model: str = "m1_8", seed: int = 0, rate: float = 0.05, momentum: float = 0.9, **changes: object) -> Run:
    settings: dict[str, object] = {
        "learning_rate": rate, "batch_size": BATCH, "epochs": 3, "seed": seed, "schedule": SCHEDULES["constant"],
        "augmentation": AUGMENTATIONS["none"], **changes,
    }  # fmt: skip
    network = model_of(model, seed)
    optimizer = SGD(network, learning_rate=rate, momentum=momentum, weight_decay=1e-3 * seed)
    return Run(network, optimizer, Recipe(**settings), TrainingState())  # type: ignore[arg-type]


def together(runs: list[Run], epochs: list[tuple[int, int]] | None = None) -> list[Run]:
    data = tensors()
    train_together(
        runs, train=data.train, validation=data.validation, set_dropout_generator=set_dropout_generator,
        on_epoch=lambda run: epochs.append((run.recipe.seed, run.state.epochs_done)) if epochs is not None else None,
    )  # fmt: skip
    return runs


def alone(run: Run) -> Run:
    data = tensors()
    train(
        run.model, run.optimizer, run.recipe, train=data.train, validation=data.validation, state=run.state,
        set_dropout_generator=set_dropout_generator,
    )  # fmt: skip
    return run


def assert_same(fused: Run, single: Run, rounding: float = 1e-4) -> None:
    for name, tensor in single.model.state_dict().items():
        torch.testing.assert_close(fused.model.state_dict()[name], tensor, rtol=rounding, atol=rounding, msg=name)
    for one, other in zip(fused.optimizer.moments(), single.optimizer.moments(), strict=True):
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding)
    ours, theirs = fused.state, single.state
    assert (ours.steps, ours.gradient_equivalents, ours.diverged, ours.reached_target) == (
        theirs.steps, theirs.gradient_equivalents, theirs.diverged, theirs.reached_target,
    )  # fmt: skip
    assert [(e.epoch, e.lr) for e in ours.history] == [(e.epoch, e.lr) for e in theirs.history]
    for mine, its in zip(ours.history, theirs.history, strict=True):
        assert mine.train_loss == pytest.approx(its.train_loss, rel=rounding)


def memory_order(tensor: Tensor) -> list[int]:
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_gradients_of_every_model_are_each_networks_own(name: str) -> None:
    models = [model_of(name, seed, torch.float64).train() for seed in range(2)]
    single = copy.deepcopy(models)
    replicas = Replicas(models)
    draws = [streams.generator(seed, "dropout") for seed in range(2)]
    set_dropout_generator(replicas.network, draws)
    x = torch.rand(2, 4, *image_shape(name), dtype=torch.float64, generator=streams.generator(0))
    y = torch.tensor([[0, 1, 2, 3], [9, 9, 0, 1]])
    losses = replicas.differentiate(x, y)
    for seed, network in enumerate(single):
        set_dropout_generator(network, streams.generator(seed, "dropout"))
        loss = nn.functional.cross_entropy(network(x[seed]), y[seed])
        loss.backward()
        assert losses[seed].item() == pytest.approx(loss.item(), rel=1e-12)
        fused = dict(models[seed].named_parameters())
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None and fused[key].grad is not None
            assert memory_order(fused[key].grad) == memory_order(parameter)  # torch's fused rule walks both along it
            torch.testing.assert_close(fused[key].grad, parameter.grad, rtol=1e-9, atol=1e-12, msg=key)
        for key, buffer in network.named_buffers():
            torch.testing.assert_close(dict(models[seed].named_buffers())[key], buffer, msg=key)


@pytest.mark.parametrize("model", ["m1_8", "stdcnn"])
@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_seeds_rates_momenta_and_schedules_train_side_by_side(model: str, augmentation: str) -> None:
    def runs() -> list[Run]:
        same = {"model": model, "augmentation": AUGMENTATIONS[augmentation]}
        return [
            run_of(seed=0, rate=0.05, momentum=0.0, **same),  # type: ignore[arg-type]
            run_of(seed=1, rate=0.02, momentum=0.9, **same),  # type: ignore[arg-type]
            run_of(seed=2, rate=0.03, momentum=0.5, schedule=SCHEDULES["halve_every_5"], epochs=7, **same),  # type: ignore[arg-type]
        ]

    for fused, single in zip(together(runs()), map(alone, runs()), strict=True):
        assert_same(fused, single)


def test_each_run_ends_at_its_own_target_and_tells_of_its_own_epochs() -> None:
    def runs() -> list[Run]:
        return [run_of(seed=0, epochs=2), run_of(seed=1, epochs=4, target_loss=10.0), run_of(seed=2, epochs=4)]

    epochs: list[tuple[int, int]] = []
    fused = together(runs(), epochs)
    assert [(run.state.epochs_done, run.state.reached_target) for run in fused] == [(2, None), (1, True), (4, None)]
    assert epochs == [(0, 1), (1, 1), (2, 1), (0, 2), (2, 2), (2, 3), (2, 4)]
    assert all(run.state.seconds > 0 for run in fused)
    for one, other in zip(fused, map(alone, runs()), strict=True):
        assert_same(one, other)


def test_a_diverging_run_hurts_no_other() -> None:
    def runs() -> list[Run]:
        return [run_of(seed=0), run_of(seed=1, rate=1e30), run_of(seed=2)]

    fused = together(runs())
    assert fused[1].state.diverged == "loss became nan in epoch 1" and fused[1].state.epochs_done == 0
    for one, other in list(zip(fused, map(alone, runs()), strict=True))[::2]:
        assert_same(one, other)
        assert math.isfinite(one.state.history[-1].train_loss)


def test_runs_at_different_epochs_go_on_side_by_side() -> None:
    first = run_of(seed=0, epochs=3)
    begun = alone(run_of(seed=1, epochs=1))
    begun.recipe = run_of(seed=1, epochs=3).recipe
    for fused, single in zip(together([first, begun]), [alone(run_of(seed=s, epochs=3)) for s in (0, 1)], strict=True):
        assert_same(fused, single)


def test_a_run_that_has_ended_holds_its_own_memory_only() -> None:
    runs = [run_of(seed=0, epochs=1), run_of(seed=1, epochs=2)]
    held: list[int] = []
    data = tensors()
    train_together(
        runs, train=data.train, validation=data.validation, set_dropout_generator=set_dropout_generator,
        on_epoch=lambda run: held.append(max(p.untyped_storage().nbytes() // p.nbytes for p in run.model.parameters())),
    )  # fmt: skip
    assert held == [2, 2, 1]  # slices of two, then of the one that is left
    for parameter in (p for run in runs for p in run.model.parameters()):
        assert parameter.untyped_storage().nbytes() == parameter.nbytes and parameter.grad is None


def test_what_cannot_be_one_program_is_refused() -> None:
    with pytest.raises(ValueError, match="one batch size and precision"):
        together([run_of(), run_of(batch_size=16)])
    with pytest.raises(ValueError, match="one architecture"):
        together([run_of(), run_of(model="m1_20")])
    noisy = run_of()
    noisy.optimizer = OPTIMIZERS["msgd"](noisy.model, learning_rate=0.1, momentum=0.0, weight_decay=0.0)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="plain SGD"):
        together([run_of(), noisy])
