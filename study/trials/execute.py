"""One trial from start to row: train (or load weights), ask its probes, store the answers.

Only this file and `study.trials.train` unpack a Trial into the plain arguments of the rooms.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from datetime import UTC, datetime

import torch
from torch import nn

from search_spaces import Planned, Trial
from study.results import checkpoints, provenance
from study.results.folder import CHECKPOINT_SECONDS, Results
from study.results.rows import relabel, union
from study.results.schema import Row
from study.trials import pending
from study.trials.device_data import Tensors
from study.trials.probed_network import Asked
from study.trials.probes import answer, headline
from study.trials.train import Report, TrialTraining, build_model

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


def execute(
    planned: Planned,
    data: Tensors,
    results: Results,
    *,
    report: Report = lambda metrics: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    replay: bool = True,
) -> Row:
    """Do the work that is left of a planned trial and store its row; returns the row.

    Weights that are already stored are used, a checkpoint is gone on from, and probes are added to what the row
    already answers. A diverged trial gets a row that says so. `replay`: on a GPU, record and replay training steps.

    Raises:
        OSError: the results folder cannot be written to.
        ValueError: the trial names something that does not exist, or its model cannot take its data.
    """
    trial = planned.trial
    model, parent = build_model(trial, data), _parent(trial, data, results)
    started_from = None if parent is None else checkpoints.weights_sha256(parent)
    stored = results.read_row(trial.trial_id)
    row = _trained(trial, stored, model, started_from, data, results)
    if row is None:
        planned = _with_lost_answers(planned, stored)
        model = build_model(trial, data) if parent is None else copy.deepcopy(parent)
        training = TrialTraining(
            planned,
            model,
            data,
            results,
            started_from=started_from,
            checkpoint_seconds=checkpoint_seconds,
            replay=replay,
        )
        training.train(report)
        row = training.finish()
    planned = pending.unanswered(planned, row)  # also of a trial restarted after its row was stored
    model.eval()
    if row["status"] == "ok":
        _probe(planned, model, parent, data, row, results, report)
    relabel(row, planned)
    row["finished_at"] = datetime.now(UTC)
    if row["device"] == data.device_name:  # the peak of all the trial's runs on the device it was trained on
        row["peak_memory_bytes"] = max(row["peak_memory_bytes"] or 0, _peak_memory(data.device))
    results.write_row(row)
    results.delete_checkpoint(trial.trial_id)
    return row


def _parent(trial: Trial, data: Tensors, results: Results) -> nn.Module | None:
    """The network that training begins with, if it is another trial's, in eval mode."""
    if trial.parent is None:
        return None
    weights = results.read_weights(trial.parent.trial_id)
    if weights is None:
        raise ValueError(f"its parent, trial {trial.parent.trial_id}, has no weights: see that trial's row")
    model = build_model(trial.parent, data)
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


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return provenance.peak_memory_bytes()
