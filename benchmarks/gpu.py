"""Training, attacks and lambda1 on a GPU against what one would write instead, as paired ratios in one run.

python -m benchmarks.gpu [ROW ...] [--device cuda] [--data-dir DIR]

- recorded: an epoch of m1_20 at batch 16, its steps replayed as a CUDA graph, against a plain loop over the same images
  on the same device;
- together: networks of that kind trained as one batched program, as many as throughput says, seconds per network,
  against the same loop;
- float32, tf32, bf16: an epoch of resnet18 in that precision against the same loop in float32;
- attack: PGD-40 on m1_20 against torchattacks;
- lambda1: of m1 on many images, as trials measure it; seconds only;
- product: a Hessian-vector product of m1_20, c1 and resnet20 by forward over reverse against double backward;
- shares: PGD-40 on m1_20 in two, four and eight processes that share the GPU, seconds of one, against a process alone.

Checked first: the loops end in the same weights (in lower precision: nearly), the attacks in the same predictions.
A row that fails costs only itself: its reason is printed at the end, and the exit status is 1.
`--device cpu` tries the command without a GPU, with few images and without CUDA graphs.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.attacks import PEER_BATCH, batched, ours_of, predict, torchattacks_of
from benchmarks.networks import (
    MOMENTUM,
    SETTINGS,
    Data,
    attacked,
    network,
    plain_epoch,
    random_images,
    run_of,
    study_epochs,
)
from benchmarks.row import Row, paired, parser, print_rows
from search_spaces.probe import LAMBDA1_TOLERANCE
from study.arithmetic import full_precision
from study.attacks.evaluate import images_at_once
from study.attacks.linf import PGD_STEPS
from study.curvature import HessianOperator, top_eigenvalues
from study.models import build
from study.training import precision, streams
from study.training.batched import best_count, synchronize, throughput, train_batched
from study.training.cuda_graph import CudaGraphs
from study.training.loop import TrainingRun, TrainingState, minibatches
from study.trials.execute_batched import MAX_GROUP

PEER = "loop over tensors, eager"
LEARNING_RATE = 1e-3
ROUNDING, LOWER = 1e-2, 1e-1
"""How far the two loops' weights may differ after an epoch, relative to their norm: in float32, in lower precision."""


def run_on(device: torch.device, name: str, batch_size: int, arithmetic: str = "float32") -> TrainingRun:
    """A network about to be trained for an epoch as a trial on this device is."""
    model = precision.prepare(network(name).to(device), arithmetic)
    graphs = CudaGraphs() if device.type == "cuda" else None
    return run_of(
        model,
        batch_size,
        learning_rate=LEARNING_RATE,
        augmentation=SETTINGS[name].augmentation,
        graphs=graphs,
        precision=arithmetic,
    )


def ours(run: TrainingRun, data: Data) -> None:
    """An epoch of the study's loop."""
    study_epochs(run, data)
    synchronize(data[0].device)


def peer_of(name: str, batch_size: int, data: Data) -> tuple[nn.Module, Callable[[], None]]:
    """A network and an epoch of the loop that one writes for data in memory, on the same minibatches.

    They are the study's own, prepared in the same way, so the ratio is that of the steps and, if anything, too low.
    """
    device = data[0].device
    model = network(name).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    recipe = run_on(device, name, batch_size).recipe

    def epoch() -> None:
        plain_epoch(model, optimizer, minibatches(recipe, data, 0))
        synchronize(device)

    return model, epoch


def recorded(device: torch.device, images: int) -> Iterator[Row]:
    """One m1_20 at batch 16."""
    data = _images("m1_20", images, device)
    run = run_on(device, "m1_20", 16)
    other, epoch = peer_of("m1_20", 16, data)
    ours(run, data)
    epoch()
    checked = f"{_same_weights(run.model, other)}, {'replayed' if run.state.replayed else 'not replayed'}"
    times = paired(partial(ours, run, data), epoch)
    yield Row("training epoch", f"m1_20, batch 16, {len(data[1])} images", PEER, *times, checked)


