"""Trials trained as one program: each gets its weights and its row, in which no probe is answered yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from search_spaces import Planned
from study.models import set_dropout_generator
from study.results.folder import CHECKPOINT_SECONDS, Results
from study.results.schema import TRAINED, Row, empty_row
from study.training.batched import train_together
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import Run
from study.training.throughput import best_count, throughput
from study.trials.device_data import Tensors
from study.trials.train import Report, TrialTraining, build_model

REPORT_SECONDS = 1.0
"""At most so often the driver is told how far a group is: each report waits for it."""


def execute_together(
    leader: Planned,
    data: Tensors,
    results: Results,
    *,
    groups: Mapping[str, Sequence[Planned]],
    replicas: int | None = None,
    report: Report = lambda metrics: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    replay: bool = True,
) -> Row:
    """Train the group that `leader` stands for, and store each member's weights and row; returns the leader's row.

    `replicas` of them at a time, by default as many as measured throughput says; where it says one, none is trained
    here: a network that fills the device alone is its trial's to train. Members that are trained already are left
    alone, half-trained ones go on from their own checkpoints, so a group can be interrupted anywhere. The rows answer
    nothing: `study.trials.execute.execute` does that, from the weights, as of a trial trained alone.

    Raises:
        OSError: the results folder cannot be written to.
        ValueError: a trial names something that does not exist, or its network cannot be one of several.
    """
    group = groups[leader.trial.trial_id]
    begin = partial(_begin, data=data, results=results, checkpoint_seconds=checkpoint_seconds, replay=replay)
    left = _untrained(group, results)
    progress = _GroupProgress(group, left, report)

    def measured(count: int) -> float:
        return throughput([begin(planned).run for planned in left[:count]], data.train)

    most = min(replicas, len(left)) if replicas else best_count(len(left), measured)
    while most > 1 and (left := _untrained(left, results)):
        try:
            _train([begin(planned) for planned in left[:most]], data, results, progress)
        except Exception as error:
            if not out_of_gpu_memory(error):
                raise
            most //= 2
        else:
            continue
        release()  # and again from the checkpoints: a step may have been half done
    return results.read_row(leader.trial.trial_id) or empty_row() | {"status": "left"}


def _begin(planned: Planned, data: Tensors, results: Results, checkpoint_seconds: float, replay: bool) -> TrialTraining:
    model = build_model(planned.trial, data)
    return TrialTraining(planned, model, data, results, checkpoint_seconds=checkpoint_seconds, replay=replay)


def _untrained(group: Sequence[Planned], results: Results) -> list[Planned]:
    rows = [results.read_row(planned.trial.trial_id) for planned in group]
    return [p for p, row in zip(group, rows, strict=True) if row is None or row["status"] not in TRAINED]


def _train(members: Sequence[TrialTraining], data: Tensors, results: Results, progress: _GroupProgress) -> None:
    """Train these together; each is stored as soon as it ends."""
    by_run = {id(member.run): member for member in members}

    def on_epoch(run: Run) -> None:
        member = by_run[id(run)]
        progress.epoch(member)
        if member.ended:
            _store(by_run.pop(id(run)), results)
        else:
            member.store()

    train_together(
        [member.run for member in members],
        train=data.train,
        validation=data.validation,
        set_dropout_generator=set_dropout_generator,
        on_epoch=on_epoch,
    )
    for member in by_run.values():  # whose checkpoint was their end
        _store(member, results)


def _store(member: TrialTraining, results: Results) -> None:
    row = member.finish() | {"finished_at": datetime.now(UTC)}
    results.write_row(row)
    results.delete_checkpoint(row["trial_id"])


class _GroupProgress:
    """Tells the driver how far a group is, as if it were one trial: its mean epoch, the newest validation accuracy."""

    def __init__(self, group: Sequence[Planned], left: Sequence[Planned], report: Report) -> None:
        done = {p.trial.trial_id for p in group} - {p.trial.trial_id for p in left}
        self._epochs = {p.trial.trial_id: p.trial.epochs if p.trial.trial_id in done else 0 for p in group}
        self._report, self._last = report, time.monotonic()

    def epoch(self, member: TrialTraining) -> None:
        """A member has completed an epoch."""
        state = member.run.state
        self._epochs[member.trial_id] = state.epochs_done
        if state.history and time.monotonic() - self._last >= REPORT_SECONDS:
            self._last = time.monotonic()
            mean = sum(self._epochs.values()) // len(self._epochs)
            self._report({"epoch": mean, "val_acc": state.history[-1].val_acc})
