"""Training networks as few programs before their trials run: on a GPU small ones are far faster together."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from search_spaces import Planned
from study.data import Splits
from study.results.folder import Results
from study.results.schema import TRAINED, Row
from study.trials.device_data import DataKey
from study.trials.execute_batched import MAX_GROUP, execute_batched, group_trials
from study.tuning import tuner
from study.tuning.cluster import survey
from study.tuning.costs import CostModel
from study.tuning.progress import Progress
from study.tuning.resources import Resources, Trackers

AUTOSCALED = 8
"""GPUs that there is work for on a cluster that starts nodes as they are asked for. Our choice."""


def train_groups(
    work: Sequence[Planned],
    costs: CostModel,
    data: Mapping[DataKey, tuple[Splits, str]],
    results: Results,
    resources: Resources,
    *,
    labels: Mapping[str, str],
) -> dict[str, Row]:
    """Train what can be one program, each group as one Tune trial on a whole GPU (or the share that was asked for).

    Only on clusters with GPUs, unless a number of replicas was asked for. What fails here is said in a line and costs
    nothing but time: those trials are trained one by one afterwards, from their checkpoints.

    Returns:
        What is known of the trials that are trained now: trial id -> status and its reason.
    """
    nodes = survey()
    on_gpus = nodes.has_gpus and resources.gpus_per_trial != 0
    most = resources.replicas or (MAX_GROUP if on_gpus else 1)
    if most < 2:
        return {}
    gpus = int(sum(node.get("GPU", 0) for node in nodes.live))
    parts = max(1, gpus, AUTOSCALED if on_gpus and nodes.grows else 0)
    found = group_trials(work, costs.trained, most=most, parts=parts, cost=costs.training_seconds)
    if not found:
        return {}
    members = {group[0].trial.trial_id: group for group in found}
    expected = {leader: sum(costs.training_seconds(p) for p in group) for leader, group in members.items()}
    everything = sum(costs.seconds(planned) for planned in work)
    progress = Progress(
        expected,
        {leader: f"{len(group)} x {labels[leader]}" for leader, group in members.items()},
        afterwards=everything - sum(expected.values()),
    )
    count = sum(map(len, found))
    several = "s" if len(found) > 1 else ""
    print(f"training {count} networks together first, in {len(found)} group{several}; probes follow", flush=True)
    tuner.run_trials(
        [group[0] for group in sorted(found, key=lambda group: -expected[group[0].trial.trial_id])],
        data,
        results,
        progress,
        patience={leader: sum(costs.patience(p) for p in group) for leader, group in members.items()},
        resources=_of_groups(resources, on_gpus, max(map(len, found))),
        execute_trial=partial(execute_batched, groups=members, replicas=resources.replicas),
    )
    for leader, reason in progress.failures.items():
        print(f"not trained as one program, but one by one: {progress.labels[leader]}: {reason}", file=sys.stderr)
    rows, _ = results.read_rows(["trial_id", "status", "status_reason"])
    ids = {planned.trial.trial_id for group in found for planned in group}
    return {row["trial_id"]: row for row in rows if row["trial_id"] in ids and row["status"] in TRAINED}


def _of_groups(resources: Resources, on_gpus: bool, largest: int) -> Resources:
    """What a group owns: a whole GPU unless a share was asked for, and more patience. Trackers are told of trials."""
    share, timeout = resources.gpus_per_trial, resources.trial_timeout
    return replace(
        resources,
        gpus_per_trial=float(on_gpus) if share is None else share,
        trial_timeout=None if timeout is None else timeout * largest,
        trackers=Trackers(),
    )