def together(device: torch.device, images: int) -> Iterator[Row]:
    """Many m1_20 at batch 16; seconds per network."""
    data = _images("m1_20", images, device)

    def runs(count: int) -> list[TrainingRun]:
        return [run_on(device, "m1_20", 16) for _ in range(count)]

    count = best_count(MAX_GROUP if device.type == "cuda" else 2, lambda n: throughput(runs(n), data))
    own = runs(count)
    other, epoch = peer_of("m1_20", 16, data)

    def batched_training() -> None:
        for run in own:
            run.state = TrainingState()
        validation = data[0][:1], data[1][:1]
        train_batched(own, train=data, validation=validation)
        synchronize(device)

    batched_training()
    epoch()
    checked = _same_weights(own[0].model, other)
    all_of_them, theirs = paired(batched_training, epoch)
    work = f"m1_20, batch 16, {len(data[1])} images, {count} together"
    yield Row("epoch, a network", work, PEER, [seconds / count for seconds in all_of_them], theirs, checked)


def resnet18(device: torch.device, images: int, arithmetic: str) -> Iterator[Row]:
    """resnet18 at batch 128 in this precision."""
    data = _images("resnet18", images, device)
    run = run_on(device, "resnet18", 128, arithmetic)
    other, epoch = peer_of("resnet18", 128, data)
    ours(run, data)
    epoch()
    checked = _same_weights(run.model, other, ROUNDING if arithmetic == "float32" else LOWER)
    times = paired(partial(ours, run, data), epoch)
    whole = median(times[0]) * 100 * 40_000 / len(data[1])
    work = f"resnet18 {arithmetic}, batch 128, {len(data[1])} images"
    yield Row("training epoch", work, PEER, *times, f"{checked}; 100 epochs of 40,000 images: {whole:.0f} s")


def attack(device: torch.device, images: int, data_dir: str | None = None) -> Iterator[Row]:
    """PGD-40 on m1_20, as many images at a time as the study takes, against batches of PEER_BATCH and of that size."""
    model, pixels = attacked("m1_20", images, data_dir)
    pixels = pixels[torch.arange(images) % len(pixels)]
    model, x = model.to(device), pixels.to(device).float() / 255
    y = predict(model, x)
    epsilon, at_once = SETTINGS["m1_20"].epsilon, images_at_once(model, x, y)
    mine, its = (make(model, epsilon, PGD_STEPS)["PGD"] for make in (ours_of, torchattacks_of))

    def run(method: Callable[[Tensor, Tensor], Tensor], size: int) -> Tensor:
        found = batched(method, x, y, size)
        synchronize(x.device)
        return found

    for size in sorted({PEER_BATCH, at_once}):
        same = float((predict(model, run(mine, at_once)) == predict(model, run(its, size))).float().mean())
        if not same > 0.999:  # a GPU's sums differ in their last bit, which decides a few images
            raise SystemExit(f"PGD-{PGD_STEPS} differs from torchattacks' on {1 - same:.2%} of the images")
        work, peer = f"m1_20, {len(x)} images, {at_once} at once", f"torchattacks, {size} at once"
        times = paired(partial(run, mine, at_once), partial(run, its, size))
        yield Row(f"PGD-{PGD_STEPS}", work, peer, *times, f"same prediction on {same:.2%}")


def lambda1(device: torch.device, images: int) -> Iterator[Row]:
    """The top eigenvalue of m1's Hessian."""
    x, y = _images("m1_20", images, device)
    model = build("m1", image_shape=(1, 28, 28), num_classes=10, generator=streams.generator(0)).to(device).eval()
    found = []

    def measure() -> None:
        found.append(top_eigenvalues(model, x, y, tolerance=LAMBDA1_TOLERANCE, generator=streams.generator(0)))
        synchronize(device)

    seconds, _ = paired(measure, lambda: None)
    checked = f"{found[-1].matvecs} products, residual {found[-1].residuals[0]:.0e}"
    yield Row("lambda1", f"m1, {len(y)} images", "", seconds, [], checked)


def product(device: torch.device, images: int) -> Iterator[Row]:
    """A product with the Hessian in both forms, in chunks that the operator chooses."""
    for name, shape in (("m1_20", (1, 28, 28)), ("c1", (3, 32, 32)), ("resnet20", (3, 32, 32))):
        model = build(name, image_shape=shape, num_classes=10, generator=streams.generator(0)).to(device).eval()
        x, y = (part.to(device) for part in random_images(shape, images))
        forward = HessianOperator(model, x, y, forward_over_reverse=True)
        backward = HessianOperator(
            model, x, y, forward_over_reverse=False, chunk_size=forward.chunk_size, memory_bytes=0
        )
        v = torch.randn(forward.dim, generator=streams.generator(1)).to(device)

        def multiply(operator: HessianOperator, v: Tensor = v) -> Tensor:
            found = operator.matvec(v)
            synchronize(device)
            return found

        expected = multiply(backward)
        difference = float((multiply(forward) - expected).norm() / expected.norm())
        work = f"{name}, {images} images, {forward.chunk_size} at once"
        times = paired(partial(multiply, forward), partial(multiply, backward), max_pairs=5)
        yield Row("product", work, "double backward", *times, f"same product to {difference:.0e}")


