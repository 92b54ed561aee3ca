"""The training loop: epochs of minibatches over images held in memory, resumable after every epoch.

`train` is the whole of it for one network; `study.training.batched` trains several networks as one program.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.data.augmentation import Augmentation
from study.models import set_dropout_generator, use_masks
from study.optimizers import SGD, Optimizer
from study.pixels import scaled_count
from study.training import streams
from study.training.cuda_graph import CudaGraphs, GraphedStep, Step
from study.training.evaluation import evaluate
from study.training.masks import DropoutMasks
from study.training.precision import computing_in
from study.training.schedules import Schedule

PREPARED = 8192
"""Images augmented in one call on a GPU, over all networks that train together: 100 MB of CIFAR-10 as float32."""

Split = tuple[Tensor, Tensor]
"""Images, uint8 (N, C, H, W), and labels, int64 (N,), on the device that trains. They are never changed."""

Perturb = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""An attack on a minibatch: from the model in eval mode, images (B, C, H, W) in [0, 1], labels (B,) and a generator
for random starts to the images to train on instead.
"""


@dataclass(frozen=True)
class Epoch:
    """One line of a trial's history. `train_loss` is the mean over the epoch's minibatches as they were trained on.

    What follows `val_acc` is None unless `study.training.tracking` measured it after this epoch.
    """

    epoch: int
    lr: float
    train_loss: float
    val_acc: float
    lambda1: float | None = None
    lambda1_images: int | None = None
    batch_sharpness: float | None = None
    track_seconds: float | None = None

    def measured(self) -> dict[str, Any]:
        """The values that are not None, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class TrainingState:
    """How far training has come. A checkpoint holds this and the states of the model and the optimizer.

    Attributes:
        steps: the optimizer's updates up to the last completed epoch.
        gradient_equivalents: the optimizer's work, in gradients of one image, up to the last completed epoch.
        seconds: duration of all epochs. Networks that trained together each count an equal part.
        history: the completed epochs.
        diverged: when the loss stopped being finite; empty if it did not.
        reached_target: whether the target loss was reached; None without a target.
        replicas: the largest number of networks that this one was trained together with, itself included.
        replayed: steps were replayed as a CUDA graph.
        not_replayed: why steps were not replayed although the recipe asked for it.
    """

    steps: int = 0
    gradient_equivalents: float = 0.0
    seconds: float = field(default=0.0, compare=False)
    history: list[Epoch] = field(default_factory=list)
    diverged: str = ""
    reached_target: bool | None = None
    replicas: int = 1
    replayed: bool = False
    not_replayed: str = ""

    @property
    def epochs_done(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingState:
        """The state whose `dataclasses.asdict` these values are."""
        return cls(**{**values, "history": [Epoch(**epoch) for epoch in values["history"]]})


@dataclass(frozen=True)
class Recipe:
    """The settings of training that are neither the model's nor the optimizer's.

    Attributes:
        learning_rate: the initial learning rate, from which `schedule` makes that of each epoch.
        seed: names the random streams of data order, augmentation, dropout, optimizer and perturbation.
        target_loss: training ends after the first epoch with at most this loss on the training set.
        perturb: makes training adversarial: it replaces every minibatch, using the weights of that moment (Yao et al.
            2018, section 3.3). The optimizer does not count this work.
        graphs: captures the steps of plain SGD as CUDA graphs; None runs every step eagerly.
        precision: the arithmetic of the steps and of the validation accuracy, see `study.training.precision`. The loss
            that is compared with `target_loss` and the attack of `perturb` are computed in float32.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    schedule: Schedule
    augmentation: Augmentation
    target_loss: float | None = None
    perturb: Perturb | None = None
    graphs: CudaGraphs | None = None
    precision: str = "float32"


