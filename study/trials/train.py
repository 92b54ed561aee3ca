"""The training of one trial: from its plan, or its checkpoint, to stored weights and a row without probes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import Planned, Trial
from study.attacks import ATTACKS
from study.attacks.losses import LOSSES
from study.data import AUGMENTATIONS, DATASETS
from study.models import build, check_network, fingerprint, same_function
from study.optimizers import OPTIMIZERS
from study.results import checkpoints
from study.results.digests import DamagedError
from study.results.folder import CHECKPOINT_SECONDS, Results
from study.results.rows import new_row
from study.results.schema import Row
from study.training import precision, streams
from study.training.cuda_graph import CudaGraphs
from study.training.evaluation import evaluate
from study.training.gpu_memory import forget, out_of_gpu_memory
from study.training.loop import Perturb, Recipe, TrainingRun
from study.training.schedules import SCHEDULES
from study.training.tracking import Tracking, tracked
from study.trials.device_data import DeviceData

Report = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch, or the number `probes_answered` after each probe."""


def build_model(trial: Trial, data: DeviceData) -> nn.Module:
    """The trial's network, newly initialized, on the data's device."""
    info = DATASETS[trial.dataset]
    stream = streams.generator(trial.seed, "initialization")
    model = build(trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=stream)
    return precision.prepare(model.to(data.device), "float32")


def fingerprint_of(trial: Trial) -> str:
    """The fingerprint of the function that makes the trial's network."""
    info = DATASETS[trial.dataset]
    return fingerprint(trial.model, image_shape=info.image_shape, num_classes=info.num_classes)


def is_changed(trial: Trial, row: Row) -> bool:
    """Whether the trial's row was made with another function of its model; not known of old rows."""
    stored = row["model_fingerprint"]
    return stored is not None and not same_function(stored, fingerprint_of(trial))


def changed_model(trial: Trial) -> str:
    """What to do about it."""
    return (
        f"the function of model {trial.model} is not the one that trained the networks stored here: undo the change, "
        "give the new function another name, or use another --results"
    )


def check(trials: Iterable[Trial]) -> None:
    """Make each kind of model and optimizer that the trials name, once, and try the model on two images.

    Where an epoch's last minibatch has one image, the model is tried on one as well: batch normalization of a map of
    one pixel cannot train on that.

    Raises:
        ValueError: images that a model cannot take, a model that draws random numbers which no trial can seed, or
            settings that an optimizer does not support.
    """
    models: dict[tuple[str, str], nn.Module] = {}
    alone, seen = set(), set()
    for trial in trials:
        info, place = DATASETS[trial.dataset], (trial.model, trial.dataset)
        last = trial.train_size % trial.batch_size or trial.batch_size
        shape, classes = info.image_shape, info.num_classes
        if place not in models:
            models[place] = build(trial.model, image_shape=shape, num_classes=classes, generator=torch.Generator())
            try:
                check_network(models[place], shape, classes)
            except ValueError as error:
                raise ValueError(f"model {trial.model}: {error}") from error
        if last == 1 and place not in alone:
            alone.add(place)
            try:
                check_network(models[place], shape, classes, images=1)
            except ValueError as error:
                raise ValueError(
                    f"model {trial.model} cannot train on the last minibatch of {trial.train_size} images by "
                    f"{trial.batch_size}, which has one image: {error}; give another --train-size"
                ) from error
        kind = (*place, trial.optimizer, trial.momentum, trial.weight_decay)
        if kind in seen:
            continue
        seen.add(kind)
        rates = {"learning_rate": trial.learning_rate, "momentum": trial.momentum, "weight_decay": trial.weight_decay}
        try:
            OPTIMIZERS[trial.optimizer](models[place], **rates)
        except (TypeError, ValueError) as error:
            raise ValueError(f"optimizer {trial.optimizer}: {error}") from error


OF_TRAINING = ("git_sha", "versions", "started_at", "peak_memory_bytes")
"""Columns of a new row that describe its training."""


@dataclass(frozen=True)
class TrialSettings:
    """How a trial is executed.

    Attributes:
        checkpoint_seconds: least time between two checkpoints, and between two times that answers are stored.
        replay: on a GPU, capture the training step as a CUDA graph and replay it.
        track: share of the training's time that is spent on its curvature; None: it is not tracked.
        memory_fraction: the trial's share of the device's free memory, for tracking and for the Hessian's products.
    """

    checkpoint_seconds: float = CHECKPOINT_SECONDS
    replay: bool = True
    track: float | None = None
    memory_fraction: float = 1.0


USUAL = TrialSettings()


