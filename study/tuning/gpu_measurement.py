"""Each trial's share of a GPU on this cluster: measured once for each kind of trial, and kept with the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ray

from search_spaces import Planned
from study.results.folder import Results
from study.training.gpu_memory import out_of_gpu_memory
from study.trials.device_data import DataKey, DeviceData
from study.tuning.cluster import Capacity, Node, survey
from study.tuning.errors import first_line
from study.tuning.gpu_profile import CudaMeter, rehearse
from study.tuning.gpu_shares import UNMEASURED, Need, Peaks, kind_of, representatives, share
from study.tuning.resources import Resources
from study.tuning.trainable import set_up_torch, tensors

ACCELERATOR = "accelerator_type:"
"""Prefix of the resource by which Ray tells kinds of GPU apart."""

NODE_SECONDS = 900.0
"""Wait so long for the autoscaler's first node with a GPU. Our choice: machines boot and pull images in minutes."""

MEASURE_SECONDS = 600.0
"""Wait so long for the next measurement to end. Our choice: each takes seconds, and a cold GPU some more."""

Measure = Callable[[Planned, DeviceData], Need]


def measure_on_gpu(planned: Planned, data: DeviceData) -> Need:
    """What a trial needs, from a rehearsal on this process's GPU.

    Raises:
        RuntimeError: torch sees no GPU here.
    """
    if data.device.type != "cuda":
        raise RuntimeError("torch sees no CUDA GPU on the node that Ray says has one")
    meter = CudaMeter()
    try:
        return rehearse(planned, data, meter)
    except Exception as error:
        if not out_of_gpu_memory(error):
            raise
        return Need(meter.name, meter.total_bytes, meter.total_bytes, 1.0)


def trial_shares(
    work: Sequence[Planned],
    references: Mapping[DataKey, tuple[Any, str]],
    results: Results,
    resources: Resources,
    peaks: Peaks,
    measure: Measure = measure_on_gpu,
) -> dict[str, float]:
    """Trial id -> fraction of a GPU: as asked, else as measured; all 0 on a cluster without GPUs.

    What `gpu_shares.json` in the results does not know yet is measured now, a kind of trial at a time on each free
    GPU, on the kinds of GPU that are up. Where none is up and something is not known of any GPU, the autoscaler has
    NODE_SECONDS to start one. A kind of trial that cannot be measured is told, and gets a quarter.
    """
    ids = [planned.trial.trial_id for planned in work]
    if resources.gpus_per_trial is not None:
        return dict.fromkeys(ids, resources.gpus_per_trial)
    nodes, cpus = survey(), resources.cpus_per_trial
    if not nodes.has_gpus:
        return dict.fromkeys(ids, 0.0)
    kinds, needs = representatives(work), _known(results)
    if not all(needs.get(kind) for kind in kinds) and not usable(nodes, cpus):
        nodes = _wait_for_gpu(nodes, cpus)
    wanted = [(kind, one) for kind in kinds for one in usable(nodes, cpus) if one not in needs.get(kind, {})]
    if wanted:
        print(f"measuring what {len(wanted)} kinds of trial take of a GPU (once; kept with the results)", flush=True)
    for kind, one, need in _measure_all(wanted, kinds, references, cpus, measure):
        needs.setdefault(kind, {})[one] = need
        results.write_gpu_shares({k: {a: n.to_dict() for a, n in found.items()} for k, found in needs.items()})
    most = nodes.trials_per_gpu(cpus)
    up = _accelerators(nodes.live)
    there = {*up, *_accelerators(nodes.declared)} if up else {one for known in needs.values() for one in known}
    by_kind = {
        kind: share(kind, [n for a, n in needs.get(kind, {}).items() if a in there], peaks, most=most) for kind in kinds
    }
    return {planned.trial.trial_id: by_kind[kind_of(planned)] for planned in work}


def _known(results: Results) -> dict[str, dict[str, Need]]:
    try:
        stored = results.read_gpu_shares()
        return {kind: {a: Need(**need) for a, need in found.items()} for kind, found in stored.items()}
    except (TypeError, ValueError, AttributeError):  # of another version, or damaged: it is only a measurement
        return {}


def usable(nodes: Capacity, cpus: int) -> list[str]:
    """The kinds of GPU to measure on now: of nodes that are up and can give a measurer its CPUs and a whole GPU."""
    return _accelerators([node for node in nodes.live if node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= 1])


def _accelerators(nodes: Iterable[Node]) -> list[str]:
    """The kinds of GPU by their resource; one without a name where Ray does not know them; none without GPUs."""
    with_gpus = [node for node in nodes if node.get("GPU", 0) > 0]
    named = {name for node in with_gpus for name in node if name.startswith(ACCELERATOR)}
    return sorted(named) or [""] * bool(with_gpus)


def _wait_for_gpu(nodes: Capacity, cpus: int) -> Capacity:
    """Ask the autoscaler for a node to measure on, and wait a while; returns what is up then."""
    waited = ""
    if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= 1 for node in nodes.declared):
        print(f"waiting up to {NODE_SECONDS / 60:.3g} minutes for a node with a GPU to measure on", flush=True)
        group = ray.util.placement_group([{"CPU": cpus, "GPU": 1}])
        try:
            if group.wait(NODE_SECONDS):
                return survey()
        finally:
            ray.util.remove_placement_group(group)
        waited = f" after {NODE_SECONDS / 60:.3g} minutes"
    print(f"no node with a GPU to measure on{waited}: unmeasured trials get {UNMEASURED} of a GPU", file=sys.stderr)
    return survey()


def _measure_all(
    wanted: Sequence[tuple[str, str]],
    kinds: Mapping[str, Planned],
    references: Mapping[DataKey, tuple[Any, str]],
    cpus: int,
    measure: Measure,
) -> Iterator[tuple[str, str, Need]]:
    """Kinds and what they need, as they are measured. Each has a GPU and a process to itself."""
    task = ray.remote(max_calls=1)(_measure)
    running = {}
    for kind, one in wanted:
        resources = {one: 0.001} if one else None
        options = task.options(num_cpus=cpus, num_gpus=1, resources=resources)
        running[options.remote(kinds[kind], dict(references), cpus, measure)] = (kind, one)
    try:
        while running:
            done, _ = ray.wait(list(running), timeout=MEASURE_SECONDS)
            if not done:
                print(
                    f"no measurement ended within {MEASURE_SECONDS / 60:.3g} minutes, {len(running)} are given up: "
                    f"unmeasured trials get {UNMEASURED} of a GPU",
                    file=sys.stderr,
                )
                return
            kind, one = running.pop(done[0])
            try:
                yield kind, one, ray.get(done[0])
            except Exception as error:
                print(
                    f"{kind} not measured, its trials get {UNMEASURED} of a GPU: {first_line(error)}", file=sys.stderr
                )
    finally:
        for left in running:
            ray.cancel(left, force=True)


def _measure(planned: Planned, references: Mapping[DataKey, tuple[Any, str]], cpus: int, measure: Measure) -> Need:
    set_up_torch(cpus)
    return measure(planned, tensors(planned, references))