@dataclass(eq=False)
class TrainingRun:
    """A network in training; `train` changes the model, the optimizer and the state in place."""

    model: nn.Module
    optimizer: Optimizer
    recipe: Recipe
    state: TrainingState = field(default_factory=TrainingState)

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left to train."""
        state = self.state
        return state.epochs_done >= self.recipe.epochs or bool(state.diverged) or bool(state.reached_target)


Hook = Callable[[TrainingRun], None]
"""Called after every epoch, also after the one in which the run diverged (which `history` does not hold)."""


def train(run: TrainingRun, *, train: Split, validation: Split, hooks: Sequence[Hook] = ()) -> None:
    """Train a network from its state to the end of its recipe.

    Each epoch visits a fresh permutation of the training set; its last minibatch may be smaller. Training ends early
    when the loss is no longer finite or reaches the recipe's target.

    Layers that draw from torch's global generators (`nn.Dropout`, `nn.RReLU`, stochastic depth) are seeded, epoch by
    epoch, from the recipe's seed; these generators are afterwards as before.

    Raises:
        ValueError: the recipe has `perturb` and the optimizer passes over each epoch before its steps.
    """
    model, optimizer, recipe, state = run.model, run.optimizer, run.recipe, run.state
    device = train[0].device
    dropout = torch.Generator(device=device)
    set_dropout_generator(model, dropout)
    model.train()
    step = _step(run, train[0].shape[1:], dropout)
    with streams.own_global_generators(device) as layers:

        def restart_masks(epoch: int) -> None:
            streams.restart(dropout, recipe.seed, "dropout", epoch)
            for generator in layers:
                streams.restart(generator, recipe.seed, "layers", epoch)

        while not run.finished:
            started, epoch = time.perf_counter(), state.epochs_done
            optimizer.learning_rate = recipe.schedule(recipe.learning_rate, epoch)
            batches = partial(minibatches, recipe, train, epoch) if recipe.perturb is None else _no_first_pass
            restart_masks(epoch)
            with computing_in(recipe.precision, model):
                optimizer.begin_epoch(batches, streams.generator(recipe.seed, "optimizer", epoch, device=device))
            restart_masks(epoch)  # the steps draw the masks that a first pass drew
            if isinstance(step, GraphedStep):
                step.masks.restart()
            random_starts = streams.generator(recipe.seed, "perturb", epoch)
            total_loss = torch.zeros((), dtype=torch.float64, device=device)
            for images, labels in minibatches(recipe, train, epoch):
                if recipe.perturb is not None:
                    images = _perturbed(model, images, labels, recipe.perturb, random_starts)
                total_loss += step(images, labels) * len(labels)
            with computing_in(recipe.precision, model):
                optimizer.end_epoch()
            accuracy = evaluate(model, *validation, precision=recipe.precision).accuracy
            train_loss = math.nan if recipe.target_loss is None else evaluate(model, *train).loss
            record_epoch(run, float(total_loss) / len(train[1]), accuracy, train_loss)
            if isinstance(step, GraphedStep):
                state.replayed, state.not_replayed = step.replayed, step.not_replayed
            state.seconds += time.perf_counter() - started
            for hook in hooks:
                hook(run)


def _step(run: TrainingRun, image_shape: Sequence[int], dropout: torch.Generator) -> Step:
    """The optimizer's step in the recipe's precision.

    On a GPU, or with `graphs`, plain SGD's is a `GraphedStep` with masks drawn in advance. Other optimizers, SGD's
    subclasses among them, may pass through the network more than once a step or compute in Python.
    """
    model, optimizer, recipe = run.model, run.optimizer, run.recipe
    if type(optimizer) is SGD and (recipe.graphs is not None or dropout.device.type == "cuda"):
        masks, sgd = DropoutMasks(model, image_shape, recipe.batch_size, [dropout]), optimizer

        def descend(x: Tensor, y: Tensor, *own_masks: Tensor) -> Tensor:
            use_masks(masks.calls, [mask[0] for mask in own_masks])
            with computing_in(recipe.precision, model):
                return sgd.descend(x, y)

        return GraphedStep(descend, recipe.graphs, [sgd], masks)

    def step(x: Tensor, y: Tensor) -> Tensor:
        with computing_in(recipe.precision, model):
            return optimizer.step(x, y)

    return step


def minibatches(recipe: Recipe, train: Split, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's augmented minibatches: images (B, C, H, W), float in [0, 1], and labels (B,).

    Order and augmentation come from named random streams on the CPU, so every call yields the same bits.
    """
    for images, labels in stacked_minibatches([(recipe, epoch)], train):
        yield images[0], labels[0]


def stacked_minibatches(epochs: Sequence[tuple[Recipe, int]], train: Split) -> Iterator[tuple[Tensor, Tensor]]:
    """The minibatches of R networks' epochs: images (R, B, C, H, W) and labels (R, B), slice r as `minibatches` of r.

    On a GPU several minibatches of all networks are prepared in one call, because launching the kernels takes as long
    as a small minibatch's work. The recipes have one batch size and augmentation.
    """
    x, y = train
    batch_size, augmentation = epochs[0][0].batch_size, epochs[0][0].augmentation
    order = torch.stack(
        [torch.randperm(len(y), generator=streams.generator(r.seed, "order", epoch)) for r, epoch in epochs]
    ).to(x.device)
    drawn = torch.stack(
        [augmentation.draw(len(y), streams.generator(r.seed, "augmentation", epoch)) for r, epoch in epochs]
    ).to(x.device)
    at_once = max(1, scaled_count(PREPARED, x) // (batch_size * len(epochs))) if x.device.type == "cuda" else 1
    for indices, own_drawn in zip(
        order.split(batch_size * at_once, 1), drawn.split(batch_size * at_once, 1), strict=True
    ):
        images = augmentation.apply(x[indices.flatten()], own_drawn.flatten()).float().div_(255)
        stacked = images.unflatten(0, indices.shape)
        yield from zip(stacked.split(batch_size, 1), y[indices].split(batch_size, 1), strict=True)


def record_epoch(run: TrainingRun, loss: float, accuracy: float, train_loss: float) -> None:
    """Update the run's state after an epoch.

    Args:
        run: what was trained.
        loss: the mean over the epoch's minibatches.
        accuracy: on the validation set after the epoch.
        train_loss: on the training set after the epoch; read only if the recipe has a target loss.
    """
    state, optimizer, target_loss = run.state, run.optimizer, run.recipe.target_loss
    if not math.isfinite(loss):
        state.diverged = f"loss became {loss} in epoch {state.epochs_done + 1}"
        return
    state.steps, state.gradient_equivalents = optimizer.updates, optimizer.gradient_equivalents
    state.history.append(Epoch(state.epochs_done + 1, optimizer.learning_rate, loss, accuracy))
    if target_loss is not None:
        state.reached_target = train_loss <= target_loss


def _no_first_pass() -> Iterator[tuple[Tensor, Tensor]]:
    raise ValueError(
        "this optimizer passes over an epoch before its steps, but adversarial minibatches depend on the weights of "
        "each step: train adversarially with another optimizer, such as sgd"
    )


def _perturbed(model: nn.Module, x: Tensor, y: Tensor, perturb: Perturb, random_starts: torch.Generator) -> Tensor:
    """The adversarial minibatch, made in eval mode."""
    model.eval()
    with full_precision():
        images = perturb(model, x, y, random_starts).detach()
    model.train()
    return images
