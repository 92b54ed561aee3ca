"""One trial from its plan to its row: train (or load stored weights), answer its probes, store everything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import torch
from torch import nn

from search_spaces import Planned, Probe, Trial
from study.data import DATASETS
from study.results import answers, checkpoints, provenance
from study.results.folder import Results
from study.results.rows import new_row, relabel, union
from study.results.schema import Row
from study.training.loop import TrainingRun, train
from study.trials import pending
from study.trials.device_data import DeviceData
from study.trials.probes import ProbedNetwork, ProbeResults, run_probes
from study.trials.train import USUAL, Report, TrialSettings, TrialTraining, build_model, changed_model, is_changed

FINAL_METRICS = (
    "status",
    "status_reason",
    "train_loss",
    "val_acc",
    "test_acc",
    "headline_epsilon",
    "fgsm_acc",
    "pgd_acc",
    "fgsm_acc_stable",
    "pgd_acc_stable",
    "lambda1_train",
    "lambda1_test",
)
"""The columns of a finished row that are reported to Tune."""


class ProbeError(RuntimeError):
    """Some probes could not be answered; what the others found is stored."""


def execute(
    planned: Planned,
    data: DeviceData,
    results: Results,
    *,
    report: Report = lambda metrics: None,
    settings: TrialSettings = USUAL,
) -> Row:
    """Do the pending work of a trial, store its row and return it.

    Stored weights are loaded, else training continues from the checkpoint or starts. Probes are added to those that the
    row holds answers to; these are answered again where arrays are lost, or lost weights are trained to others. The row
    of a diverged trial, or of one whose parent has diverged, says so and answers no probe.

    Args:
        planned: the trial and the probes to answer.
        data: its images.
        results: the results folder.
        report: called with each epoch's metrics and the number of epochs that a checkpoint had, and with the number of
            answered probes after each.
        settings: how it is executed.

    Raises:
        OSError: the results folder cannot be written to.
        ValueError: the trial names something that does not exist, or its model cannot take its data.
        ProbeError: a probe cannot be answered. The row, with all other answers, is stored first; its `status_reason`
            says why this one is missing.
    """
    trial = planned.trial
    parent_row = results.read_row(trial.parent.trial_id) if trial.parent else None
    if parent_row is not None and parent_row["status"] == "diverged":
        return _without_start(planned, parent_row, results)
    parent = _load_parent(trial, parent_row, data, results)
    stored = results.read_row(trial.trial_id)
    planned = _with_old_probes(planned, stored)
    trained = _load_trained(trial, stored, parent, data, results)
    if trained is None:

        def report_epoch(run: TrainingRun) -> None:
            if not run.state.diverged:
                report({**run.state.history[-1].measured(), "resumed_at": resumed_at})

        training = TrialTraining(planned, data, results, parent=parent, settings=settings)
        resumed_at = training.run.state.epochs_done
        hooks = [training.track, training.store_checkpoint, report_epoch]
        train(training.run, train=data.train, validation=data.validation, hooks=hooks)
        trained = training.run.model, training.finish(stored)
    model, row = trained
    row = _without_lost_arrays(row, results)
    relabel(row, planned)
    failures: Sequence[tuple[Probe, Exception]] = ()
    probes = pending.unanswered(planned, row).probes
    if row["status"] == "ok" and probes:
        splits = {"train": data.train, "test": data.test}
        network = ProbedNetwork(model.eval(), splits, trial.seed, parent, settings.memory_fraction)
        failures = _answer(network, probes, row, data, results, report, settings.checkpoint_seconds)
    else:
        _store(row, data, results)
    results.delete_checkpoint(trial.trial_id)
    if failures:
        raise ProbeError(row["status_reason"]) from failures[0][1]
    return row


def _answer(
    network: ProbedNetwork,
    probes: Iterable[Probe],
    row: Row,
    data: DeviceData,
    results: Results,
    report: Report,
    store_seconds: float,
) -> Sequence[tuple[Probe, Exception]]:
    """Add the probes' answers to the row and the trial's arrays; returns the probes that could not be answered.

    Both are stored after the last probe, and after any other if `store_seconds` have passed since: whoever continues
    asks only what is missing.
    """
    before, started = dict(row), time.perf_counter()
    found, stored, arrays = ProbeResults(), started, 0

    def store() -> None:
        nonlocal stored, arrays
        row.update({name: [*(before[name] or []), *entries] for name, entries in found.lists.items()})
        row.update(found.columns)
        row["probe_seconds"] = (before["probe_seconds"] or 0.0) + time.perf_counter() - started
        row.update(answers.headline(row))
        row["status_reason"] = _unanswered(found.failures)
        if len(found.arrays) > arrays:
            results.write_arrays(row["trial_id"], found.arrays)
        _store(row, data, results)
        stored, arrays = time.perf_counter(), len(found.arrays)

    try:
        for number in run_probes(network, probes, found):
            if time.perf_counter() - stored >= store_seconds:
                store()
            report({"probes_answered": number})
    finally:  # also where a shared GPU has no memory left
        store()
    return found.failures


def _store(row: Row, data: DeviceData, results: Results) -> None:
    row["finished_at"] = datetime.now(UTC)
    if row["device"] == data.device_name:  # the peak over all runs of this trial on the device that trained it
        row["peak_memory_bytes"] = max(row["peak_memory_bytes"] or 0, _peak_memory(data.device))
    results.write_row(row)


def _unanswered(failures: Sequence[tuple[Probe, Exception]]) -> str | None:
    """Which probes have no answer and why, in a line."""
    if not failures:
        return None
    first, error = failures[0]
    names = "; ".join(" ".join(map(str, probe.key)) for probe, _ in failures)
    reason = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__} in probe {' '.join(map(str, first.key))}: {reason}; not answered: {names}"[:500]


def _without_start(planned: Planned, parent: Row, results: Results) -> Row:
    """Store and return the row of a trial whose parent has diverged: it counts as diverged, and is not tried again."""
    reason = f"its parent, trial {parent['trial_id']}, diverged: {parent['status_reason']}"
    outcome = {"status": "diverged", "status_reason": reason, "parent_sha256": parent["weights_sha256"]}
    outcome |= {"epochs_done": 0, "num_classes": DATASETS[planned.trial.dataset].num_classes}
    row = new_row(planned) | outcome | {"finished_at": datetime.now(UTC)}
    results.write_row(row)
    results.delete_checkpoint(planned.trial.trial_id)
    return row


def _without_lost_arrays(row: Row, results: Results) -> Row:
    """The row without the answers that have an array which is not stored."""
    columns = {"minimal_epsilon": "minimal_epsilon_area"}
    columns |= {f"lambda1_x_{split}": f"lambda1_x_{split}" for split in answers.SPLITS}
    if not (row["landscapes"] or any(row[column] is not None for column in columns.values())):
        return row
    arrays = results.read_arrays(row["trial_id"]).keys()
    row = row | {column: None for array, column in columns.items() if array not in arrays}
    if row["landscapes"]:
        row["landscapes"] = [one for one in row["landscapes"] if {one["offsets"], one["losses"]} <= set(arrays)]
    return row


def _load_parent(trial: Trial, row: Row | None, data: DeviceData, results: Results) -> nn.Module | None:
    """The trained network that this trial starts from, in eval mode, if it has a parent, which has this row."""
    if trial.parent is None:
        return None
    model = _load_weights(trial.parent, row, data, results)
    if model is None:
        raise ValueError(
            f"the weights of its parent, trial {trial.parent.trial_id}, are missing or were damaged: the same command "
            "trains it again"
        )
    return model.eval()


def _load_weights(trial: Trial, row: Row | None, data: DeviceData, results: Results) -> nn.Module | None:
    """The network with a trial's stored weights; None if there are none, or if they are damaged: set aside then."""
    if row is not None and is_changed(trial, row):
        raise ValueError(changed_model(trial))
    weights = results.read_weights(trial.trial_id)
    if weights is None:
        return None
    model = build_model(trial, data)
    try:
        checkpoints.load_weights(model, weights, row["weights_sha256"] if row else None)
    except ValueError as error:
        results.set_aside(f"weights/{trial.trial_id}.safetensors", str(error))
        return None
    return model


def _load_trained(
    trial: Trial, row: Row | None, parent: nn.Module | None, data: DeviceData, results: Results
) -> tuple[nn.Module, Row] | None:
    """The network and row of a trial that is trained already; None if either is missing or damaged.

    A row that started from other weights of the parent than those stored now counts as missing.
    """
    if row is None or row["status"] != "ok":
        return None
    if row["dataset_sha256"] != data.sha256:
        raise ValueError(f"{trial.dataset} is not the data that this trial was trained on; use another --results")
    if parent is not None and row["parent_sha256"] != checkpoints.weights_sha256(parent):
        return None
    model = _load_weights(trial, row, data, results)
    return None if model is None else (model, row)


def _with_old_probes(planned: Planned, row: Row | None) -> Planned:
    """Add the probes that the stored row answers.

    If the weights are lost, retraining may give other ones, to which the old answers would not belong.
    """
    if row is None or row["status"] != "ok":
        return planned
    return replace(
        planned,
        probes=planned.probes | answers.answered_probes(row),
        spaces=tuple(union(row["spaces"], planned.spaces)),
        regimes=tuple(union(row["regimes"], planned.regimes)),
    )


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return provenance.peak_memory_bytes()
