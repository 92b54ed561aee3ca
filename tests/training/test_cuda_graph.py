"""A replayed step does what the eager step does, or is not used: here with a stand-in for CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from study.training.batched import train_batched
from study.training.cuda_graph import WARM_UP_STEPS, CudaGraphs, Work, _capture_stream
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import TrainingRun, train
from study.training.precision import prepare
from study.training.schedules import SCHEDULES
from tests.models.kinds import shape_of
from tests.training.networks import model_of, run_of, same_bits, trained, trained_together

STEPS = 3  # an epoch's minibatches: 50, 50 and 20 images, of which two are full
Captured = tuple[Callable[[], None], Tensor]


class StandIn(CudaGraphs):
    """Captures on a CPU: keeps the work and does it at every replay, but not at the capture."""

    def __init__(self, networks: int | None = None) -> None:
        self.result = torch.zeros(() if networks is None else networks)
        self.captured = self.replayed = self.warm = 0

    def warm_up(self, work: Work) -> Tensor:
        self.warm += 1
        return work()

    def capture(self, work: Work) -> Captured:
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            self.result.copy_(work())

        return replay, self.result


class Refuses(StandIn):
    def capture(self, work: Work) -> Captured:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


class Forgets(StandIn):
    """A graph that computes nothing."""

    def capture(self, work: Work) -> Captured:
        return lambda: None, self.result


class LeavesOut(StandIn):
    """A graph in which one of two networks is not updated."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(networks=2)
        self.network = network

    def capture(self, work: Work) -> Captured:
        replay, result = super().capture(work)

        def wrong_replay() -> None:
            before = [parameter.detach().clone() for parameter in self.network.parameters()]
            replay()
            for parameter, value in zip(self.network.parameters(), before, strict=True):
                parameter.data.copy_(value)

        return wrong_replay, result


def graphed(graphs: CudaGraphs | None, model: str | nn.Module = "stdcnn", **settings: object) -> TrainingRun:
    changed = {"batch_size": 50, "epochs": 6, "schedule": SCHEDULES["halve_every_5"], "graphs": graphs, **settings}
    return run_of(model, **changed)  # type: ignore[arg-type]


def test_replayed_training_is_the_same_to_the_bit() -> None:
    graphs = StandIn()
    ours, eager = trained(graphed(graphs)), trained(graphed(None))
    assert same_bits(ours.model, eager.model)
    assert (ours.state.history, ours.state.steps, ours.state.gradient_equivalents) == (
        eager.state.history,
        eager.state.steps,
        eager.state.gradient_equivalents,
    )
    assert graphs.captured == 2  # again where the schedule halves the rate
    full = 6 * (STEPS - 1)
    assert (graphs.warm, graphs.replayed) == (WARM_UP_STEPS, full - WARM_UP_STEPS)  # the last batch is never replayed


@pytest.mark.parametrize(
    ("graphs", "why"),
    [(Refuses(), "cannot be captured: CUDA error: operation not permitted"), (Forgets(), "a replay differed")],
)
def test_a_graph_that_fails_or_errs_is_dropped_with_one_line(graphs: StandIn, why: str) -> None:
    with pytest.warns(RuntimeWarning, match="training without CUDA graphs") as warned:
        run = trained(graphed(graphs))
    assert len(warned) == 1 and why in str(warned[0].message) and "\n" not in str(warned[0].message)
    assert same_bits(run.model, trained(graphed(None)).model) and run.state.steps == 6 * STEPS
    assert not run.state.replayed and why in run.state.not_replayed


def test_a_buffer_that_holds_infinities_does_not_keep_a_replay_from_being_verified() -> None:
    model = model_of("m1_8")
    model.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    assert trained(graphed(StandIn(), model)).state.replayed
    with pytest.warns(RuntimeWarning, match="a replay differed"):
        trained(graphed(Forgets(), model))


def test_layers_that_draw_by_themselves_are_not_replayed() -> None:
    def network() -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(28 * 28, 10))
        model.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
        return model

    graphs = StandIn()
    with pytest.warns(RuntimeWarning, match="layers draw from torch's global generators"):
        run = trained(graphed(graphs, network()))
    assert graphs.captured == 0
    assert same_bits(run.model, trained(graphed(None, network())).model)


def test_a_batched_step_is_captured_like_a_single_one() -> None:
    def runs(graphs: CudaGraphs | None) -> list[TrainingRun]:
        return [graphed(graphs, epochs=6 + seed, seed=seed) for seed in range(2)]  # the rate is halved after 5

    graphs = StandIn(networks=2)
    ours, eager = trained_together(runs(graphs)), trained_together(runs(None))
    assert graphs.replayed == 6 * (STEPS - 1) - WARM_UP_STEPS
    assert graphs.captured == 1  # for the run that is left there are too few steps; rates are not part of the capture
    assert all(same_bits(a.model, b.model) for a, b in zip(ours, eager, strict=True))


@pytest.mark.parametrize(
    "rates", [(0.1, 0.0005), (1e30, 0.05)], ids=["beside a fast network", "beside a diverging one"]
)
def test_a_replay_must_be_right_for_every_network_by_itself(rates: tuple[float, float]) -> None:
    networks = [model_of("m1_8", seed) for seed in range(2)]
    graphs = LeavesOut(networks[1])
    runs = [
        graphed(graphs, network, learning_rate=rate, batch_size=10, seed=3)
        for network, rate in zip(networks, rates, strict=True)
    ]
    with pytest.warns(RuntimeWarning, match="training without CUDA graphs"):
        trained_together(runs)
    assert not runs[1].state.replayed and "differed from the eager step" in runs[1].state.not_replayed
    alone = trained(graphed(None, model_of("m1_8", 1), learning_rate=rates[1], batch_size=10, seed=3))
    assert runs[1].state.history[-1].train_loss == pytest.approx(alone.state.history[-1].train_loss, rel=1e-3)


