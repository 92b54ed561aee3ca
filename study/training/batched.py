"""Batched training: several networks of one architecture as one program, each with its own data order and settings.

On a GPU a small network's step is many kernels of hardly any work; batched, one kernel serves all networks.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from study.autograd import call_with
from study.models import Dropout, use_masks
from study.optimizers import SGD
from study.pixels import scaled_count
from study.training import streams
from study.training.cuda_graph import WARM_UP_STEPS, GraphedStep
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import Hook, Split, TrainingRun, record_epoch, stacked_minibatches
from study.training.masks import DropoutMasks
from study.training.precision import computing_in, prepare

GAIN = 1.1
"""Training twice as many networks together must take at most 2 / 1.1 of the time."""

MEASURED_SECONDS = 0.3

MEASURED_STEPS = 16
"""Steps between two readings of the clock, each of which waits for the GPU."""

EVALUATED = 4096
"""Least number of images in a forward pass of an evaluation, over all networks, where a minibatch has fewer."""


def train_batched(runs: Sequence[TrainingRun], *, train: Split, validation: Split, hooks: Sequence[Hook] = ()) -> None:
    """Train every run to the end of its recipe; within rounding it becomes what `study.training.loop.train` makes.

    Runs may differ in seed, learning rate, schedule, momentum, weight decay, target loss and number of epochs, and may
    start at different epochs. A run that ends or diverges does not affect the others.

    Args:
        runs: of one architecture, batch size, precision and augmentation, on one device, with plain SGD and without
            `perturb`.
        train, validation: the images of all runs.
        hooks: called with each run after each of its epochs.

    Raises:
        ValueError: the runs cannot be batched.
    """
    shared = {(run.recipe.batch_size, run.recipe.precision, run.recipe.augmentation) for run in runs}
    if len(shared) > 1 or any(run.recipe.perturb for run in runs):
        raise ValueError("only natural training with one batch size and precision can be batched")
    for run in runs:
        run.model.train()
    while unfinished := [run for run in runs if not run.finished]:
        _train_until_one_finishes(unfinished, train, validation, hooks)
        for run in unfinished:
            if run.finished:
                unstack(run)


def _train_until_one_finishes(
    runs: Sequence[TrainingRun], train: Split, validation: Split, hooks: Sequence[Hook]
) -> None:
    """Train a fixed set of runs, epoch by epoch."""
    step = BatchedStep(runs, train)
    while not any(run.finished for run in runs):
        started = time.perf_counter()
        total_loss = torch.zeros(len(runs), dtype=torch.float64, device=train[0].device)
        for images, labels in step.epoch():
            total_loss += step(images, labels) * labels.shape[1]
        accuracies = [accuracy for _, accuracy in step.evaluate(*validation, runs[0].recipe.precision)]
        train_losses = [math.nan] * len(runs)
        if any(run.recipe.target_loss is not None for run in runs):
            train_losses = [loss for loss, _ in step.evaluate(*train)]
        losses = (total_loss / len(train[1])).tolist()
        for run, loss, accuracy, train_loss in zip(runs, losses, accuracies, train_losses, strict=True):
            record_epoch(run, loss, accuracy, train_loss)
        seconds = (time.perf_counter() - started) / len(runs)
        for run in runs:
            run.state.seconds += seconds
            run.state.replicas = max(run.state.replicas, len(runs))
            run.state.replayed, run.state.not_replayed = step.graphed.replayed, step.graphed.not_replayed
            for hook in hooks:
                hook(run)


class BatchedStep:
    """One step of every run, whose networks are stacked as long as it is used.

    Gradients come from one pass over all networks, and one update serves all. With `graphs` in the recipes the step is
    captured and replayed; the draws of dropout masks and augmentation stay outside the graph.
    """

    def __init__(self, runs: Sequence[TrainingRun], train: Split) -> None:
        """Stack the networks of the runs.

        Args:
            runs: as for `train_batched`.
            train: the images of all runs.

        Raises:
            ValueError: an optimizer is not plain SGD, or the architectures differ.
        """
        optimizers = [run.optimizer for run in runs if type(run.optimizer) is SGD]
        if len(optimizers) < len(runs):
            raise ValueError("only plain SGD can be batched")
        x, recipe = train[0], runs[0].recipe
        self.networks = networks = StackedNetworks([run.model for run in runs])
        self.rule = rule = StackedSGD(networks, optimizers)
        self._runs, self._train = runs, train
        self._dropout = [torch.Generator(device=x.device) for _ in runs]
        masks = DropoutMasks(networks.template, x.shape[1:], recipe.batch_size, self._dropout)

        def descend(images: Tensor, labels: Tensor, *own_masks: Tensor) -> Tensor:
            with computing_in(recipe.precision, networks.template):
                losses = networks.compute_gradients(images, labels, masks.calls, own_masks)
            rule.update()
            return losses

        self.graphed = GraphedStep(descend, recipe.graphs, optimizers, masks, fixed_rates=False)

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Begin the next epoch of every run; yields its minibatches, images (R, B, C, H, W) and labels (R, B)."""
        places = [(run.recipe, run.state.epochs_done) for run in self._runs]
        for run, (recipe, epoch), generator in zip(self._runs, places, self._dropout, strict=True):
            run.optimizer.learning_rate = recipe.schedule(recipe.learning_rate, epoch)
            streams.restart(generator, recipe.seed, "dropout", epoch)
        self.graphed.masks.restart()
        self.rule.set_rates([run.optimizer.learning_rate for run in self._runs])
        return stacked_minibatches(places, self._train)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a minibatch of every network; returns their losses (R,), which the next call may overwrite."""
        return self.graphed(images, labels)

    def evaluate(self, x: Tensor, y: Tensor, precision: str = "float32") -> list[tuple[float, float]]:
        """Loss and accuracy of every network, on at least as many images at once as a minibatch has."""
        at_once = max(self._runs[0].recipe.batch_size, scaled_count(EVALUATED, x) // len(self._runs))
        return self.networks.evaluate(x, y, precision, at_once=at_once)


class StackedNetworks:
    """The forward and backward pass of R networks of one architecture as one program.

    The parameters and buffers of all networks are copied into stacked tensors (R, ...), and each network's own become
    views of its slice, on a GPU in float32's memory order whatever the precision: batch normalisation refuses channels
    last under vmap there. So every network can still be evaluated and stored by itself.
    `torch.vmap` turns each layer into one call over all networks, a convolution into a grouped one. Values are those of
    each network alone, within rounding.

    `template`, a copy of the first network, is what computes, with each network's weights in place of its own.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Stack at least one model, on one device, in training mode.

        Args:
            models: the networks.

        Raises:
            ValueError: the models differ in a parameter's or buffer's name or shape.
        """
        for model in models:
            prepare(model, "float32")
        named = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models]
        shapes = [{name: tensor.shape for name, tensor in own.items()} for own in named]
        if any(own != shapes[0] for own in shapes):
            raise ValueError("only networks of one architecture can be batched")
        self.template = copy.deepcopy(models[0])
        self._count = len(models)
        self._stacked = {name: _stack([own[name] for own in named]) for name in named[0]}
        self.weights = {name: self._stacked[name] for name, p in models[0].named_parameters() if p.requires_grad}
        for weights in self.weights.values():
            weights.requires_grad_()

    def logits(self, x: Tensor, calls: Sequence[Dropout] = (), masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Each network's images (R, B, C, H, W) in [0, 1] to logits (R, B, classes).

        `masks` has (R, B, ...) for each of `calls`, the template's calls of dropout, in training mode.
        """

        def forward(tensors: dict[str, Tensor], images: Tensor, own_masks: tuple[Tensor, ...]) -> Tensor:
            use_masks(calls, own_masks)
            return call_with(self.template, tensors, images)

        batched: Tensor = vmap(forward)(self._stacked, x, masks)
        return batched

    def compute_gradients(
        self, x: Tensor, y: Tensor, calls: Sequence[Dropout] = (), masks: tuple[Tensor, ...] = ()
    ) -> Tensor:
        """Set `grad` of the stacked `weights` to the gradients of each network's mean cross-entropy.

        Args:
            x: images (R, B, C, H, W) in [0, 1].
            y: labels (R, B).
            calls, masks: as for `logits`.

        Returns:
            The mean losses (R,), without a graph.
        """
        for weights in self.weights.values():
            weights.grad = None
        logits = self.logits(x, calls, masks)
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        losses.sum().backward()
        return losses.detach()

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor, precision: str, *, at_once: int) -> list[tuple[float, float]]:
        """Loss and accuracy of each network as `study.training.evaluation.evaluate` finds them, by passes over all.

        Each pass takes `at_once` images.
        """
        if len(y) == 0:
            return [(math.nan, math.nan)] * self._count

        def forward(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
            return call_with(self.template, tensors, images)

        loss = torch.zeros(self._count, dtype=torch.float64, device=x.device)
        correct = torch.zeros(self._count, dtype=torch.int64, device=x.device)
        dtype = next(self.template.parameters()).dtype
        self.template.eval()
        for images, labels in zip(x.split(at_once), y.split(at_once), strict=True):
            with computing_in(precision, self.template):
                logits: Tensor = vmap(forward, in_dims=(0, None))(self._stacked, images.to(dtype).div_(255))
            of_each = labels.expand(self._count, -1)
            losses = F.cross_entropy(logits.double().flatten(0, 1), of_each.flatten(), reduction="none")
            loss += losses.view(of_each.shape).sum(1)
            correct += (logits.argmax(2) == of_each).sum(1)
        self.template.train()
        sums = zip(loss.tolist(), correct.tolist(), strict=True)
        return [(total / len(y), right / len(y)) for total, right in sums]


class StackedSGD:
    """Plain SGD of R networks as one update of their stacked weights, a few kernels for each tensor of weights.

    Rates, momenta and decays are tensors (R,). So networks with different settings share the kernels, and a change of
    the rates needs no new capture of a CUDA graph. The velocities stay those of each network's own optimizer.
    """

    @torch.no_grad()
    def __init__(self, networks: StackedNetworks, optimizers: Sequence[SGD]) -> None:
        """Take over the velocities of the optimizers, one for each network, which keep views of them."""
        like = next(iter(networks.weights.values()))

        def of_each(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=like.dtype, device=like.device)

        momenta, decays = ([o.momentum for o in optimizers], [o.weight_decay for o in optimizers])
        self._rates = of_each([o.learning_rate for o in optimizers])
        self._momenta = of_each(momenta) if any(momenta) else None
        self._decays = of_each(decays) if any(decays) else None
        self._weights = networks.weights
        self._velocities: dict[str, Tensor] = {}
        if self._momenta is not None:
            self._velocities = {name: torch.zeros_like(weights) for name, weights in networks.weights.items()}
            for r, optimizer in enumerate(optimizers):
                if optimizer.momentum:
                    parameters = dict(optimizer.model.named_parameters())
                    for name, velocity in self._velocities.items():
                        optimizer.keep_velocity_in(velocity[r], parameters[name])

    def set_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each network."""
        self._rates.copy_(torch.tensor(rates, dtype=self._rates.dtype))

    @torch.no_grad()
    def update(self) -> None:
        """v <- momentum v + (gradient + weight_decay theta); theta <- theta - learning_rate v, for every network."""
        for name, weights in self._weights.items():
            direction = weights.grad
            if direction is None:
                continue
            shape = (-1,) + (1,) * (weights.dim() - 1)
            if self._decays is not None:
                direction.addcmul_(weights, self._decays.view(shape))
            if self._momenta is not None:
                velocity = self._velocities[name]
                direction = torch.addcmul(direction, velocity, self._momenta.view(shape), out=velocity)
            weights.addcmul_(direction, self._rates.view(shape), value=-1)


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
def unstack(run: TrainingRun) -> None:
    """Give a stacked network and its optimizer tensors of their own: they no longer keep the others' in memory."""
    for tensor in (*run.model.parameters(), *run.model.buffers()):
        tensor.grad = None
        tensor.data = tensor.data.clone()
    if isinstance(run.optimizer, SGD):
        for velocity in run.optimizer.moments():
            velocity.data = velocity.data.clone()


def best_count(most: int, throughput: Callable[[int], float]) -> int:
    """How many networks to batch: a power of two or `most`, up to which each doubling from two on pays.

    One network alone is compared with the best of these, not with two: it has faster kernels, so two together can be
    slower than one although eight are much faster.

    Args:
        most: how many there are.
        throughput: steps of one network a second when so many train together; 0 if they do not fit.
    """
    if most < 2:
        return 1
    best, reached = 2, throughput(2)
    while reached and best < most:
        count = min(2 * best, most)
        found = throughput(count)
        if found < GAIN * reached:
            break
        best, reached = count, found
    return best if reached > GAIN * throughput(1) else 1


def throughput(runs: Sequence[TrainingRun], train: Split) -> float:
    """Steps of one network a second while `runs`, which are changed, train together; 0 if they do not fit.

    The preparation of the minibatches counts too.
    """
    device = train[0].device
    release()
    try:
        step = BatchedStep(runs, train)
        batches = itertools.chain.from_iterable(step.epoch() for _ in itertools.count())
        for images, labels in itertools.islice(batches, WARM_UP_STEPS + 2):  # captured and verified by then
            step(images, labels)
        synchronize(device)
        started, steps, seconds = time.perf_counter(), 0, 0.0
        while seconds < MEASURED_SECONDS:
            for images, labels in itertools.islice(batches, MEASURED_STEPS):
                step(images, labels)
            synchronize(device)
            steps += MEASURED_STEPS
            seconds = time.perf_counter() - started
    except Exception as error:
        if not out_of_gpu_memory(error):
            raise
        return 0.0
    return len(runs) * steps / seconds


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