class TrialTraining:
    """A trial in training: train its `run`, with `track` and `store_checkpoint` as hooks, then `finish`."""

    def __init__(
        self,
        planned: Planned,
        data: DeviceData,
        results: Results,
        *,
        parent: nn.Module | None = None,
        settings: TrialSettings = USUAL,
    ) -> None:
        """Begin, or continue from the trial's checkpoint.

        Args:
            planned: the trial.
            data: its images.
            results: where checkpoints, weights and the row go.
            parent: the network that training starts from, if the trial has a parent.
            settings: how it is executed.

        Raises:
            ValueError: the trial names something that does not exist or that this device cannot do.
        """
        trial = planned.trial
        precision.check(trial.precision, data.device)
        model = build_model(trial, data) if parent is None else copy.deepcopy(parent)
        precision.prepare(model, trial.precision)
        optimizer = OPTIMIZERS[trial.optimizer](
            model,
            learning_rate=trial.learning_rate,
            momentum=trial.momentum,
            weight_decay=trial.weight_decay,
        )
        self._tracking = None
        if settings.track is not None:
            images, epochs = tracked(trial.epochs, trial.train_size, settings.track)
            if images:
                self._tracking = Tracking(data.train, images, epochs, settings.memory_fraction)
        self.trial_id = trial.trial_id
        self.run = TrainingRun(model, optimizer, _recipe(trial, graphs=settings.replay and data.device.type == "cuda"))
        self._data, self._results, self._num_classes = data, results, DATASETS[trial.dataset].num_classes
        self._fingerprint = fingerprint_of(trial)
        self._parent_sha256 = None if parent is None else checkpoints.weights_sha256(parent)
        self._began = self._parent_sha256, self._fingerprint, data.sha256
        self._checkpoint_seconds = settings.checkpoint_seconds
        self._row = new_row(planned)
        self._saved = time.perf_counter()
        self._resume()

    def _resume(self) -> None:
        """Load the trial's checkpoint; without one, or from a damaged one, training starts at the beginning."""
        model, optimizer = self.run.model, self.run.optimizer
        stored = self._results.read_checkpoint(self.trial_id)
        if stored is None:
            return
        fresh = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        try:
            self.run.state = checkpoints.load_state(model, optimizer, stored, *self._began)
        except ValueError as error:
            if isinstance(error, DamagedError):
                self._results.set_aside(f"checkpoints/{self.trial_id}.pt", str(error))
            model.load_state_dict(fresh[0])
            optimizer.load_state_dict(fresh[1])

    def track(self, run: TrainingRun) -> None:
        """A hook for the training loop, before `store_checkpoint`: add the epoch's curvature if it is tracked.

        Tracking ends, and the trial's log says why, where torch cannot compute it, as with a layer that has no second
        derivative, or where a whole GPU is too small for it.
        """
        if self._tracking is None:
            return
        try:
            self._tracking(run)
        except Exception as error:
            if isinstance(error, OSError) or (out_of_gpu_memory(error) and self._tracking.memory_fraction < 1):
                raise
            forget(error)
            self._tracking = None
            run.model.train()
            self._results.write_log(self.trial_id, f"the curvature was not tracked: {error}\n")

    def store_checkpoint(self, run: TrainingRun) -> None:
        """A hook for the training loop: store a checkpoint if one is due."""
        now = time.perf_counter()
        if now - self._saved >= self._checkpoint_seconds and not run.finished:
            state = checkpoints.state_to_bytes(run.model, run.optimizer, run.state, *self._began)
            self._results.write_checkpoint(self.trial_id, state)
            self._saved = now

    def finish(self, earlier: Row | None = None) -> Row:
        """Evaluate the trained network and return its row; weights and row are stored unless it diverged.

        `earlier`: the stored row of this trial, if its weights were lost and it was trained again. If the new weights
        have the same digest, the row keeps its probe answers, and its history if more of its epochs were tracked; the
        columns OF_TRAINING are those of the new training.
        """
        started = time.perf_counter()
        model, state, data = precision.prepare(self.run.model, "float32"), self.run.state, self._data
        on_train, on_test = evaluate(model, *data.train), evaluate(model, *data.test)
        if not state.diverged and not math.isfinite(on_train.loss):
            state.diverged = f"weights not finite after epoch {state.epochs_done}"
        digest = checkpoints.weights_sha256(model)
        begun, history = self._row, [asdict(epoch) for epoch in state.history]
        if earlier is not None and earlier["weights_sha256"] == digest and not state.diverged:
            begun = earlier | {name: self._row[name] for name in OF_TRAINING}
            history = max(history, earlier["history"], key=_epochs_tracked)
        row = begun | {
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
            "train_confidence": on_train.confidence,
            "test_confidence": on_test.confidence,
            "weight_norm": checkpoints.weight_norm(model),
            "weights_sha256": digest,
            "model_fingerprint": self._fingerprint,
            "parent_sha256": self._parent_sha256,
            "n_params": sum(p.numel() for p in model.parameters()),
            "num_classes": self._num_classes,
            "history": history,
            "dataset_sha256": data.sha256,
            "device": data.device_name,
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "replicas": state.replicas,
            "replayed": state.replayed,
            "deterministic": data.device.type == "cpu" or torch.are_deterministic_algorithms_enabled(),
            "train_seconds": state.seconds + time.perf_counter() - started,
            "probe_seconds": begun["probe_seconds"] or 0.0,
        }
        if state.not_replayed:
            self._results.write_log(self.trial_id, f"training steps were not replayed: {state.not_replayed}\n")
        if not state.diverged:
            self._results.write_weights(self.trial_id, checkpoints.weights_to_bytes(model))
            self._results.write_row(row)
        return row


def _epochs_tracked(history: Iterable[Mapping[str, Any]]) -> int:
    return sum(epoch["lambda1"] is not None for epoch in history)


def _recipe(trial: Trial, *, graphs: bool) -> Recipe:
    return Recipe(
        learning_rate=trial.learning_rate,
        batch_size=trial.batch_size,
        epochs=trial.epochs,
        seed=trial.seed,
        schedule=SCHEDULES[trial.schedule],
        augmentation=AUGMENTATIONS[trial.augmentation],
        target_loss=trial.target_loss,
        perturb=_adversary(trial),
        graphs=CudaGraphs() if graphs else None,
        precision=trial.precision,
    )


def _adversary(trial: Trial) -> Perturb | None:
    """The attack that replaces a trial's minibatches, on cross-entropy as published; None for natural training.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 3.3.
    """
    if trial.adversarial_training == "none":
        return None
    attack = ATTACKS[trial.adversarial_training].run

    def perturb(model: nn.Module, x: Tensor, y: Tensor, random_starts: torch.Generator) -> Tensor:
        return attack(model, x, y, epsilon=trial.adversarial_epsilon, loss=LOSSES["ce"], generator=random_starts)

    return perturb
