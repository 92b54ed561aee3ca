"""Groups of trials trained as one program: each gets its weights and a row whose probes are still to be answered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from search_spaces import TRIAL_FIELDS, Planned
from study.results.folder import Results
from study.results.schema import TRAINED, Row, empty_row
from study.training.batched import best_count, throughput, train_batched
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import TrainingRun
from study.trials.device_data import DeviceData
from study.trials.train import USUAL, Report, TrialSettings, TrialTraining

MAX_GROUP = 64
"""Most trials in a group. Our choice: by then memory traffic, not launches, bounds even small networks on a GPU."""

OWN_FIELDS = ("seed", "learning_rate", "momentum", "weight_decay", "schedule", "epochs", "target_loss")
"""The fields of a trial in which the networks of a group may differ."""

SHARED_FIELDS = tuple(name for name in TRIAL_FIELDS if name not in OWN_FIELDS)
"""The fields in which they agree."""


def group_trials(
    work: Iterable[Planned],
    trained: Container[str],
    *,
    most: int,
    parts: int = 1,
    cost: Callable[[Planned], float] = lambda planned: 1.0,
) -> list[list[Planned]]:
    """Groups of at least two trials that can train as one program.

    Its trials agree in SHARED_FIELDS and may differ in seed, learning rate, momentum, weight decay, schedule and
    length; the longest come first, so that those of one length end together.

    Args:
        work: the trials to group.
        trained: ids of the trials whose row is that of a trained network; they are left out.
        most: largest size of a group.
        parts: the number of GPUs; trials of one kind that have more than one part of the whole cost are split further.
        cost: the cost of a trial, in any unit.
    """
    kinds: dict[tuple[object, ...], list[Planned]] = {}
    for planned in work:
        trial = planned.trial
        plain = trial.optimizer == "sgd" and trial.adversarial_training == "none" and trial.parent is None
        if plain and trial.trial_id not in trained:
            kinds.setdefault(tuple(getattr(trial, name) for name in SHARED_FIELDS), []).append(planned)
    groups: list[list[Planned]] = []
    total_cost = sum(cost(planned) for members in kinds.values() for planned in members)
    for members in kinds.values():
        members.sort(key=lambda planned: -planned.trial.epochs)  # stable: otherwise in the order of the work
        share = math.ceil(parts * sum(map(cost, members)) / total_cost - 1e-9)
        count = max(1, -(-len(members) // most), min(share, len(members) // 2))
        bounds = [i * len(members) // count for i in range(count + 1)]
        groups += [members[start:end] for start, end in itertools.pairwise(bounds) if end - start > 1]
    return groups


def execute_batched(
    leader: Planned,
    data: DeviceData,
    results: Results,
    *,
    groups: Mapping[str, Sequence[Planned]],
    replicas: int | None = None,
    report: Report = lambda metrics: None,
    settings: TrialSettings = USUAL,
) -> Row:
    """Train the group of a leader and store each member's weights and row; returns the leader's row.

    Trained members are left alone and half-trained ones continue from their checkpoints, so a group can be interrupted
    at any time. The rows answer no probe: `study.trials.execute.execute` does that from the stored weights.

    Args:
        leader: a trial that stands for its group.
        data: the images of all members.
        results: the results folder.
        groups: the members of each group, by the leader's trial id.
        replicas: how many members to train together; by default as many as measured throughput recommends. If that is
            one, no member is trained here: networks that fill the device alone are left to their own trials.
        report: called after each member's epoch, as if the group were one trial, with its mean epoch and the newest
            validation accuracy.
        settings: how they are executed.

    Raises:
        OSError: the results folder cannot be written to.
        ValueError: a trial names something that does not exist, or its network cannot be batched.
    """
    group = groups[leader.trial.trial_id]
    begin = partial(TrialTraining, data=data, results=results, settings=settings)
    untrained = _untrained(group, results)
    epochs = {planned.trial.trial_id: planned.trial.epochs for planned in group}
    epochs |= {planned.trial.trial_id: 0 for planned in untrained}

    def report_epoch(member: TrialTraining) -> None:
        state = member.run.state
        epochs[member.trial_id] = state.epochs_done
        if state.history:
            report({"epoch": sum(epochs.values()) // len(epochs), "val_acc": state.history[-1].val_acc})

    def measure(count: int) -> float:
        return throughput([begin(planned).run for planned in untrained[:count]], data.train)

    most = min(replicas, len(untrained)) if replicas else best_count(len(untrained), measure)
    while most > 1 and (untrained := _untrained(untrained, results)):
        try:
            _train([begin(planned) for planned in untrained[:most]], data, results, report_epoch)
        except Exception as error:
            if not out_of_gpu_memory(error):
                raise
            most //= 2
        else:
            continue
        release()  # only here, where the error's frames no longer hold memory; members restart from their checkpoints
    row = results.read_row(leader.trial.trial_id)
    return row if row and row["status"] in TRAINED else empty_row() | {"status": "left"}


def _untrained(group: Sequence[Planned], results: Results) -> list[Planned]:
    rows = [results.read_row(planned.trial.trial_id) for planned in group]
    return [p for p, row in zip(group, rows, strict=True) if row is None or row["status"] not in TRAINED]


def _train(
    members: Sequence[TrialTraining],
    data: DeviceData,
    results: Results,
    report_epoch: Callable[[TrialTraining], None],
) -> None:
    """Train the members together; each is stored as soon as it has finished."""
    unfinished = {member.run: member for member in members}

    def after_epoch(run: TrainingRun) -> None:
        member = unfinished[run]
        member.track(run)
        report_epoch(member)
        member.store_checkpoint(run)
        if run.finished:
            _store(unfinished.pop(run), results)

    train_batched(list(unfinished), train=data.train, validation=data.validation, hooks=[after_epoch])
    for member in unfinished.values():  # had finished in their checkpoint: `train_batched` skips them
        _store(member, results)


def _store(member: TrialTraining, results: Results) -> None:
    row = member.finish() | {"finished_at": datetime.now(UTC)}
    results.write_row(row)
    results.delete_checkpoint(member.trial_id)
