"""The training loop for several networks as one program, each with its own data order, rate, momentum and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from study import streams
from study.optimizers import SGD
from study.precision import training_in
from study.recorded_step import RecordedStep, Recorder, Touched
from study.replicas import Replicas
from study.training import Run, close_epoch, goes_on, minibatches

Split = tuple[Tensor, Tensor]


def train_together(
    runs: Sequence[Run],
    *,
    train: Split,
    validation: Split,
    set_dropout_generator: Callable[[nn.Module, torch.Generator | Sequence[torch.Generator]], object],
    on_epoch: Callable[[Run], None] = lambda run: None,
    recorder: Recorder | None = None,
) -> None:
    """Train every run from its state to its recipe's end, as `study.training.train` would, within rounding.

    Each has its own seed, rate, schedule, momentum, weight decay, target loss and number of epochs, and may begin at
    another epoch; a run that has ended, or diverged, leaves the others as they are. `on_epoch` is told of each epoch
    that a run has completed. `state.seconds` grows by the run's share of the time.

    Args:
        runs: of one architecture and batch size, on one device.
        train, validation: as for `study.training.train`, of all runs.
        set_dropout_generator: the models room's.
        on_epoch: called after each run's epoch, with the run.
        recorder: with one, steps are recorded and replayed.

    Raises:
        ValueError: the runs cannot be one program: other batch sizes, architectures or optimizers, or adversarial
            training.
    """
    if len({(run.recipe.batch_size, run.recipe.precision) for run in runs}) > 1 or any(r.recipe.perturb for r in runs):
        raise ValueError("only natural training with one batch size and precision can be computed as one")
    for run in runs:
        run.model.train()
    going: list[Run] = []
    while left := [run for run in runs if goes_on(run.recipe, run.state)]:
        if left != going:
            going, program = left, Program(left, set_dropout_generator, train[0].device, recorder)
        started = time.perf_counter()
        losses = program.epoch(train)
        ended = [run for run, loss in zip(going, losses, strict=True) if _close(run, loss, train, validation)]
        share = (time.perf_counter() - started) / len(going)
        for run in going:
            run.state.seconds += share
            run.state.replicas = max(run.state.replicas, len(going))
            run.state.replayed |= program.replays
        for run in ended:
            on_epoch(run)


def _close(run: Run, loss: float, train: Split, validation: Split) -> bool:
    return close_epoch(run.model, run.optimizer, run.recipe, run.state, loss, train=train, validation=validation)


class Program:
    """The step of all runs, and their epochs; it lasts until one of them ends."""

    def __init__(
        self,
        runs: Sequence[Run],
        set_dropout_generator: Callable[[nn.Module, Sequence[torch.Generator]], object],
        device: torch.device,
        recorder: Recorder | None,
    ) -> None:
        """As for `train_together`."""
        self._runs = runs
        self._rules = [run.optimizer for run in runs if type(run.optimizer) is SGD]
        if len(self._rules) < len(runs):
            raise ValueError("only plain SGD can be computed as one")
        self._replicas = Replicas([run.model for run in runs])
        self._dropout = [torch.Generator(device=device) for _ in runs]
        set_dropout_generator(self._replicas.network, self._dropout)
        self._recorded = (
            None
            if recorder is None
            else RecordedStep(self._descend, self._touched, self._learning_rates, recorder, self._count)
        )

    @property
    def replays(self) -> bool:
        """Whether its step was recorded and is replayed."""
        return self._recorded is not None and self._recorded.replays

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step of every run on its minibatch, (R, B, C, H, W) in [0, 1] and (R, B); returns the losses (R,)."""
        if self._recorded is not None:
            return self._recorded(images, labels)
        losses = self._descend(images, labels)
        self._count(labels.shape[1])
        return losses

    def epoch(self, train: Split) -> list[float]:
        """One pass over the training set, each run in its own epoch; returns the mean losses."""
        for run, dropout in zip(self._runs, self._dropout, strict=True):
            run.optimizer.learning_rate = run.recipe.schedule(run.recipe.learning_rate, run.state.epochs_done)
            streams.restart(dropout, run.recipe.seed, "dropout", run.state.epochs_done)
        total = torch.zeros(len(self._runs), dtype=torch.float64, device=train[0].device)
        for images, labels in self._minibatches(train):
            total += self.step(images, labels) * labels.shape[1]
        mean: list[float] = (total / len(train[1])).tolist()
        return mean

    def _descend(self, images: Tensor, labels: Tensor) -> Tensor:
        with training_in(self._runs[0].recipe.precision, self._replicas.network):
            losses = self._replicas.differentiate(images, labels)
        for rule in self._rules:
            rule.apply_gradients()
        return losses

    def _count(self, images: int) -> None:
        for rule in self._rules:
            rule.count(images)

    def _touched(self) -> Touched:
        weights = [parameter for run in self._runs for parameter in run.model.parameters()]
        buffers = [buffer for run in self._runs for buffer in run.model.buffers()]
        moments = [moment for rule in self._rules for moment in rule.moments()]
        return Touched(weights, [*buffers, *moments], self._dropout)

    def _learning_rates(self) -> list[float]:
        return [rule.learning_rate for rule in self._rules]

    def _minibatches(self, train: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (R, B, C, H, W) and labels (R, B): slice r is the next minibatch of run r."""
        own = [minibatches(run.recipe, train, run.state.epochs_done) for run in self._runs]
        for batches in zip(*own, strict=True):
            images, labels = zip(*batches, strict=True)
            yield torch.stack(images), torch.stack(labels)
