"""What a GPU is for, against what one would write instead, as ratios measured in pairs in one run.

python -m benchmarks.gpu [ROW ...] [--device cuda] [--images N]

- recorded: an epoch of m1_20 at batch 16, its steps replayed as a CUDA graph, against a plain loop over the same images
  on the same device;
- together: networks of that kind trained as one program, as many as pay, seconds a network, against the same loop;
- precision: an epoch of resnet18 in bf16, TF32 and float32 against the same loop in float32;
- attack: PGD-40 on m1_20 against torchattacks;
- lambda1: of m1 on many images; seconds alone.

Checked first: the loops end in the same weights (in lower precision: nearly), the attacks in the same predictions.
`--device cpu` tries the command without a GPU, with few images: nothing is recorded there.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.attacks import batched, ours_of, predict, torchattacks_of
from benchmarks.command import print_rows
from benchmarks.networks import SETTINGS, attacked, network, random_images
from benchmarks.row import Row
from benchmarks.timing import Paired, paired
from study.attacks.evaluate import BATCH_SIZE, images_at_once
from study.attacks.linf import PGD_STEPS
from study.curvature import top_eigenvalues
from study.data.augmentation import AUGMENTATIONS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import precision, streams
from study.training.batched import train_together
from study.training.cuda_graph import CudaGraphs
from study.training.loop import Recipe, Run, TrainingState, train
from study.training.schedules import constant
from study.training.throughput import best_count, throughput, wait
from study.trials.groups import MOST

PEER = "loop over tensors, eager"
RATE, MOMENTUM = 1e-3, 0.9
ROUNDING, LOWER = 1e-2, 1e-1
"""How far the two loops' weights may be apart after an epoch, in float32 and in lower precision."""
Data = tuple[Tensor, Tensor]


def run_of(model: nn.Module, batch_size: int, arithmetic: str = "float32", augmentation: str = "none") -> Run:
    """A network about to be trained for an epoch as a trial is."""
    cuda = next(model.parameters()).is_cuda
    optimizer = OPTIMIZERS["sgd"](model, learning_rate=RATE, momentum=MOMENTUM, weight_decay=0.0)
    recorder = CudaGraphs() if cuda else None
    recipe = Recipe(
        RATE, batch_size, 1, 0, constant, AUGMENTATIONS[augmentation], recorder=recorder, precision=arithmetic
    )
    return Run(precision.prepare(model, arithmetic), optimizer, recipe, TrainingState())


def ours(run: Run, data: Data) -> None:
    """An epoch of the study's loop."""
    run.state = TrainingState()
    settings = {"train": data, "validation": (data[0][:1], data[1][:1]), "state": run.state}
    train(run.model, run.optimizer, run.recipe, set_dropout_generator=set_dropout_generator, **settings)  # type: ignore[arg-type]
    wait(data[0].device)


def theirs(model: nn.Module, rule: torch.optim.Optimizer, batch_size: int, augmentation: str, data: Data) -> None:
    """An epoch of the loop that one writes for data in memory, on the same order of images."""
    model.train()
    draws = streams.generator(0, "augmentation", 0, device=data[0].device)
    order = torch.randperm(len(data[1]), generator=streams.generator(0, "order", 0)).to(data[0].device)
    for batch in order.split(batch_size):
        x = AUGMENTATIONS[augmentation](data[0][batch], draws).float() / 255
        rule.zero_grad()
        cross_entropy(model(x), data[1][batch]).backward()
        rule.step()
    wait(data[0].device)


def _peer(model: nn.Module, batch_size: int, augmentation: str, data: Data) -> Callable[[], None]:
    return partial(
        theirs, model, torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM), batch_size, augmentation, data
    )


def recorded(device: torch.device, images: int) -> Iterator[Row]:
    """One m1_20 at batch 16."""
    data = _images("m1_20", images, device)
    own, other = run_of(network("m1_20").to(device), 16), network("m1_20").to(device)
    peer = _peer(other, 16, "none", data)
    ours(own, data)
    peer()
    checked = _same_weights(own.model, other)
    replayed = "replayed" if own.state.replayed else "not replayed"
    times = paired(lambda: ours(own, data), peer)
    yield Row.of("training epoch", f"m1_20, batch 16, {len(data[1])} images", PEER, times, f"{checked}, {replayed}")


def together(device: torch.device, images: int) -> Iterator[Row]:
    """Many m1_20 at batch 16, seconds of one."""
    data = _images("m1_20", images, device)
    count = best_count(MOST if device.type == "cuda" else 2, lambda n: throughput(_runs(n, device), data))
    other = network("m1_20").to(device)
    peer = _peer(other, 16, "none", data)
    own = _runs(count, device)

    def fused() -> None:
        for run in own:
            run.state = TrainingState()
        few = data[0][:1], data[1][:1]
        train_together(
            own,
            train=data,
            validation=few,
            set_dropout_generator=set_dropout_generator,
        )
        wait(data[0].device)

    fused()
    peer()
    checked = _same_weights(own[0].model, other)
    times = paired(fused, peer)
    each = Paired([seconds / count for seconds in times.ours], times.theirs)
    work = f"m1_20, batch 16, {len(data[1])} images"
    yield Row.of("epoch, a network", f"{work}, {count} together", PEER, each, checked)


