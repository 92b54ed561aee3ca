"""One trial from start to row: train (or load weights), ask its probes, store the answers.

This is the only file that unpacks a Trial into the plain arguments of the rooms.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import Planned, Trial
from study import checkpoints, pending, provenance, streams
from study.adversarial_training import adversary
from study.asked import Asked
from study.data import AUGMENTATIONS, DATASETS
from study.evaluation import evaluate
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS, Optimizer
from study.options import CHECKPOINT_SECONDS
from study.probing import answer, headline
from study.records import Results
from study.rows import new_row, relabel, union
from study.schedules import SCHEDULES
from study.schema import Row
from study.training import Epoch, Recipe, TrainingState, train

Report = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch, or `probes_answered`, a count, after each probe: signs of life both."""


FINAL_METRICS = (
    "status",
    "status_reason",
    "train_loss",
    "val_acc",
    "test_acc",
    "fgsm_acc",
    "pgd_acc",
    "fgsm_acc_stable",
    "pgd_acc_stable",
    "lambda1_train",
    "lambda1_test",
)
"""The columns of a finished row that Tune is told."""


@dataclass(frozen=True)
class Tensors:
    """The splits of one data set on one device: uint8 images (N, C, H, W), int64 labels (N,); never changed."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where training and probes run."""
        return self.train[0].device


