"""A study as Ray Tune experiments: batched training first, then every trial, parents before their children."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray import tune

from search_spaces import Planned
from study.data import Splits
from study.results.folder import Results
from study.results.schema import TRAINED, Row
from study.trials.device_data import DataKey
from study.trials.execute import execute
from study.trials.execute_batched import MAX_GROUP, execute_batched, group_trials
from study.trials.outside import Outside
from study.tuning.callbacks import HangDetector, StudyCallback
from study.tuning.cluster import gpu_use, read_capacity
from study.tuning.costs import CostModel
from study.tuning.gpu_shares import DEFAULT_SHARE
from study.tuning.progress import Display, Progress, describe_trial, error_summary
from study.tuning.settings import RunSettings
from study.tuning.trackers import Trackers
from study.tuning.trainable import Execute, References, run_trial

MAX_FAILURES = 3
"""Restarts of a trial whose worker was lost, before it is recorded as failed."""

PAUSE_SECONDS = 10.0
"""Before the next attempt if Tune ended before any trial ran."""

AUTOSCALED_GPUS = 8
"""GPUs to keep busy on a cluster whose autoscaler starts nodes when they are needed. Our choice."""

Data = Mapping[DataKey, tuple[Splits, str]]
"""Images and labels, and the hash of the data set, by data set and sizes."""


def put(data: Data) -> References:
    """Store the images in the cluster joined. Once a command: Ray keeps what an experiment refers to until it ends."""
    return {key: (ray.put(splits), sha256) for key, (splits, sha256) in data.items()}


def run_study(
    work: Sequence[Planned],
    references: References,
    results: Results,
    *,
    settings: RunSettings,
    costs: CostModel,
    trackers: Trackers,
    outside: Outside | None = None,
) -> Progress:
    """Run every trial of `work` on the Ray cluster joined, a parent before its children.

    Half-trained networks go on first, then come expensive trials.

    Args:
        work: the trials with the probes that are not answered yet.
        references: the images that they need, as `put` gives them.
        results: where rows and weights go.
        settings: how trials are executed, which the cluster can hold.
        costs: expected seconds of each trial.
        trackers: what also logs every trial.
        outside: models and other code that workers do not have.

    Returns:
        The trials that are done, and the reasons of those that failed.
    """
    labels = {planned.trial.trial_id: describe_trial(planned) for planned in work}
    outside = outside or Outside()
    trained = train_in_batches(work, costs, references, results, settings, labels=labels, outside=outside)
    costs_now = costs.with_trained(trained)
    expected = {planned.trial.trial_id: costs_now.seconds(planned) for planned in work}
    training = {planned.trial.trial_id: costs_now.training_seconds(planned) for planned in work}
    progress = Progress(expected, labels, training)
    for planned in work:
        row = trained.get(planned.trial.trial_id, {})
        if row.get("status") == "diverged":  # its probes cannot be answered
            progress.finish(planned.trial.trial_id, row["status"], row)
            trackers.started(planned)
            trackers.ended(planned.trial.trial_id, row)
    left = [planned for planned in work if planned.trial.trial_id not in progress.done]
    begun = {name.removesuffix(".pt") for name in results.files("checkpoints")}
    left.sort(key=lambda planned: (planned.trial.trial_id not in begun, -expected[planned.trial.trial_id]))
    for generation in sorted({planned.trial.generation for planned in left}):
        run_trials(
            [planned for planned in left if planned.trial.generation == generation],
            references,
            results,
            progress,
            settings=settings,
            trackers=trackers,
            execute_trial=outside.around(execute),
        )
    return progress


def train_in_batches(
    work: Sequence[Planned],
    costs: CostModel,
    references: References,
    results: Results,
    settings: RunSettings,
    *,
    labels: Mapping[str, str],
    outside: Outside,
) -> dict[str, Row]:
    """Train small networks several at a time, each group as one Tune trial on a whole GPU (or the given share).

    Only on clusters with GPUs, where this is far faster, unless `settings.replicas` is given. What fails here is said
    in a line and costs only time: those networks are trained one by one afterwards, from their checkpoints.

    Returns:
        Status and reason of the trials that are trained now, by trial id.
    """
    capacity, on_gpus = read_capacity(), settings.gpus_per_trial != 0
    most = settings.replicas or (MAX_GROUP if on_gpus else 1)
    if most < 2:
        return {}
    parts = max(1, int(capacity.gpus), AUTOSCALED_GPUS if on_gpus and capacity.autoscales else 0)
    batches = group_trials(work, _trained(results), most=most, parts=parts, cost=costs.training_seconds)
    if not batches:
        return {}
    members = {group[0].trial.trial_id: group for group in batches}  # a group runs as the trial of its first member
    expected = {leader: sum(map(costs.training_seconds, group)) for leader, group in members.items()}
    progress = Progress(
        expected,
        {leader: f"{len(group)} x {labels[leader]}" for leader, group in members.items()},
        training=expected,
        later_seconds=sum(map(costs.seconds, work)) - sum(expected.values()),
    )
    print(
        f"training {sum(map(len, batches))} networks in {len(batches)} batch{'es' if len(batches) > 1 else ''}; "
        "attacks and curvature follow",
        flush=True,
    )
    timeout = settings.trial_timeout
    run_trials(
        [members[leader][0] for leader in sorted(expected, key=lambda leader: -expected[leader])],
        references,
        results,
        progress,
        settings=replace(
            settings,
            gpus_per_trial=1.0 if settings.gpus_per_trial is None else settings.gpus_per_trial,
            trial_timeout=None if timeout is None else timeout * max(map(len, batches)),
            trackers={},  # they log single trials, which follow
        ),
        execute_trial=outside.around(partial(execute_batched, groups=members, replicas=settings.replicas)),
    )
    for leader, reason in progress.failures.items():
        print(f"batched training failed, trained individually: {progress.labels[leader]}: {reason}", file=sys.stderr)
    trained = _trained(results)
    trial_ids = {planned.trial.trial_id for group in batches for planned in group}
    return {trial_id: trained[trial_id] for trial_id in trial_ids & trained.keys()}


def _trained(results: Results) -> dict[str, Row]:
    """Status and reason of the trials that a group leaves alone, by trial id; the weights of some may be lost."""
    rows, _ = results.read_rows(["trial_id", "status", "status_reason"])
    return {row["trial_id"]: row for row in rows if row["status"] in TRAINED}


def run_trials(
    work: Sequence[Planned],
    references: References,
    results: Results,
    progress: Progress,
    *,
    settings: RunSettings,
    trackers: Trackers | None = None,
    execute_trial: Execute = execute,
) -> None:
    """Run every trial of `work`, in this order, until each has a row or has failed MAX_FAILURES + 1 times.

    If Tune itself ends with an error, as when a host runs out of memory, every trial that was running then has used one
    attempt. On its last attempt a trial runs alone (`next_round`). The study goes on.

    A trial that ran out of GPU memory ends without a row, and runs again with a larger share when Tune has run the
    others, with all of its attempts. A share at least doubles each time and ends at a whole GPU, with which the trial
    fails like any other.

    Args:
        work: the trials, none of which is another's parent.
        references, results, trackers: as for `run_study`.
        progress: is kept up to date, and holds the failures afterwards.
        settings: how trials are executed; with `gpus_per_trial` None, the cluster has GPUs.
        execute_trial: what a worker runs.
    """
    plan = {planned.trial.trial_id: planned for planned in work}
    share = DEFAULT_SHARE if settings.gpus_per_trial is None else settings.gpus_per_trial
    shares = dict.fromkeys(plan, share)
    crashes, running_at_crash = dict.fromkeys(plan, 0), dict[str, int]()
    if settings.gpus_per_trial != 0:
        progress.gpu_use = gpu_use
    with Display(progress) as display:
        while left := [trial_id for trial_id in plan if trial_id not in progress.done]:
            given = dict(shares)
            hang_detector = HangDetector(settings.trial_timeout or math.inf)
            callback = StudyCallback(progress, display, results, plan, hang_detector, shares, trackers)
            now, at_once = next_round(left, crashes, running_at_crash, settings.max_concurrent)
            trainable = tune.with_parameters(
                run_trial,
                plan=[ray.put(plan)],  # in a list it stays a reference: a worker reads it once, not for each trial
                references=references,
                location=results.location,
                settings=settings,
                execute_trial=execute_trial,
            )
            trainable = tune.with_resources(trainable, partial(_resources, given, settings.cpus_per_trial))
            reason = "the trial ended without a result"
            with tempfile.TemporaryDirectory(prefix="study-tune-", ignore_cleanup_errors=True) as storage:
                try:
                    _tuner(trainable, now, at_once, callback, storage).fit()
                except Exception as error:  # whatever ended Tune, the study continues with the trials that are left
                    reason = error_summary(error)
            lost = [
                trial_id for trial_id in now if trial_id not in progress.done and shares[trial_id] == given[trial_id]
            ]
            running = [trial_id for trial_id in lost if trial_id in progress.running]
            running_at_crash |= dict.fromkeys(running, len(running))
            if lost and not running:
                time.sleep(PAUSE_SECONDS)  # what kept Tune from starting any may pass
            for trial_id in running or lost:
                crashes[trial_id] += 1
                if running:
                    progress.retry(trial_id, reason)
                if crashes[trial_id] > MAX_FAILURES:
                    callback.record_failure(trial_id, reason)


def _resources(shares: Mapping[str, float], cpus: int, config: Mapping[str, Any]) -> dict[str, float]:
    return {"cpu": cpus, "gpu": shares[config["trial_id"]]}


def _tuner(
    trainable: Any, trial_ids: Sequence[str], at_once: int | None, callback: tune.Callback, storage: str
) -> tune.Tuner:
    """An experiment with one Tune trial for each of ours."""
    return tune.Tuner(
        trainable,
        param_space={"trial_id": tune.grid_search(list(trial_ids))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=at_once,
            trial_name_creator=lambda trial: str(trial.config["trial_id"]),
            trial_dirname_creator=lambda trial: str(trial.config["trial_id"]),
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=storage,
            verbose=0,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
        ),
    )


def next_round(
    left: Sequence[str],
    crashes: Mapping[str, int],
    running_at_crash: Mapping[str, int],
    max_concurrent: int | None = None,
) -> tuple[list[str], int | None]:
    """The trials to run next, those with the fewest crashes, and how many of them at once (None: any number).

    Which trial made Tune crash is not known, so the crash counts for each that was running. If the same ones ran
    together again, all would fail because of one, or of being too many. So only a quarter of that many run at once,
    and on their last attempt each runs alone: what fails then is the cause.

    Args:
        left: trials without a result.
        crashes: of Tune while each trial was running.
        running_at_crash: how many trials were running at the last of them.
        max_concurrent: the user's bound.
    """
    fewest = min(crashes[trial_id] for trial_id in left)
    now = [trial_id for trial_id in left if crashes[trial_id] == fewest]
    counts = [running_at_crash[trial_id] for trial_id in now if trial_id in running_at_crash]
    if not counts:
        return now, max_concurrent
    at_once = 1 if fewest >= MAX_FAILURES else max(1, min(counts) // 4)
    return now, min(at_once, max_concurrent or at_once)
