"""The training loop for several networks as one program, each with its own data order, rate, momentum and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from study.optimizers import SGD
from study.training import streams
from study.training.cuda_graph import RecordedStep, Touched
from study.training.loop import Run, close_epoch, goes_on, minibatches
from study.training.precision import training_in
from study.training.stacked import Replicas, own_weights

Split = tuple[Tensor, Tensor]


def train_together(
    runs: Sequence[Run],
    *,
    train: Split,
    validation: Split,
    set_dropout_generator: Callable[[nn.Module, torch.Generator | Sequence[torch.Generator]], object],
    on_epoch: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train every run from its state to its recipe's end, as `study.training.loop.train` would, within rounding.

    Each has its own seed, rate, schedule, momentum, weight decay, target loss and number of epochs, and may begin at
    another epoch; a run that has ended, or diverged, leaves the others as they are. `state.seconds` grows by the run's
    share of the time. With a recorder in the recipes, steps are recorded and replayed.

    Args:
        runs: of one architecture and batch size, on one device.
        train, validation: as for `study.training.loop.train`, of all runs.
        set_dropout_generator: the models room's.
        on_epoch: called after each run's epoch, with the run; also after the one in which it diverged.

    Raises:
        ValueError: the runs cannot be one program: other batch sizes, architectures or optimizers, or adversarial
            training.
    """
    if len({(run.recipe.batch_size, run.recipe.precision) for run in runs}) > 1 or any(r.recipe.perturb for r in runs):
        raise ValueError("only natural training with one batch size and precision can be computed as one")
    for run in runs:
        run.model.train()
    while going := [run for run in runs if goes_on(run.recipe, run.state)]:
        program = Program(going, set_dropout_generator, train[0].device)
        while all(goes_on(run.recipe, run.state) for run in going):
            _train_epoch(program, going, train, validation, on_epoch)
        del program  # its memory before the next
        for run in going:
            if not goes_on(run.recipe, run.state):
                own_weights(run.model)


def _train_epoch(
    program: Program, runs: Sequence[Run], train: Split, validation: Split, on_epoch: Callable[[Run], None]
) -> None:
    """One epoch of every run, with what is noted of it."""
    started = time.perf_counter()
    losses = program.epoch(train)
    for run, loss in zip(runs, losses, strict=True):
        close_epoch(run.model, run.optimizer, run.recipe, run.state, loss, train=train, validation=validation)
    share = (time.perf_counter() - started) / len(runs)
    for run in runs:
        run.state.seconds += share
        run.state.replicas = max(run.state.replicas, len(runs))
        if program.recorded is not None:
            run.state.replayed, run.state.not_replayed = program.recorded.replays, program.recorded.gave_up
        on_epoch(run)


class Program:
    """The epochs of all runs as one program; it lasts until one of them ends."""

    def __init__(
        self,
        runs: Sequence[Run],
        set_dropout_generator: Callable[[nn.Module, Sequence[torch.Generator]], object],
        device: torch.device,
    ) -> None:
        """As for `train_together`."""
        self._runs = runs
        self._dropout = [torch.Generator(device=device) for _ in runs]
        self._sgd = sgd = _FusedSGD(runs, self._dropout)
        set_dropout_generator(sgd.replicas.network, self._dropout)
        recorder = runs[0].recipe.recorder
        self.recorded = (
            RecordedStep(sgd.descend, sgd.touched, sgd.learning_rates, recorder, sgd.count) if recorder else None
        )

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step of every run on its minibatch, (R, B, C, H, W) in [0, 1] and (R, B); returns the losses (R,)."""
        return self.recorded(images, labels) if self.recorded else self._sgd.step(images, labels)

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

    def _minibatches(self, train: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (R, B, C, H, W) and labels (R, B): slice r is the next minibatch of run r."""
        networks = len(self._runs)
        own = [minibatches(run.recipe, train, run.state.epochs_done, networks=networks) for run in self._runs]
        for batches in zip(*own, strict=True):
            images, labels = zip(*batches, strict=True)
            yield torch.stack(images), torch.stack(labels)


class _FusedSGD:
    """The gradients of all runs in one pass, then each run's own update. No cycle holds its GPU memory."""

    def __init__(self, runs: Sequence[Run], dropout: Sequence[torch.Generator]) -> None:
        self._rules = [run.optimizer for run in runs if type(run.optimizer) is SGD]
        if len(self._rules) < len(runs):
            raise ValueError("only plain SGD can be computed as one")
        self.replicas = Replicas([run.model for run in runs])
        self._precision, self._dropout = runs[0].recipe.precision, dropout

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        losses = self.descend(images, labels)
        self.count(labels.shape[1])
        return losses

    def descend(self, images: Tensor, labels: Tensor) -> Tensor:
        with training_in(self._precision, self.replicas.network):
            losses = self.replicas.differentiate(images, labels)
        for rule in self._rules:
            rule.apply_gradients()
        return losses

    def count(self, images: int) -> None:
        for rule in self._rules:
            rule.count(images)

    def touched(self) -> Touched:
        pairs = zip(self.replicas.models, self._rules, strict=True)
        return Touched([[list(m.parameters()), list(m.buffers()), rule.moments()] for m, rule in pairs], self._dropout)

    def learning_rates(self) -> list[float]:
        return [rule.learning_rate for rule in self._rules]
