"""A recorded step does what the step does, or is not used: here with a stand-in for CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from study.data import AUGMENTATIONS
from study.models import set_dropout_generator
from study.optimizers import SGD
from study.training.batched import train_together
from study.training.cuda_graph import WARM_UP, CudaGraphs, Recorder, Work
from study.training.loop import Recipe, Run, TrainingState, train
from study.training.precision import prepare
from study.training.schedules import SCHEDULES
from tests.training.networks import image_shape, model_of, same_bits
from tests.trials.small import tensors

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


class LeavesOut(StandIn):
    """A recording in which one network of several is not updated."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__(networks=2)
        self.network = network

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        again, result = super().record(work, generators)

        def wrong() -> None:
            before = [parameter.detach().clone() for parameter in self.network.parameters()]
            again()
            for parameter, value in zip(self.network.parameters(), before, strict=True):
                parameter.data.copy_(value)

        return wrong, result


@pytest.mark.parametrize(
    "rates", [(0.1, 0.0005), (1e30, 0.05)], ids=["beside a fast network", "beside a diverging one"]
)
def test_a_replay_must_be_right_for_every_network_by_itself(rates: tuple[float, float]) -> None:
    networks = [model_of("m1_8", seed) for seed in range(2)]
    recorder = LeavesOut(networks[1])
    runs = [
        Run(network, SGD(network, learning_rate=rate), replace(recipe(recorder), learning_rate=rate, batch_size=10),
            TrainingState())
        for network, rate in zip(networks, rates, strict=True)
    ]  # fmt: skip
    data = tensors()
    with pytest.warns(RuntimeWarning, match="steps are not recorded"):
        train_together(runs, train=data.train, validation=data.validation, set_dropout_generator=set_dropout_generator)
    assert not runs[1].state.replayed and "differed from its step" in runs[1].state.not_replayed
    alone = model_of("m1_8", 1)
    state = train(
        alone, SGD(alone, learning_rate=rates[1]), replace(runs[1].recipe, recorder=None), train=data.train,
        validation=data.validation, state=TrainingState(), set_dropout_generator=set_dropout_generator,
    )  # fmt: skip
    assert runs[1].state.history[-1].train_loss == pytest.approx(state.history[-1].train_loss, rel=1e-3)


def test_a_full_memory_is_not_a_recording_that_failed() -> None:
    class Full(StandIn):
        def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    with pytest.raises(torch.OutOfMemoryError):
        trained(Full())


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@on_a_gpu
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("arithmetic", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("name", ["m1_20", "stdcnn", "c1"])
def test_cuda_graphs_replay_what_eager_steps_do(name: str, arithmetic: str) -> None:
    x, y = torch.randint(256, (512, *image_shape(name)), dtype=torch.uint8).cuda(), torch.randint(10, (512,)).cuda()

    def run(recorder: Recorder | None) -> Run:
        model = prepare(model_of(name, 0).cuda(), arithmetic)
        rule = SGD(model, learning_rate=1e-3, momentum=0.9)
        one = Run(model, rule, replace(recipe(recorder), precision=arithmetic), TrainingState())
        train(
            model, rule, one.recipe, train=(x, y), validation=(x[:9], y[:9]), state=one.state,
            set_dropout_generator=set_dropout_generator,
        )  # fmt: skip
        return one

    graphed, eager = run(CudaGraphs()), run(None)
    assert graphed.state.replayed and graphed.state.steps == eager.state.steps
    for one, other in zip(graphed.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 if arithmetic == "float32" else 1e-2)


@on_a_gpu
@pytest.mark.parametrize("name", ["m1_20", "stdcnn", "c1"])
def test_networks_together_on_a_gpu_are_those_trained_alone_also_beside_a_diverging_one(name: str) -> None:
    x, y = torch.randint(256, (512, *image_shape(name)), dtype=torch.uint8).cuda(), torch.randint(10, (512,)).cuda()

    def runs() -> list[Run]:
        made = []
        for seed, rate in enumerate((1e-3, 1e30, 2e-3)):
            model = model_of(name, seed).cuda()
            rule, settings = SGD(model, learning_rate=rate, momentum=0.9), recipe(CudaGraphs(), seed=seed)
            made.append(Run(model, rule, replace(settings, learning_rate=rate), TrainingState()))
        return made

    fused, single = runs(), runs()
    few = x[:9], y[:9]
    train_together(fused, train=(x, y), validation=few, set_dropout_generator=set_dropout_generator)
    assert fused[1].state.diverged and not fused[1].state.history
    for seed in (0, 2):
        one, other = fused[seed], single[seed]
        train(
            other.model, other.optimizer, other.recipe, train=(x, y), validation=few, state=other.state,
            set_dropout_generator=set_dropout_generator,
        )  # fmt: skip
        assert one.state.replayed and one.state.history[-1].train_loss == pytest.approx(
            other.state.history[-1].train_loss, rel=1e-2
        )
