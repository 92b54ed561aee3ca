"""Pending trials as a Ray Tune experiment. Only this file and those that it tells or runs import ray."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # a file and a rewrite per report otherwise
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the run at once; rows are already safe
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")  # we resume from our own rows; each snapshot holds all trials
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.exceptions import RayError

from search_spaces import Planned
from study.data import Splits
from study.results.folder import Results
from study.trials.device_data import DataKey
from study.trials.execute import execute
from study.tuning import cluster
from study.tuning.callbacks import Events
from study.tuning.cluster import ClusterError, gpu_use
from study.tuning.errors import first_line
from study.tuning.gpu_measurement import Measure, measure_on_gpu, trial_shares
from study.tuning.gpu_retries import LargerShares
from study.tuning.gpu_shares import Peaks
from study.tuning.progress import Display, Progress
from study.tuning.resources import Resources
from study.tuning.timeouts import Watch, silence_limit
from study.tuning.trackers import tracker_callbacks
from study.tuning.trainable import Execute, run_trial

MAX_FAILURES = 3
"""Restarts of a trial whose worker was lost, before it is recorded as failed."""

PAUSE = 10.0
"""Seconds before the next attempt where Tune ended before any trial ran."""


def connect(address: str | None) -> None:
    """Start Ray on this machine, or join the cluster at `address` (or the one that runs here already).

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options["include_dashboard"] = False
    try:
        ray.init(address=address, ignore_reinit_error=True, **options)
    except (RayError, ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"the Ray cluster at {address}" if address else "Ray"
        raise ClusterError(
            f"cannot reach {where}: {error}. Check the address, and that RAY_AUTH_MODE and the token are the cluster's"
        ) from error


def disconnect() -> None:
    """Leave the cluster; one that `connect` started is shut down."""
    ray.shutdown()


def check_fit(
    resources: Resources,
    data: Mapping[DataKey, tuple[Splits, str]] | None = None,
    precisions: Collection[str] = (),
) -> None:
    """Refuse trials or data that the cluster can never hold; say it where a node must come up first.

    Raises:
        ClusterError: a trial asks for more than any node has, or for arithmetic that none has, or data do not fit into
            a node's object store.
    """
    nodes = cluster.survey()
    cluster.check_precision(nodes, precisions, resources.gpus_per_trial)
    sizes = {f"{key[0]} ({key[1]} to train on)": splits.nbytes for key, (splits, _) in (data or {}).items()}
    for line in (
        cluster.check_fit(nodes, resources.cpus_per_trial, resources.gpus_per_trial),
        cluster.check_data(nodes, sizes),
    ):
        if line:
            print(line, flush=True)


def run_trials(
    work: Sequence[Planned],
    data: Mapping[DataKey, tuple[Splits, str]],
    results: Results,
    progress: Progress,
    *,
    patience: Mapping[str, float],
    resources: Resources,
    execute_trial: Execute = execute,
    peaks: Peaks | None = None,
    measure: Measure = measure_on_gpu,
) -> None:
    """Run every trial of `work`, in this order, until each has a row or has failed MAX_FAILURES + 1 times.

    An error that ends Tune itself (a host out of memory does) costs the trials that were running one attempt each, of
    which the last is alone (see `next_round`), never the study. `progress` is told of every event and holds the
    failures afterwards. `patience`: seconds without a word that each trial may take with good reason, by trial id.
    `peaks` is what stored trials took of a GPU's memory; what is not known of the others is measured first.
    """
    references = {key: (ray.put(splits), sha256) for key, (splits, sha256) in data.items()}
    plan = {planned.trial.trial_id: planned for planned in work}
    attempts, together = dict.fromkeys(plan, 0), dict[str, int]()
    limits = {trial_id: silence_limit(patience[trial_id], resources.trial_timeout) for trial_id in plan}
    shares = trial_shares(work, references, results, resources, peaks or {}, measure)
    progress.gpu_use = gpu_use
    with Display(progress) as display:
        while left := [trial_id for trial_id in plan if trial_id not in progress.done]:
            scheduler = LargerShares(shares, resources.cpus_per_trial, progress)
            events = Events(progress, display, results, plan, Watch(limits), scheduler.owed)
            now, at_once = next_round(left, attempts, together, resources.max_concurrent)
            asked = replace(resources, max_concurrent=at_once)
            try:
                _fit(now, plan, references, results, events, asked, execute_trial, scheduler)
            except Exception as error:  # whatever ends Tune, the study goes on with what is pending
                reason = first_line(error)
            else:
                reason = "the trial ended without a result"
            lost = [trial_id for trial_id in now if trial_id not in progress.done and trial_id not in scheduler.owed]
            running = [trial_id for trial_id in lost if trial_id in progress.running]
            together |= dict.fromkeys(running, len(running))
            if lost and not running:
                time.sleep(PAUSE)  # what kept Tune from starting any may pass
            for trial_id in running or lost:
                attempts[trial_id] += 1
                progress.retry(trial_id)
                if attempts[trial_id] > MAX_FAILURES:
                    events.record_failure(trial_id, reason)


def next_round(
    left: Sequence[str], attempts: Mapping[str, int], together: Mapping[str, int], most: int | None = None
) -> tuple[list[str], int | None]:
    """The trials to run next, those that were blamed least often, and how many of them at once (None: any number).

    Which trial ended Tune is not known, so each that ran then is blamed: `attempts` counts that, `together` says how
    many they were. Were the same ones to run together again, all would fail for one, or for being too many. So a
    quarter of that many run at once, and on their last attempt one: what fails is the culprit.
    """
    fewest = min(attempts[trial_id] for trial_id in left)
    now = [trial_id for trial_id in left if attempts[trial_id] == fewest]
    crowds = [together[trial_id] for trial_id in now if trial_id in together]
    if not crowds:
        return now, most
    at_once = 1 if fewest >= MAX_FAILURES else max(1, min(crowds) // 4)
    return now, min(at_once, most or at_once)


def _fit(
    trial_ids: Sequence[str],
    plan: Mapping[str, Planned],
    references: Mapping[DataKey, tuple[Any, str]],
    results: Results,
    events: Events,
    resources: Resources,
    execute_trial: Execute,
    scheduler: LargerShares,
) -> None:
    trainable = tune.with_parameters(
        run_trial,
        plan=[ray.put(dict(plan))],  # in a list it stays a reference: a worker reads it once, not for every trial
        references=dict(references),
        location=results.location,
        resources=resources,
        execute_trial=execute_trial,
    )
    with tempfile.TemporaryDirectory(prefix="study-tune-", ignore_cleanup_errors=True) as storage:
        tune.Tuner(
            tune.with_resources(trainable, scheduler.resources()),
            param_space={"trial_id": tune.grid_search(list(trial_ids))},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                reuse_actors=True,
                max_concurrent_trials=resources.max_concurrent,
                trial_name_creator=lambda trial: str(trial.config["trial_id"]),
                trial_dirname_creator=lambda trial: str(trial.config["trial_id"]),
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=storage,
                verbose=0,
                callbacks=[events, *tracker_callbacks(resources.trackers, plan)],
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            ),
        ).fit()
