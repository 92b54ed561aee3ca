"""The training loop: epochs of minibatches over a split held in memory, resumable at every epoch's end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from study.optimizers import SGD, Optimizer
from study.training import streams
from study.training.cuda_graph import RecordedStep, Recorder, Step, Touched
from study.training.evaluation import evaluate
from study.training.precision import training_in
from study.training.schedules import Schedule

PREPARED = 8192
"""Images that a GPU augments at once, of all networks that it trains: 100 MB of CIFAR-10."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

Perturb = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""From the model in eval mode, images (B, C, H, W) in [0, 1], labels (B,) and a generator for random starts to the
images to train on instead.
"""


@dataclass(frozen=True)
class Epoch:
    """One line of a trial's history. `train_loss` is the mean over the epoch's minibatches, as they came."""

    epoch: int
    lr: float
    train_loss: float
    val_acc: float


@dataclass
class TrainingState:
    """How far training has come; with the model's and the optimizer's state all that is needed to go on.

    `steps` and `gradient_equivalents` are the optimizer's counts at the end of the last completed epoch; `seconds` is
    what the epochs took, shared out among networks that were trained as one program, of which there were `replicas` at
    most. `replayed`: steps were recorded and replayed; if they should have been, `not_replayed` says why not.
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
        """Epochs that were completed."""
        return len(self.history)

    def to_dict(self) -> dict[str, Any]:
        """The state as plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingState:
        """The state that `to_dict` wrote."""
        return cls(**{**values, "history": [Epoch(**epoch) for epoch in values["history"]]})


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run that are not the model's or the optimizer's own.

    `perturb` makes training adversarial (Yao et al. 2018, section 3.3): every minibatch is replaced by what it returns,
    made with the weights of that moment and with draws of an epoch's own stream. The optimizer does not count this
    work. With a `recorder` the steps of plain SGD are recorded and replayed. `precision` is that of the steps (see
    `study.training.precision`); what is measured between them is float32.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    schedule: Schedule
    augmentation: Augmentation
    target_loss: float | None = None
    perturb: Perturb | None = None
    recorder: Recorder | None = None
    precision: str = "float32"


@dataclass
class Run:
    """One network in training: `state` says how far it has come, and is changed in place."""

    model: nn.Module
    optimizer: Optimizer
    recipe: Recipe
    state: TrainingState


def train(
    model: nn.Module,
    optimizer: Optimizer,
    recipe: Recipe,
    *,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    state: TrainingState,
    set_dropout_generator: Callable[[nn.Module, torch.Generator], object],
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainingState:
    """Train from `state` to the recipe's end; `state` is changed in place and returned.

    `train` and `validation` are (uint8 images (N, C, H, W), labels (N,)) on the model's device; they are never
    changed. Each epoch goes through a fresh permutation; the last batch of an epoch may be smaller. Training ends
    early when the loss is no longer finite (`state.diverged` says where) or reaches `target_loss`.

    Raises:
        ValueError: the optimizer passes over an epoch before its steps, and `recipe.perturb` is set.
    """
    model.train()
    dropout = torch.Generator(device=train[0].device)
    set_dropout_generator(model, dropout)
    step = _step(model, optimizer, recipe, dropout)
    while goes_on(recipe, state):
        started = time.perf_counter()
        optimizer.learning_rate = recipe.schedule(recipe.learning_rate, state.epochs_done)
        loss = _train_epoch(model, optimizer, step, recipe, train, state.epochs_done, dropout)
        completed = close_epoch(model, optimizer, recipe, state, loss, train=train, validation=validation)
        if isinstance(step, RecordedStep):
            state.replayed, state.not_replayed = step.replays, step.gave_up
        state.seconds += time.perf_counter() - started
        if completed:
            on_epoch(state.history[-1])
    return state


def goes_on(recipe: Recipe, state: TrainingState) -> bool:
    """Whether another epoch is to be trained."""
    return state.epochs_done < recipe.epochs and not state.diverged and not state.reached_target


def close_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    recipe: Recipe,
    state: TrainingState,
    loss: float,
    *,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
) -> bool:
    """Note in `state` what came of an epoch whose mean loss was `loss`; False if training has diverged in it."""
    if not math.isfinite(loss):
        state.diverged = f"loss became {loss} in epoch {state.epochs_done + 1}"
        return False
    state.steps, state.gradient_equivalents = optimizer.updates, optimizer.gradient_equivalents
    accuracy = evaluate(model, *validation).accuracy
    state.history.append(Epoch(state.epochs_done + 1, optimizer.learning_rate, loss, accuracy))
    if recipe.target_loss is not None:
        state.reached_target = evaluate(model, *train).loss <= recipe.target_loss
    return True


def _train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    step: Step,
    recipe: Recipe,
    train: tuple[Tensor, Tensor],
    epoch: int,
    dropout: torch.Generator,
) -> float:
    """One pass over the training set; returns the mean loss of its images."""
    device = train[0].device
    again = partial(minibatches, recipe, train, epoch) if recipe.perturb is None else _not_again
    streams.restart(dropout, recipe.seed, "dropout", epoch)
    with training_in(recipe.precision, model):
        optimizer.begin_epoch(again, streams.generator(recipe.seed, "optimizer", epoch, device=device))
    # The same stream from its beginning: what the optimizer passed over before met the masks of the steps to come.
    streams.restart(dropout, recipe.seed, "dropout", epoch)
    total = torch.zeros((), dtype=torch.float64, device=device)
    starts = streams.generator(recipe.seed, "perturb", epoch)
    for images, labels in minibatches(recipe, train, epoch):
        if recipe.perturb is not None:
            images = _perturbed(model, images, labels, recipe.perturb, starts)
        total += step(images, labels) * len(labels)
    with training_in(recipe.precision, model):
        optimizer.end_epoch()
    return float(total) / len(train[1])


def minibatches(
    recipe: Recipe, train: tuple[Tensor, Tensor], epoch: int, *, networks: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's minibatches, augmented, float in [0, 1]; named streams make them the same bits every time.

    On a GPU several are prepared at once, for each call costs as much as a small minibatch's work; less so where
    `networks` are trained together. Draws are of the CPU, so that they do not depend on that.
    """
    x, y = train
    order = torch.randperm(len(y), generator=streams.generator(recipe.seed, "order", epoch)).to(x.device)
    draws = streams.generator(recipe.seed, "augmentation", epoch)
    at_once = max(1, PREPARED // (recipe.batch_size * networks)) if x.device.type == "cuda" else 1
    for stretch in order.split(recipe.batch_size * at_once):
        images = recipe.augmentation(x[stretch], draws).float().div_(255)
        yield from zip(images.split(recipe.batch_size), y[stretch].split(recipe.batch_size), strict=True)


def _step(model: nn.Module, optimizer: Optimizer, recipe: Recipe, dropout: torch.Generator) -> Step:
    """The optimizer's step in the recipe's precision; recorded, if asked, where Python has no part in it."""

    def whole(images: Tensor, labels: Tensor) -> Tensor:
        with training_in(recipe.precision, model):
            return optimizer.step(images, labels)

    if recipe.recorder is None or type(optimizer) is not SGD:
        return whole

    def descend(images: Tensor, labels: Tensor) -> Tensor:
        with training_in(recipe.precision, model):
            return optimizer.descend(images, labels)

    def touched() -> Touched:
        return Touched([[list(model.parameters()), list(model.buffers()), optimizer.moments()]], [dropout])

    return RecordedStep(descend, touched, lambda: optimizer.learning_rate, recipe.recorder, optimizer.count)


def _not_again() -> Iterator[tuple[Tensor, Tensor]]:
    raise ValueError(
        "this optimizer passes over an epoch before its steps, but adversarial minibatches depend on the weights of "
        "each step: train adversarially with another optimizer, such as sgd"
    )


def _perturbed(model: nn.Module, x: Tensor, y: Tensor, perturb: Perturb, starts: torch.Generator) -> Tensor:
    """What `perturb` makes of a minibatch, of the same shape; the model's mode and gradients are as before."""
    gradients = [(p, p.grad) for p in model.parameters()]
    for p, _ in gradients:
        p.grad = None
    model.eval()
    try:
        return perturb(model, x, y, starts).detach()
    finally:
        model.train()
        for p, gradient in gradients:
            p.grad = gradient
