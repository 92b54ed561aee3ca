"""One trial's training, from its plan to stored weights and a row in which no probe is answered yet."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from search_spaces import Planned, Trial
from study.data import AUGMENTATIONS, DATASETS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS, Optimizer
from study.results import checkpoints
from study.results.folder import CHECKPOINT_SECONDS, Results
from study.results.rows import new_row
from study.results.schema import Row
from study.training import precision, streams
from study.training.cuda_graph import CudaGraphs
from study.training.evaluation import evaluate
from study.training.loop import Recipe, Run, TrainingState, goes_on, train
from study.training.schedules import SCHEDULES
from study.trials.adversarial_training import adversary
from study.trials.device_data import Tensors

Report = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch, or `probes_answered`, a count, after each probe: signs of life both."""


def build_model(trial: Trial, data: Tensors) -> nn.Module:
    """The trial's network before training, on the data's device."""
    info = DATASETS[trial.dataset]
    stream = streams.generator(trial.seed, "initialization")
    model = build(trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=stream)
    return precision.prepare(model.to(data.device), trial.precision)


class TrialTraining:
    """A trial being trained: `run` is the network and how far it has come, `finish` makes its row."""

    def __init__(
        self,
        planned: Planned,
        model: nn.Module,
        data: Tensors,
        results: Results,
        *,
        started_from: str | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        replay: bool = True,
    ) -> None:
        """Go on from the trial's checkpoint, or begin.

        Args:
            planned: the trial.
            model: its network before training.
            data: its images.
            results: where checkpoints, weights and the row go.
            started_from: the hash of its parent's weights, if it has a parent.
            checkpoint_seconds: store a half-trained network this often.
            replay: on a GPU, record the step as a CUDA graph.

        Raises:
            ValueError: the trial names something that does not exist, or that this device cannot do.
        """
        trial = planned.trial
        precision.check(trial.precision, data.device)
        self.trial_id = trial.trial_id
        self._data, self._results = data, results
        self._started_from, self._checkpoint_seconds = started_from, checkpoint_seconds
        self._row = new_row(planned)
        self._saved = time.perf_counter()
        optimizer = OPTIMIZERS[trial.optimizer](
            model,
            learning_rate=trial.learning_rate,
            momentum=trial.momentum,
            weight_decay=trial.weight_decay,
        )
        recipe = Recipe(
            learning_rate=trial.learning_rate,
            batch_size=trial.batch_size,
            epochs=trial.epochs,
            seed=trial.seed,
            schedule=SCHEDULES[trial.schedule],
            augmentation=AUGMENTATIONS[trial.augmentation],
            target_loss=trial.target_loss,
            perturb=adversary(trial),
            recorder=CudaGraphs() if replay and data.device.type == "cuda" else None,
            precision=trial.precision,
        )
        self.run = Run(model, optimizer, recipe, _resume(trial, model, optimizer, results, started_from))

    @property
    def ended(self) -> bool:
        """Whether there is no epoch left to train."""
        return not goes_on(self.run.recipe, self.run.state)

    def train(self, report: Report) -> None:
        """Train to the end, alone; each epoch is reported."""

        def on_epoch(epoch: object) -> None:
            self.store()
            report(asdict(self.run.state.history[-1]))

        run, data = self.run, self._data
        train(
            run.model,
            run.optimizer,
            run.recipe,
            train=data.train,
            validation=data.validation,
            state=run.state,
            set_dropout_generator=set_dropout_generator,
            on_epoch=on_epoch,
        )

    def store(self) -> None:
        """After an epoch: write a checkpoint if one is due."""
        now = time.perf_counter()
        if now - self._saved >= self._checkpoint_seconds and not self.ended:
            run = self.run
            state = checkpoints.state_to_bytes(run.model, run.optimizer, run.state, self._started_from)
            self._results.write_checkpoint(self.trial_id, state)
            self._saved = now

    def finish(self) -> Row:
        """Evaluate the trained network, store its weights, and return its row; that of a diverged one is not stored."""
        started = time.perf_counter()
        model, state, data = self.run.model, self.run.state, self._data
        on_train, on_test = evaluate(model, *data.train), evaluate(model, *data.test)
        if not state.diverged and not math.isfinite(on_train.loss):
            state.diverged = f"weights not finite after epoch {state.epochs_done}"
        row = self._row | {
            "status": "diverged" if state.diverged else "ok",
            "status_reason": state.diverged or None,
            "epochs_done": state.epochs_done,
            "steps": state.steps,
            "gradient_equivalents": state.gradient_equivalents,
            "reached_target": state.reached_target,
            "train_loss": on_train.loss,
            "train_acc": on_train.accuracy,
            "val_acc": state.history[-1].val_acc if state.history else None,
            "test_loss": on_test.loss,
            "test_acc": on_test.accuracy,
            "weight_norm": checkpoints.weight_norm(model),
            "weights_sha256": checkpoints.weights_sha256(model),
            "parent_sha256": self._started_from,
            "n_params": sum(p.numel() for p in model.parameters()),
            "history": [asdict(epoch) for epoch in state.history],
            "dataset_sha256": data.sha256,
            "device": data.device_name,
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "replicas": state.replicas,
            "replayed": state.replayed,
            "deterministic": data.device.type == "cpu" or torch.are_deterministic_algorithms_enabled(),
            "train_seconds": state.seconds + time.perf_counter() - started,
            "probe_seconds": 0.0,
        }
        if state.not_replayed:
            self._results.write_log(self.trial_id, f"training steps were not replayed: {state.not_replayed}\n")
        if not state.diverged:
            self._results.write_weights(self.trial_id, checkpoints.weights_to_bytes(model))
            self._results.write_row(row)
        return row


def _resume(
    trial: Trial, model: nn.Module, optimizer: Optimizer, results: Results, started_from: str | None
) -> TrainingState:
    """Go on from the trial's checkpoint; a missing or damaged one costs time, not the trial."""
    stored = results.read_checkpoint(trial.trial_id)
    if stored is None:
        return TrainingState()
    fresh = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    try:
        return checkpoints.load_state(model, optimizer, stored, started_from)
    except ValueError:
        model.load_state_dict(fresh[0])
        optimizer.load_state_dict(fresh[1])
        return TrainingState()
