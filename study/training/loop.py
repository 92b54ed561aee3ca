"""The training loop: epochs of minibatches over images held in memory, resumable after every epoch.

`train` is the whole of it for one network; `study.training.batched` trains several networks as one program.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from study.models import set_dropout_generator
from study.optimizers import SGD, Optimizer
from study.training import streams
from study.training.cuda_graph import CudaGraphs, GraphedStep, Step
from study.training.evaluation import evaluate
from study.training.precision import training_in
from study.training.schedules import Schedule

PREPARED = 8192
"""Images augmented in one call on a GPU, over all networks that train together: 100 MB of CIFAR-10."""

Split = tuple[Tensor, Tensor]
"""Images, uint8 (N, C, H, W), and labels, int64 (N,), on the device that trains. They are never changed."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

Perturb = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""An attack on a minibatch: from the model in eval mode, images (B, C, H, W) in [0, 1], labels (B,) and a generator
for random starts to the images to train on instead.
"""


@dataclass(frozen=True)
class Epoch:
    """One line of a trial's history. `train_loss` is the mean over the epoch's minibatches as they were trained on."""

    epoch: int
    lr: float
    train_loss: float
    val_acc: float


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
        precision: the arithmetic of the steps, see `study.training.precision`. Evaluation is float32.
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

    Raises:
        ValueError: the recipe has `perturb` and the optimizer passes over each epoch before its steps.
    """
    model, optimizer, recipe, state = run.model, run.optimizer, run.recipe, run.state
    device = train[0].device
    dropout = torch.Generator(device=device)
    set_dropout_generator(model, dropout)
    step: Step = optimizer.step
    if recipe.graphs is not None and type(optimizer) is SGD:  # not its subclasses, which also compute in Python
        step = GraphedStep(optimizer.descend, recipe.graphs, [optimizer], [dropout])
    model.train()
    while not run.finished:
        started, epoch = time.perf_counter(), state.epochs_done
        optimizer.learning_rate = recipe.schedule(recipe.learning_rate, epoch)
        batches = partial(minibatches, recipe, train, epoch) if recipe.perturb is None else _no_first_pass
        streams.restart(dropout, recipe.seed, "dropout", epoch)
        with training_in(recipe.precision, model):
            optimizer.begin_epoch(batches, streams.generator(recipe.seed, "optimizer", epoch, device=device))
        streams.restart(dropout, recipe.seed, "dropout", epoch)  # the steps draw the masks that a first pass drew
        random_starts = streams.generator(recipe.seed, "perturb", epoch)
        total_loss = torch.zeros((), dtype=torch.float64, device=device)
        for images, labels in minibatches(recipe, train, epoch):
            if recipe.perturb is not None:
                images = _perturbed(model, images, labels, recipe.perturb, random_starts)
            with training_in(recipe.precision, model):
                loss = step(images, labels)
            total_loss += loss * len(labels)
        with training_in(recipe.precision, model):
            optimizer.end_epoch()
        record_epoch(run, float(total_loss) / len(train[1]), train=train, validation=validation)
        if isinstance(step, GraphedStep):
            state.replayed, state.not_replayed = step.replayed, step.not_replayed
        state.seconds += time.perf_counter() - started
        for hook in hooks:
            hook(run)


def minibatches(recipe: Recipe, train: Split, epoch: int, *, networks: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's augmented minibatches: images (B, C, H, W), float in [0, 1], and labels (B,).

    Order and augmentation come from named random streams on the CPU, so every call yields the same bits. On a GPU
    several minibatches are prepared in one call, because launching the kernels takes as long as a small minibatch's
    work; `networks` that train together share the memory for this.
    """
    x, y = train
    order = torch.randperm(len(y), generator=streams.generator(recipe.seed, "order", epoch)).to(x.device)
    draws = streams.generator(recipe.seed, "augmentation", epoch)
    at_once = max(1, PREPARED // (recipe.batch_size * networks)) if x.device.type == "cuda" else 1
    for indices in order.split(recipe.batch_size * at_once):
        images = recipe.augmentation(x[indices], draws).float().div_(255)
        yield from zip(images.split(recipe.batch_size), y[indices].split(recipe.batch_size), strict=True)


def record_epoch(run: TrainingRun, loss: float, *, train: Split, validation: Split) -> None:
    """Update the run's state after an epoch with this mean loss, and evaluate the network."""
    state, optimizer, target_loss = run.state, run.optimizer, run.recipe.target_loss
    if not math.isfinite(loss):
        state.diverged = f"loss became {loss} in epoch {state.epochs_done + 1}"
        return
    state.steps, state.gradient_equivalents = optimizer.updates, optimizer.gradient_equivalents
    accuracy = evaluate(run.model, *validation).accuracy
    state.history.append(Epoch(state.epochs_done + 1, optimizer.learning_rate, loss, accuracy))
    if target_loss is not None:
        state.reached_target = evaluate(run.model, *train).loss <= target_loss


def _no_first_pass() -> Iterator[tuple[Tensor, Tensor]]:
    raise ValueError(
        "this optimizer passes over an epoch before its steps, but adversarial minibatches depend on the weights of "
        "each step: train adversarially with another optimizer, such as sgd"
    )


def _perturbed(model: nn.Module, x: Tensor, y: Tensor, perturb: Perturb, random_starts: torch.Generator) -> Tensor:
    """The adversarial minibatch; the model's mode and gradients are left as they were."""
    gradients = [(p, p.grad) for p in model.parameters()]
    for p, _ in gradients:
        p.grad = None
    model.eval()
    try:
        return perturb(model, x, y, random_starts).detach()
    finally:
        model.train()
        for p, gradient in gradients:
            p.grad = gradient
