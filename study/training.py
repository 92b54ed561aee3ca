"""The training loop: epochs of minibatches over a split held in memory, resumable at every epoch's end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from study import streams
from study.evaluation import evaluate
from study.optimizers import Optimizer
from study.schedules import Schedule

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Epoch:
    """One line of a trial's history. `train_loss` is the mean over the epoch's minibatches, as they came."""

    epoch: int
    lr: float
    train_loss: float
    val_acc: float


@dataclass
class TrainingState:
    """How far training has come; with the model's and the optimizer's state all that is needed to go on."""

    steps: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    diverged: str = ""
    reached_target: bool | None = None

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
    """The settings of a training run that are not the model's or the optimizer's own."""

    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    schedule: Schedule
    augmentation: Augmentation
    target_loss: float | None = None


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
    """
    model.train()
    while state.epochs_done < recipe.epochs and not state.diverged and not state.reached_target:
        epoch = state.epochs_done
        optimizer.learning_rate = recipe.schedule(recipe.learning_rate, epoch)
        set_dropout_generator(model, streams.generator(recipe.seed, "dropout", epoch, device=train[0].device))
        loss = _train_epoch(model, optimizer, recipe, train, epoch)
        if not math.isfinite(loss):
            state.diverged = f"loss became {loss} in epoch {epoch + 1}"
            break
        state.steps += -(-len(train[1]) // recipe.batch_size)
        accuracy = evaluate(model, *validation).accuracy
        state.history.append(Epoch(epoch + 1, optimizer.learning_rate, loss, accuracy))
        if recipe.target_loss is not None:
            state.reached_target = evaluate(model, *train).loss <= recipe.target_loss
        on_epoch(state.history[-1])
    return state


def _train_epoch(
    model: nn.Module, optimizer: Optimizer, recipe: Recipe, train: tuple[Tensor, Tensor], epoch: int
) -> float:
    """One pass over the training set; returns the mean loss of its images."""
    x, y = train
    order = torch.randperm(len(y), generator=streams.generator(recipe.seed, "order", epoch)).to(x.device)
    draws = streams.generator(recipe.seed, "augmentation", epoch, device=x.device)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for batch in order.split(recipe.batch_size):
        images = recipe.augmentation(x[batch], draws).float().div_(255)
        total += optimizer.step(images, y[batch]) * len(batch)
    return float(total) / len(y)