def execute(
    planned: Planned,
    data: Tensors,
    results: Results,
    *,
    report: Report = lambda metrics: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Row:
    """Do the work that is left of a planned trial and store its row; returns the row.

    Weights that are already stored are used, a checkpoint is gone on from, and probes are added to what the row
    already answers. A diverged trial gets a row that says so.

    Raises:
        OSError: the results folder cannot be written to.
        ValueError: the trial names something that does not exist, or its model cannot take its data.
    """
    trial = planned.trial
    model, parent = _build(trial, data), _parent(trial, data, results)
    started_from = None if parent is None else checkpoints.weights_sha256(parent)
    stored = results.read_row(trial.trial_id)
    row = _trained(trial, stored, model, started_from, data, results)
    if row is None:
        planned = _with_lost_answers(planned, stored)
        model = _build(trial, data) if parent is None else copy.deepcopy(parent)
        row = _train(planned, model, started_from, data, results, report, checkpoint_seconds)
    planned = pending.unanswered(planned, row)  # also of a trial restarted after its row was stored
    model.eval()
    if row["status"] == "ok":
        _probe(planned, model, parent, data, row, results, report)
    relabel(row, planned)
    row["finished_at"] = datetime.now(UTC)
    if row["device"] == _device_name(data.device):  # the peak of all the trial's runs on the device it was trained on
        row["peak_memory_bytes"] = max(row["peak_memory_bytes"] or 0, _peak_memory(data.device))
    results.write_row(row)
    results.delete_checkpoint(trial.trial_id)
    return row


def _build(trial: Trial, data: Tensors) -> nn.Module:
    info = DATASETS[trial.dataset]
    stream = streams.generator(trial.seed, "initialization")
    model = build(trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=stream)
    return model.to(data.device)


def _parent(trial: Trial, data: Tensors, results: Results) -> nn.Module | None:
    """The network that training begins with, if it is another trial's, in eval mode."""
    if trial.parent is None:
        return None
    weights = results.read_weights(trial.parent.trial_id)
    if weights is None:
        raise ValueError(f"its parent, trial {trial.parent.trial_id}, has no weights: see that trial's row")
    model = _build(trial.parent, data)
    checkpoints.load_weights(model, weights)
    return model.eval()


def _with_lost_answers(planned: Planned, row: Row | None) -> Planned:
    """What an old row answered is asked again, for its weights are lost and those trained anew may differ."""
    if row is None or row["status"] != "ok":
        return planned
    asked = planned.probes | pending.answered_probes(row)
    return replace(
        planned,
        probes=asked,
        spaces=tuple(union(row["spaces"], planned.spaces)),
        regimes=tuple(union(row["regimes"], planned.regimes)),
    )


def _trained(
    trial: Trial, row: Row | None, model: nn.Module, started_from: str | None, data: Tensors, results: Results
) -> Row | None:
    """The row of a trial that is trained already, its weights put into the model; None if either is not usable.

    `started_from`: the hash of the parent's weights as they are now; a row that began with others is not usable.
    """
    if row is None or row["status"] != "ok":
        return None
    if row["dataset_sha256"] != data.sha256:
        raise ValueError(f"{trial.dataset} is not the data that this trial was trained on; use another --results")
    if started_from is not None and row["parent_sha256"] != started_from:
        return None
    weights = results.read_weights(trial.trial_id)
    if weights is None:
        return None
    try:
        checkpoints.load_weights(model, weights)
    except ValueError:
        return None
    return row


def _train(
    planned: Planned,
    model: nn.Module,
    started_from: str | None,
    data: Tensors,
    results: Results,
    report: Report,
    checkpoint_seconds: float,
) -> Row:
    """Train, store the weights, and return a row in which no probe is answered yet."""
    trial = planned.trial
    row = new_row(planned)
    optimizer = OPTIMIZERS[trial.optimizer](
        model,
        learning_rate=trial.learning_rate,
        momentum=trial.momentum,
        weight_decay=trial.weight_decay,
    )
    state = _resume(trial, model, optimizer, results, started_from)
    started, before = time.perf_counter(), state.seconds
    saved = started

    def on_epoch(epoch: Epoch) -> None:
        nonlocal saved
        now = time.perf_counter()
        state.seconds = before + now - started
        if now - saved >= checkpoint_seconds and state.epochs_done < trial.epochs:
            results.write_checkpoint(trial.trial_id, checkpoints.state_to_bytes(model, optimizer, state, started_from))
            saved = now
        report(asdict(epoch))

    train(
        model,
        optimizer,
        Recipe(
            learning_rate=trial.learning_rate,
            batch_size=trial.batch_size,
            epochs=trial.epochs,
            seed=trial.seed,
            schedule=SCHEDULES[trial.schedule],
            augmentation=AUGMENTATIONS[trial.augmentation],
            target_loss=trial.target_loss,
            perturb=adversary(trial),
        ),
        train=data.train,
        validation=data.validation,
        state=state,
        set_dropout_generator=set_dropout_generator,
        on_epoch=on_epoch,
    )
    on_train, on_test = evaluate(model, *data.train), evaluate(model, *data.test)
    if not state.diverged and not math.isfinite(on_train.loss):
        state.diverged = f"weights not finite after epoch {state.epochs_done}"
    row |= {
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
        "parent_sha256": started_from,
        "n_params": sum(p.numel() for p in model.parameters()),
        "history": [asdict(epoch) for epoch in state.history],
        "dataset_sha256": data.sha256,
        "device": _device_name(data.device),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "deterministic": data.device.type == "cpu" or torch.are_deterministic_algorithms_enabled(),
        "train_seconds": before + time.perf_counter() - started,
        "probe_seconds": 0.0,
    }
    if not state.diverged:
        results.write_weights(trial.trial_id, checkpoints.weights_to_bytes(model))
        results.write_row(row)
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


def _probe(
    planned: Planned,
    model: nn.Module,
    parent: nn.Module | None,
    data: Tensors,
    row: Row,
    results: Results,
    report: Report,
) -> None:
    """Answer the planned probes and add the answers to the row; arrays are stored before it."""
    if not planned.probes:
        return
    started = time.perf_counter()
    asked = Asked(model, {"train": data.train, "test": data.test}, planned.trial.seed, parent)
    answers = answer(asked, planned.probes, lambda number: report({"probes_answered": number}))
    if answers.arrays:
        results.write_arrays(planned.trial.trial_id, answers.arrays)
    for name, entries in answers.lists.items():
        row[name] = [*(row[name] or []), *entries]
    row |= answers.columns
    row["probe_seconds"] = (row["probe_seconds"] or 0.0) + time.perf_counter() - started
    row |= headline(row)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return provenance.peak_memory_bytes()
