"""Batched training: several networks of one architecture as one program, each with its own data order and settings.

On a GPU a small network's step is many kernels of hardly any work; batched, one kernel serves all networks.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from study.models import set_dropout_generator
from study.optimizers import SGD
from study.training import streams
from study.training.cuda_graph import WARM_UP_STEPS, GraphedStep, Step
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import Hook, Split, TrainingRun, minibatches, record_epoch
from study.training.precision import training_in

GAIN = 1.1
"""Training twice as many networks together must take at most 2 / 1.1 of the time."""

MEASURED_SECONDS = 0.3


def train_batched(runs: Sequence[TrainingRun], *, train: Split, validation: Split, hooks: Sequence[Hook] = ()) -> None:
    """Train every run to the end of its recipe; within rounding it becomes what `study.training.loop.train` makes.

    Runs may differ in seed, learning rate, schedule, momentum, weight decay, target loss and number of epochs, and may
    start at different epochs. A run that ends or diverges does not affect the others.

    Args:
        runs: of one architecture, batch size and precision, on one device, with plain SGD and without `perturb`.
        train, validation: the images of all runs.
        hooks: called with each run after each of its epochs.

    Raises:
        ValueError: the runs cannot be batched.
    """
    if len({(run.recipe.batch_size, run.recipe.precision) for run in runs}) > 1 or any(r.recipe.perturb for r in runs):
        raise ValueError("only natural training with one batch size and precision can be batched")
    for run in runs:
        run.model.train()
    while unfinished := [run for run in runs if not run.finished]:
        _train_until_one_finishes(unfinished, train, validation, hooks)
        for run in unfinished:
            if run.finished:
                unstack(run.model)


def _train_until_one_finishes(
    runs: Sequence[TrainingRun], train: Split, validation: Split, hooks: Sequence[Hook]
) -> None:
    """Train a fixed set of runs, epoch by epoch."""
    dropout = [torch.Generator(device=train[0].device) for _ in runs]
    step = batched_step(runs, dropout)
    while not any(run.finished for run in runs):
        started = time.perf_counter()
        for run, generator in zip(runs, dropout, strict=True):
            run.optimizer.learning_rate = run.recipe.schedule(run.recipe.learning_rate, run.state.epochs_done)
            streams.restart(generator, run.recipe.seed, "dropout", run.state.epochs_done)
        total_loss = torch.zeros(len(runs), dtype=torch.float64, device=train[0].device)
        for images, labels in _minibatches(runs, train):
            total_loss += step(images, labels) * labels.shape[1]
        for run, loss in zip(runs, (total_loss / len(train[1])).tolist(), strict=True):
            record_epoch(run, loss, train=train, validation=validation)
        seconds = (time.perf_counter() - started) / len(runs)
        for run in runs:
            run.state.seconds += seconds
            run.state.replicas = max(run.state.replicas, len(runs))
            if isinstance(step, GraphedStep):
                run.state.replayed, run.state.not_replayed = step.replayed, step.not_replayed
            for hook in hooks:
                hook(run)


def _minibatches(runs: Sequence[TrainingRun], train: Split) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (R, B, C, H, W) and labels (R, B): slice r is the next minibatch of run r."""
    own = [minibatches(run.recipe, train, run.state.epochs_done, networks=len(runs)) for run in runs]
    for batches in zip(*own, strict=True):
        images, labels = zip(*batches, strict=True)
        yield torch.stack(images), torch.stack(labels)


def batched_step(runs: Sequence[TrainingRun], dropout: Sequence[torch.Generator]) -> Step:
    """One step of every run: images (R, B, C, H, W) in [0, 1] and labels (R, B) to losses (R,).

    Gradients come from one pass over all networks, which are stacked as long as the step is used; each run's own SGD
    applies its gradients. With `graphs` in the recipes the result is a `GraphedStep`.

    Raises:
        ValueError: an optimizer is not plain SGD, or the architectures differ.
    """
    optimizers = [run.optimizer for run in runs if type(run.optimizer) is SGD]
    if len(optimizers) < len(runs):
        raise ValueError("only plain SGD can be batched")
    networks = StackedNetworks([run.model for run in runs])
    set_dropout_generator(networks.template, dropout)
    precision, graphs = runs[0].recipe.precision, runs[0].recipe.graphs

    def descend(images: Tensor, labels: Tensor) -> Tensor:
        with training_in(precision, networks.template):
            losses = networks.compute_gradients(images, labels)
        for optimizer in optimizers:
            optimizer.apply_gradients()
        return losses

    def eager_step(images: Tensor, labels: Tensor) -> Tensor:
        losses = descend(images, labels)
        for optimizer in optimizers:
            optimizer.count(labels.shape[1])
        return losses

    return eager_step if graphs is None else GraphedStep(descend, graphs, optimizers, dropout)


