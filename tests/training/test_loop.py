"""Training: plain SGD in closed form, the schedule, and nothing changed that is not ours."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from study.data import AUGMENTATIONS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import streams
from study.training.evaluation import evaluate
from study.training.loop import Epoch, Recipe, TrainingState, train
from study.training.schedules import SCHEDULES
from tests.trials.small import tensors


def model_of(seed: int = 0, name: str = "m1_8") -> nn.Module:
    return build(name, image_shape=(1, 28, 28), num_classes=10, generator=streams.generator(seed, "initialization"))


def run(model: nn.Module, **changes: object) -> TrainingState:
    settings: dict[str, object] = {
        "learning_rate": 0.05, "batch_size": 32, "epochs": 3, "seed": 0, "schedule": SCHEDULES["constant"],
        "augmentation": AUGMENTATIONS["none"], **changes,
    }  # fmt: skip
    recipe = Recipe(**settings)  # type: ignore[arg-type]
    data = tensors()
    return train(
        model,
        OPTIMIZERS["sgd"](model, learning_rate=recipe.learning_rate, momentum=0.9),
        recipe,
        train=data.train,
        validation=data.validation,
        state=TrainingState(),
        set_dropout_generator=set_dropout_generator,
    )


def test_equals_a_hand_written_loop_to_the_bit() -> None:
    ours, theirs = model_of(), model_of()
    run(ours)
    x, y = tensors().train
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, fused=True)
    for epoch in range(3):
        order = torch.randperm(len(y), generator=streams.generator(0, "order", epoch))
        for start in range(0, len(y), 32):
            batch = order[start : start + 32]
            optimizer.zero_grad()
            F.cross_entropy(theirs(x[batch].float() / 255), y[batch]).backward()
            optimizer.step()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_one_full_batch_step_is_one_gradient_step() -> None:
    model = model_of()
    before = copy.deepcopy(model)
    run(model, batch_size=120, epochs=1, learning_rate=0.1)
    x, y = tensors().train
    gradient = torch.autograd.grad(F.cross_entropy(before(x.float() / 255), y), list(before.parameters()))
    for new, old, g in zip(model.parameters(), before.parameters(), gradient, strict=True):
        torch.testing.assert_close(new, old - 0.1 * g, rtol=1e-4, atol=1e-7)


def test_steps_count_the_ragged_batch_and_history_has_every_epoch() -> None:
    state = run(model_of(), batch_size=50, epochs=2)
    assert state.steps == 2 * 3
    assert [e.epoch for e in state.history] == [1, 2]


def test_the_benchmark_halves_the_rate_after_every_fifth_epoch() -> None:
    state = run(model_of(), epochs=11, schedule=SCHEDULES["halve_every_5"], learning_rate=0.04)
    assert [e.lr for e in state.history] == [0.04] * 5 + [0.02] * 5 + [0.01]


def test_choudharys_schedules() -> None:
    halved, tenth = SCHEDULES["halve_every_10"], SCHEDULES["tenth_at_60"]
    assert [halved(0.1, epoch) for epoch in (0, 9, 10, 19, 20, 99)] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.1 * 0.5**9]
    assert [tenth(0.1, epoch) for epoch in (0, 59, 60, 99)] == [0.1, 0.1, pytest.approx(0.01), pytest.approx(0.01)]


def test_a_huge_rate_diverges_and_says_in_which_epoch() -> None:
    state = run(model_of(), learning_rate=1e6)
    assert state.diverged.startswith("loss became")
    assert "in epoch" in state.diverged


def test_training_stops_at_the_target_loss() -> None:
    state = run(model_of(), epochs=50, target_loss=1.5)
    assert state.reached_target
    assert state.epochs_done < 50
    assert run(model_of(), epochs=1, target_loss=1e-9).reached_target is False


def test_data_and_global_random_state_are_left_alone() -> None:
    before, data = torch.get_rng_state(), tensors().train[0].clone()
    run(model_of(name="stdcnn"), augmentation=AUGMENTATIONS["crop_flip"])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(tensors().train[0], data)


def test_evaluation_does_not_depend_on_chunks_and_leaves_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name="stdcnn").train()
    x, y = tensors().train
    set_dropout_generator(model, streams.generator(0))
    whole = evaluate(model, x, y)
    monkeypatch.setattr("study.training.evaluation.CHUNK", 7)
    pieces = evaluate(model, x, y)
    assert whole.accuracy == pieces.accuracy
    assert whole.loss == pytest.approx(pieces.loss, rel=1e-6)
    assert model.training


def test_streams_are_named_and_independent_of_order() -> None:
    def draw(*name: object) -> float:
        return float(torch.rand((), generator=streams.generator(*name)))  # type: ignore[arg-type]

    assert draw(0, "order", 1) == draw(0, "order", 1)
    assert len({draw(0, "order", 1), draw(0, "order", 2), draw(1, "order", 1), draw(0, "dropout", 1)}) == 4


def test_state_survives_plain_values() -> None:
    state = TrainingState(steps=3, history=[Epoch(1, 0.1, 2.0, 0.5)])
    assert TrainingState.from_dict(state.to_dict()) == state