def test_a_network_that_diverges_does_not_keep_the_others_from_being_replayed() -> None:
    runs = [
        graphed(StandIn(networks=2), learning_rate=rate, batch_size=10, seed=seed, epochs=1)
        for seed, rate in enumerate((1e30, 0.0005))
    ]
    trained_together(runs)
    assert runs[0].state.diverged and runs[1].state.replayed


def test_a_failed_capture_gives_back_its_pool_and_torchs_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[object, ...]] = []

    class Failing:
        """`torch.cuda.graph` until torch 2.12: its end raises the error of the capture, and ends nothing."""

        def __init__(self, graph: object, pool: object, *, stream: object) -> None:
            done.append(("begin", pool))

        def __enter__(self) -> None:
            return

        def __exit__(self, *error: object) -> None:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    stand_ins = {
        "CUDAGraph": lambda: None,
        "graph": Failing,
        "graph_pool_handle": lambda: (0, 7),
        "current_stream": lambda: "before",
        "Stream": lambda: "of captures",
        "set_stream": lambda stream: done.append(("stream", stream)),
        "current_device": lambda: 0,
        "default_generators": [torch.Generator()],
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *of, name=name: done.append((name, *of)), raising=False)
    _capture_stream.cache_clear()
    with pytest.raises(RuntimeError, match="previous error during capture"):
        CudaGraphs().capture(lambda: torch.zeros(()))
    _capture_stream.cache_clear()
    assert done == [
        ("begin", (0, 7)),
        ("stream", "before"),
        ("_cuda_endAllocateToPool", 0, (0, 7)),
        ("_cuda_releasePool", 0, (0, 7)),
    ]


def test_running_out_of_memory_in_a_capture_is_raised() -> None:
    class Full(StandIn):
        def capture(self, work: Work) -> Captured:
            raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    with pytest.raises(torch.OutOfMemoryError):
        trained(graphed(Full()))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_a_full_gpu_is_recognised_by_what_each_library_says_of_it(message: str) -> None:
    assert out_of_gpu_memory(RuntimeError(message))
    assert not out_of_gpu_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def on_cuda(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Random training and validation images on the GPU."""
    x, y = torch.randint(256, (512, *shape_of(name)), dtype=torch.uint8).cuda(), torch.randint(10, (512,)).cuda()
    return (x, y), (x[:9], y[:9])


@pytest.mark.gpu
def test_after_a_failed_capture_a_gpu_frees_its_memory_draws_and_captures_again() -> None:
    ones = torch.ones(2**26, device="cuda")
    release()
    before = torch.cuda.memory_reserved()

    def reads_on_the_host() -> Tensor:
        doubled = 2 * ones
        return doubled / float(doubled.sum())

    with pytest.raises(RuntimeError):
        CudaGraphs().capture(reads_on_the_host)
    release()
    assert torch.cuda.memory_reserved() < before + ones.nbytes
    assert torch.rand(4, device="cuda").isfinite().all()
    replay, result = CudaGraphs().capture(lambda: 2 * ones)
    replay()
    assert bool((result == 2).all())


@pytest.mark.gpu
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("arithmetic", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("name", ["m1_20", "stdcnn", "c1"])
def test_cuda_graphs_replay_what_eager_steps_do(name: str, arithmetic: str) -> None:
    images, few = on_cuda(name)

    def weights(graphs: CudaGraphs | None) -> Tensor:
        one = graphed(graphs, prepare(model_of(name).cuda(), arithmetic), precision=arithmetic, seed=3)
        train(one, train=images, validation=few)
        assert one.state.replayed is (graphs is not None)
        return parameters_to_vector(one.model.parameters()).detach()

    # Some kernels of a GPU add in an order that varies, and training magnifies that: by how much, two eager runs show.
    eager, again, replayed = weights(None), weights(None), weights(CudaGraphs())
    moved = (eager - parameters_to_vector(model_of(name).cuda().parameters()).detach()).norm()
    assert (replayed - eager).norm() <= max(10 * (again - eager).norm(), 1e-3 * moved)


@pytest.mark.gpu
@pytest.mark.parametrize("arithmetic", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("name", ["m1_20", "stdcnn", "c1"])
def test_networks_together_on_a_gpu_are_those_trained_alone_also_beside_a_diverging_one(
    name: str, arithmetic: str
) -> None:
    images, few = on_cuda(name)

    def one(seed: int, rate: float) -> TrainingRun:
        model = prepare(model_of(name, seed).cuda(), arithmetic)
        return graphed(CudaGraphs(), model, learning_rate=rate, seed=seed, precision=arithmetic)

    def runs() -> list[TrainingRun]:
        return [one(seed, rate) for seed, rate in enumerate((1e-3, 1e30, 2e-3))]

    batched, single = runs(), runs()
    train_batched(batched, train=images, validation=few)
    assert batched[1].state.diverged and not batched[1].state.history
    for seed in (0, 2):
        train(single[seed], train=images, validation=few)
        assert batched[seed].state.replayed and batched[seed].state.history[-1].train_loss == pytest.approx(
            single[seed].state.history[-1].train_loss, rel=1e-2 if arithmetic == "float32" else 5e-2
        )