SHARING = (2, 4, 8)
SHARED_SECONDS = 3.0


def shares(device: torch.device, images: int) -> Iterator[Row]:
    """The same attack in several processes at once: how much of the GPU one process leaves to others."""
    most = SHARING[-1] if device.type == "cuda" else SHARING[0]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(most, spawn, initializer=_start_sharing, initargs=(device, images)) as pool:
        list(pool.map(_attacks_in, [0.1] * most))  # all have started by then
        found = {n: list(pool.map(_attacks_in, [SHARED_SECONDS] * n)) for n in (1, *SHARING) if n <= most}
    (alone,) = found.pop(1)
    for count, seconds in found.items():
        work = f"m1_20, {images} images, {count} processes"
        yield Row("PGD-40, one of", work, "one process", [s / count for s in seconds], [alone] * count, "")


def _start_sharing(device: torch.device, images: int) -> None:
    global _attack
    torch.set_num_threads(1)
    x, y = _images("m1_20", images, device)
    model, pixels = network("m1_20").to(device).eval(), x.float() / 255
    method = ours_of(model, SETTINGS["m1_20"].epsilon, PGD_STEPS)["PGD"]
    at_once = images_at_once(model, pixels, y)
    _attack = partial(batched, method, pixels, y, at_once)
    _attack()
    synchronize(device)


_attack: Callable[[], Tensor]


def _attacks_in(seconds: float) -> float:
    """Seconds of one attack, as the mean over at least so many seconds."""
    started, attacks = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds or not attacks:
        _attack().sum().item()
        attacks += 1
    return passed / attacks


def _images(name: str, images: int, device: torch.device) -> Data:
    x, y = random_images(SETTINGS[name].shape, images)
    return x.to(device), y.to(device)


def _same_weights(own: nn.Module, other: nn.Module, tolerance: float = ROUNDING) -> str:
    """How far apart two networks that were trained alike are, relative to the norm of their weights."""
    one, two = (torch.cat([p.detach().flatten().double() for p in model.parameters()]) for model in (own, other))
    difference = float((one - two).norm() / two.norm())
    if not difference <= tolerance:
        raise SystemExit(f"the two loops' weights differ by {difference:.1e}, so their times are not comparable")
    return f"same weights to {difference:.0e}"


ROWS: dict[str, tuple[Callable[[torch.device, int], Iterator[Row]], int, int]] = {
    "recorded": (recorded, 20_000, 512),
    "together": (together, 10_000, 512),
    "float32": (partial(resnet18, arithmetic="float32"), 10_000, 128),
    "tf32": (partial(resnet18, arithmetic="tf32"), 10_000, 128),
    "bf16": (partial(resnet18, arithmetic="bf16"), 10_000, 128),
    "attack": (attack, 10_000, 64),
    "lambda1": (lambda1, 60_000, 200),
    "product": (product, 10_000, 50),
    "shares": (shares, 10_000, 64),
}
"""Name -> what measures it, and how many images by default on a GPU and on a CPU."""


def rows(
    names: tuple[str, ...] = (), device: str = "cuda", images: int | None = None, data_dir: str | None = None
) -> Iterator[Row]:
    """The rows asked for; by default all that the device can measure. MNIST's rows read it from `data_dir`, if given.

    Raises:
        SystemExit: there is no such device; or, after all rows, some failed: the two sides differ, memory ran out.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here; --device cpu tries the command without one")
    failed = []
    for name in names or [name for name in ROWS if device == "cuda" or name != "tf32"]:
        measure, on_gpu, on_cpu = ROWS[name]
        if name == "attack" and data_dir:
            measure = partial(attack, data_dir=data_dir)
        try:
            with full_precision():
                yield from measure(torch.device(device), images or (on_gpu if device == "cuda" else on_cpu))
        except (Exception, SystemExit) as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    if failed:
        raise SystemExit("\n".join(failed))


def main() -> None:
    """Print the rows."""
    command = parser(__doc__, "ROW", ROWS)
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default %(default)s")
    command.add_argument("--data-dir", help="attack m1_20 trained on MNIST from here; default: on the built-in digits")
    options = command.parse_args()
    print_rows(rows(tuple(options.names), options.device, data_dir=options.data_dir))


if __name__ == "__main__":
    main()
