"""A recorded step does what the step does, or is not used: here with a stand-in for CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from study.data import AUGMENTATIONS
from study.fused_training import train_together
from study.models import set_dropout_generator
from study.optimizers import SGD
from study.recorded_step import WARM_UP, CudaGraphs, Recorder, Work
from study.schedules import SCHEDULES
from study.training import Recipe, Run, TrainingState, train
from tests.study.fused import image_shape, model_of, same_bits
from tests.study.small import tensors

STEPS = 3  # of 50, 50 and 20 images: two of them full


class StandIn:
    """Records on a CPU: keeps the work and does it again, without having done it when it was recorded."""

    def __init__(self, networks: int | None = None) -> None:
        self.result = torch.zeros(() if networks is None else networks)
        self.recorded = self.replayed = self.warm = 0

    def warm_up(self, work: Work) -> Tensor:
        self.warm += 1
        return work()

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        self.recorded += 1

        def again() -> None:
            self.replayed += 1
            self.result.copy_(work())

        return again, self.result


class Refuses(StandIn):
    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


class Forgets(StandIn):
    """A recording that computes on the minibatch it was made with, and updates nothing."""

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        return lambda: None, self.result


def recipe(recorder: Recorder | None, epochs: int = 6, seed: int = 3) -> Recipe:
    return Recipe(
        learning_rate=0.05, batch_size=50, epochs=epochs, seed=seed, schedule=SCHEDULES["halve_every_5"],
        augmentation=AUGMENTATIONS["none"], recorder=recorder,
    )  # fmt: skip


def trained(recorder: Recorder | None, epochs: int = 6) -> tuple[torch.nn.Module, TrainingState]:
    model, data = model_of("stdcnn", 0), tensors()
    optimizer = SGD(model, learning_rate=0.05, momentum=0.9)
    state = train(
        model, optimizer, recipe(recorder, epochs), train=data.train, validation=data.validation,
        state=TrainingState(), set_dropout_generator=set_dropout_generator,
    )  # fmt: skip
    return model, state


def test_replayed_training_is_the_same_to_the_bit() -> None:
    recorder = StandIn()
    (model, state), (plain, its) = trained(recorder), trained(None)
    assert same_bits(model, plain)
    assert (state.history, state.steps, state.gradient_equivalents) == (
        its.history,
        its.steps,
        its.gradient_equivalents,
    )
    assert recorder.recorded == 2  # again where the schedule halves the rate
    full = 6 * (STEPS - 1)
    assert (recorder.warm, recorder.replayed) == (WARM_UP, full - WARM_UP)  # the last, smaller batch is never replayed


@pytest.mark.parametrize(
    ("recorder", "why"),
    [(Refuses(), "cannot be recorded: CUDA error: operation not permitted"), (Forgets(), "a replay differed")],
)
def test_a_recording_that_fails_or_errs_is_given_up_in_one_line(recorder: StandIn, why: str) -> None:
    with pytest.warns(RuntimeWarning, match="steps are not recorded") as warned:
        model, state = trained(recorder)
    assert len(warned) == 1 and why in str(warned[0].message) and "\n" not in str(warned[0].message)
    assert same_bits(model, trained(None)[0]) and state.steps == 6 * STEPS


def test_a_fused_program_is_recorded_like_a_single_step() -> None:
    def runs(recorder: Recorder | None) -> list[Run]:
        networks = [model_of("stdcnn", seed) for seed in range(2)]
        optimizers = [SGD(network, learning_rate=0.05, momentum=0.9) for network in networks]
        recipes = [recipe(recorder, epochs=3 + seed, seed=seed) for seed in range(2)]
        return [Run(*parts, TrainingState()) for parts in zip(networks, optimizers, recipes, strict=True)]

    data, recorder = tensors(), StandIn(networks=2)
    ours, plain = runs(recorder), runs(None)
    for either in (ours, plain):
        train_together(
            either, train=data.train, validation=data.validation, set_dropout_generator=set_dropout_generator
        )
    assert recorder.replayed == 3 * (STEPS - 1) - WARM_UP
    assert all(same_bits(a.model, b.model) for a, b in zip(ours, plain, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["m1_20", "stdcnn", "c1"])
def test_cuda_graphs_replay_what_eager_steps_do(name: str) -> None:
    x, y = torch.randint(256, (512, *image_shape(name)), dtype=torch.uint8).cuda(), torch.randint(10, (512,)).cuda()

    def weights(recorder: Recorder | None) -> list[Tensor]:
        model = model_of(name, 0).cuda()
        train(
            model, SGD(model, learning_rate=1e-3, momentum=0.9), recipe(recorder), train=(x, y),
            validation=(x[:9], y[:9]), state=TrainingState(), set_dropout_generator=set_dropout_generator,
        )  # fmt: skip
        return list(model.parameters())

    for graphed, eager in zip(weights(CudaGraphs()), weights(None), strict=True):
        torch.testing.assert_close(graphed, eager, rtol=1e-3, atol=1e-5)