class StackedNetworks:
    """The forward and backward pass of R networks of one architecture as one program.

    The parameters and buffers of all networks are copied into stacked tensors (R, ...), and each network's own become
    views of its slice, with the strides they had. So every network can still be evaluated, stored and updated by its
    own optimizer. `torch.vmap` turns each layer into one call over all networks (linear layers into batched products,
    convolutions into grouped ones). Values are those of each network alone, within rounding.

    `template`, a copy of the first network, is what computes, with each network's weights in place of its own.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Stack at least one model, on one device, in training mode.

        Raises:
            ValueError: the models differ in a parameter's or buffer's name or shape.
        """
        named = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models]
        shapes = [{name: tensor.shape for name, tensor in own.items()} for own in named]
        if any(own != shapes[0] for own in shapes):
            raise ValueError("only networks of one architecture can be batched")
        self.template = copy.deepcopy(models[0])
        self._stacked = {name: _stack([own[name] for own in named]) for name in named[0]}
        trained = [name for name, parameter in models[0].named_parameters() if parameter.requires_grad]
        self._trained = [(self._stacked[name].requires_grad_(), [own[name] for own in named]) for name in trained]

    def logits(self, x: Tensor) -> Tensor:
        """Each network's images (R, B, C, H, W) in [0, 1] to logits (R, B, classes)."""

        def forward(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.template, tensors, (images,))
            return logits

        batched: Tensor = vmap(forward)(self._stacked, x)
        return batched

    def compute_gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Set each network's `grad` to the gradient of its minibatch's mean cross-entropy.

        Args:
            x: images (R, B, C, H, W) in [0, 1].
            y: labels (R, B).

        Returns:
            The mean losses (R,), without a graph.
        """
        for stacked, _ in self._trained:
            stacked.grad = None
        losses = cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        losses.sum().backward()
        for stacked, parameters in self._trained:
            gradients = [None] * len(parameters) if stacked.grad is None else stacked.grad.unbind()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        return losses.detach()


@torch.no_grad()
def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """A tensor (R, ...) with the values of all, which become views of it; every slice has the first one's strides."""
    first = tensors[0]
    stacked = torch.empty_strided(
        (len(tensors), *first.shape), (first.numel(), *first.stride()), dtype=first.dtype, device=first.device
    )
    for tensor, place in zip(tensors, stacked.unbind(), strict=True):
        place.copy_(tensor)
        tensor.data = place
    return stacked


@torch.no_grad()
def unstack(model: nn.Module) -> None:
    """Give a stacked network tensors of its own, so that it no longer keeps the stacked ones in memory."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.grad = None
        tensor.data = tensor.data.clone()


def best_count(most: int, throughput: Callable[[int], float]) -> int:
    """How many networks to batch: a power of two or `most`, up to which each doubling pays.

    Args:
        most: how many there are.
        throughput: steps of one network a second when so many train together; 0 if they do not fit.
    """
    if most < 2:
        return 1
    best, reached = 1, throughput(1)
    while best < most:
        count = min(2 * best, most)
        found = throughput(count)
        if found < GAIN * reached:
            break
        best, reached = count, found
    return best


def throughput(runs: Sequence[TrainingRun], train: Split) -> float:
    """Steps of one network a second while `runs`, which are changed, train together; 0 if they do not fit."""
    device = train[0].device
    release()
    try:
        step = batched_step(runs, [torch.Generator(device=device) for _ in runs])
        images, labels = next(minibatches(runs[0].recipe, train, 0))
        images, labels = (t.expand(len(runs), *t.shape).contiguous() for t in (images, labels))
        for _ in range(WARM_UP_STEPS + 2):  # captured and verified by then
            step(images, labels)
        synchronize(device)
        started, steps = time.perf_counter(), 0
        while (seconds := time.perf_counter() - started) < MEASURED_SECONDS:
            step(images, labels)
            synchronize(device)
            steps += 1
    except Exception as error:
        if not out_of_gpu_memory(error):
            raise
        return 0.0
    return len(runs) * steps / seconds


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