def lower_precision(device: torch.device, images: int) -> Iterator[Row]:
    """resnet18 at batch 128."""
    data = _images("resnet18", images, device)
    augmentation = SETTINGS["resnet18"].augmentation
    other = network("resnet18").to(device)
    peer = _peer(other, 128, augmentation, data)
    peer()
    once = copy.deepcopy(other)
    for arithmetic in ("bf16", "tf32", "float32") if device.type == "cuda" else ("float32",):
        own = run_of(network("resnet18").to(device), 128, arithmetic, augmentation)
        ours(own, data)
        checked = _same_weights(own.model, once, ROUNDING if arithmetic == "float32" else LOWER)
        times = paired(lambda own=own: ours(own, data), peer)  # type: ignore[misc]
        whole = median(times.ours) * 100 * 40_000 / len(data[1])
        work = f"resnet18 {arithmetic}, batch 128, {len(data[1])} images"
        yield Row.of("training epoch", work, PEER, times, f"{checked}; 100 epochs of 40,000 images: {whole:.0f} s")


def attack(device: torch.device, images: int) -> Iterator[Row]:
    """PGD-40 on m1_20, as many images at a time as the study takes, against batches of BATCH_SIZE and of that size."""
    model, pixels = attacked("m1_20", images)
    pixels = pixels[torch.arange(images) % len(pixels)]
    model, x = model.to(device), pixels.to(device).float() / 255
    y = predict(model, x)
    epsilon, at_once = SETTINGS["m1_20"].epsilon, images_at_once(model, x, y)
    mine, its = (make(model, epsilon, PGD_STEPS)["PGD"] for make in (ours_of, torchattacks_of))

    def run(method: Callable[[Tensor, Tensor], Tensor], size: int) -> Tensor:
        found = batched(method, x, y, size)
        wait(x.device)
        return found

    for size in sorted({BATCH_SIZE, at_once}):
        same = (predict(model, run(mine, at_once)) == predict(model, run(its, size))).float().mean()
        if not same > 0.999:  # a GPU's sums differ in their last bit, and few images hang on that
            raise SystemExit(f"PGD-{PGD_STEPS} differs from torchattacks' on {1 - float(same):.2%} of the images")
        times = paired(lambda: run(mine, at_once), lambda size=size: run(its, size))  # type: ignore[misc]
        work = f"m1_20, {len(x)} images, {at_once} at once"
        peer = f"torchattacks, {size} at once"
        yield Row.of(f"PGD-{PGD_STEPS}", work, peer, times, f"same prediction on {float(same):.2%}")


def lambda1(device: torch.device, images: int) -> Iterator[Row]:
    """The top eigenvalue of m1's Hessian."""
    x, y = _images("m1_20", images, device)
    model = build("m1", image_shape=(1, 28, 28), num_classes=10, generator=streams.generator(0)).to(device).eval()
    found = []

    def measure() -> None:
        found.append(top_eigenvalues(model, x, y, generator=streams.generator(0)))
        wait(x.device)

    times = paired(measure, lambda: None)
    checked = f"{found[-1].matvecs} products, residual {found[-1].residuals[0]:.0e}"
    yield Row("lambda1", f"m1, {len(y)} images", "", times.ours, [], checked)


def _runs(count: int, device: torch.device) -> list[Run]:
    return [run_of(network("m1_20").to(device), 16) for _ in range(count)]


def _images(name: str, images: int, device: torch.device) -> Data:
    x, y = random_images(SETTINGS[name].shape, images)
    return x.to(device), y.to(device)


def _same_weights(own: nn.Module, other: nn.Module, tolerance: float = ROUNDING) -> str:
    """How far two networks that were trained alike are apart, relative to how long their weights are."""
    one, two = (torch.cat([p.detach().flatten().double() for p in model.parameters()]) for model in (own, other))
    apart, length = float((one - two).norm()), float(two.norm())
    if not apart <= tolerance * length:
        raise SystemExit(f"the two loops' weights differ by {apart / length:.1e}: the ratio says nothing")
    return f"same weights to {apart / length:.0e}"


ROWS: dict[str, tuple[Callable[[torch.device, int], Iterator[Row]], int, int]] = {
    "recorded": (recorded, 60_000, 512),
    "together": (together, 60_000, 512),
    "precision": (lower_precision, 40_000, 128),
    "attack": (attack, 10_000, 64),
    "lambda1": (lambda1, 60_000, 200),
}
"""Name -> what measures it, and how many images by default on a GPU and on a CPU."""


def rows(names: tuple[str, ...] = (), device: str = "cuda", images: int | None = None) -> Iterator[Row]:
    """The rows asked for; all by default.

    Raises:
        SystemExit: there is no such device, or the two sides differ.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here; --device cpu tries the command without one")
    torch.backends.cudnn.allow_tf32 = False  # as in a worker: float32 means float32
    for name in names or ROWS:
        measure, on_gpu, on_cpu = ROWS[name]
        yield from measure(torch.device(device), images or (on_gpu if device == "cuda" else on_cpu))


def main() -> int:
    """Print the rows."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default all")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default %(default)s")
    command.add_argument("--images", type=int, help="default by row and device")
    options = command.parse_args()
    if unknown := sorted(set(options.rows) - set(ROWS)):
        command.error(f"unknown row {', '.join(unknown)}; choose of {', '.join(ROWS)}")
    print_rows(rows(tuple(options.rows), options.device, options.images))
    return 0


if __name__ == "__main__":
    sys.exit(main())
