"""What fraction of a GPU each trial gets: measured once for each kind of trial, and kept with the results."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

import ray
import torch

from search_spaces import Grid, Planned
from study.results.folder import Results
from study.results.schema import Row
from study.trials.device_data import DeviceData
from study.tuning.cluster import SMALLEST_SHARE, Capacity, read_capacity
from study.tuning.gpu_profile import GpuUsage, measure_on_gpu, probe_kind
from study.tuning.progress import error_summary
from study.tuning.settings import RunSettings
from study.tuning.trainable import References, tensors

MAX_PER_GPU = 16
"""Trials on one GPU at most. Our choice: each keeps a CPU core busy launching kernels, and has a CUDA context."""

MARGIN = 1.25
"""Of a trial's memory. Our choice: the allocator fragments memory, and trials of one kind differ."""

CONTEXT_BYTES = 2**29
"""Memory of a process on a GPU besides its tensors: CUDA's context, kernels and the libraries' workspaces."""

UNMEASURED_SHARE = 0.25
"""The share of a trial that could not be measured."""

MEASURE_SECONDS = 600.0
"""How long to wait for the next measurement to end. Our choice: each takes seconds, and a cold GPU some more."""

ACCELERATOR = "accelerator_type:"
"""Prefix of the resource by which Ray tells GPU models apart."""

Measure = Callable[[Planned, DeviceData], GpuUsage]

Peaks = Mapping[tuple[str, str], int]
"""Kind of trial without its probes, GPU model -> bytes."""


def trial_shares(
    work: Sequence[Planned],
    references: References,
    results: Results,
    settings: RunSettings,
    peaks: Peaks,
    measure: Measure = measure_on_gpu,
) -> dict[str, float]:
    """Each trial's fraction of a GPU, by trial id: as the settings say, else as measured.

    What `gpu_shares.json` in the results lacks is measured now, on each GPU model that is up, one kind of trial at a
    time on each free GPU. A kind that cannot be measured gets UNMEASURED_SHARE, and a line says so.
    """
    if settings.gpus_per_trial is not None:
        return {planned.trial.trial_id: settings.gpus_per_trial for planned in work}
    capacity, cpus = read_capacity(), settings.cpus_per_trial
    models = gpu_models(capacity, cpus)
    kinds, usage = largest_of_each_kind(work), _stored_usage(results)
    if not models and not all(usage.get(kind) for kind in kinds):
        print(
            f"no node with {cpus} CPUs and a whole GPU is up to measure on: unmeasured trials get {UNMEASURED_SHARE} "
            "of a GPU",
            file=sys.stderr,
        )
    missing = [(kind, model) for kind in kinds for model in models if model not in usage.get(kind, {})]
    if missing:
        print(f"measuring what {len(missing)} kinds of trial use of a GPU (once; kept with the results)", flush=True)
    for kind, model, found in _measure_all(missing, kinds, references, cpus, measure):
        usage.setdefault(kind, {})[model] = found
        stored = {kind: {model: asdict(one) for model, one in by_model.items()} for kind, by_model in usage.items()}
        results.write_gpu_shares(stored)
    max_trials = trials_per_gpu(capacity, cpus)
    shares = {}
    for kind in kinds:
        # An autoscaler may bring back every GPU model that was ever measured.
        by_model = usage.get(kind, {})
        relevant = [one for model, one in by_model.items() if capacity.autoscales or model in models]
        shares[kind] = gpu_share(kind, relevant, peaks, max_trials=max_trials)
    return {planned.trial.trial_id: shares[kind_of(planned)] for planned in work}


def _stored_usage(results: Results) -> dict[str, dict[str, GpuUsage]]:
    """What was measured before: kind of trial -> GPU model -> usage."""
    try:
        stored = results.read_gpu_shares()
        return {kind: {model: GpuUsage(**one) for model, one in found.items()} for kind, found in stored.items()}
    except (TypeError, ValueError, AttributeError):  # of another version, or damaged: it can be measured again
        return {}


def gpu_models(capacity: Capacity, cpus: int) -> list[str]:
    """The GPU models on nodes that have the CPUs of a trial and a whole GPU: Ray's resource names, [""] if unknown."""
    nodes = [node for node in capacity.nodes if node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= 1]
    named = {name for node in nodes for name in node if name.startswith(ACCELERATOR)}
    return sorted(named) or [""] * bool(nodes)


def trials_per_gpu(capacity: Capacity, cpus: int) -> int:
    """How many trials of so many CPUs a GPU's part of its node's CPUs can run, on the node where that is most."""
    nodes = [node for node in capacity.nodes if node.get("GPU", 0) > 0]
    return max((int(node.get("CPU", 0) // (cpus * max(1, node["GPU"]))) for node in nodes), default=MAX_PER_GPU)


def _measure_all(
    missing: Sequence[tuple[str, str]],
    kinds: Mapping[str, Planned],
    references: References,
    cpus: int,
    measure: Measure,
) -> Iterator[tuple[str, str, GpuUsage]]:
    """Kind, GPU model and usage, as they are measured. Each measurement has a GPU and a process to itself."""
    task = ray.remote(max_calls=1)(_measure)
    running = {}
    for kind, model in missing:
        options = task.options(num_cpus=cpus, num_gpus=1, resources={model: 0.001} if model else None)
        running[options.remote(kinds[kind], dict(references), cpus, measure)] = (kind, model)
    try:
        while running:
            done, _ = ray.wait(list(running), timeout=MEASURE_SECONDS)
            if not done:
                print(
                    f"no measurement ended within {MEASURE_SECONDS / 60:.3g} minutes, {len(running)} are given up: "
                    f"unmeasured trials get {UNMEASURED_SHARE} of a GPU",
                    file=sys.stderr,
                )
                return
            kind, model = running.pop(done[0])
            try:
                yield kind, model, ray.get(done[0])
            except Exception as error:
                print(
                    f"{kind} not measured, its trials get {UNMEASURED_SHARE} of a GPU: {error_summary(error)}",
                    file=sys.stderr,
                )
    finally:
        for task_reference in running:
            ray.cancel(task_reference, force=True)


def _measure(planned: Planned, references: References, cpus: int, measure: Measure) -> GpuUsage:
    torch.set_num_threads(cpus)
    return measure(planned, tensors(planned, references))


def kind_of(planned: Planned) -> str:
    """Trials of one kind need the same share: `mnist/m1_20/sgd/bs512/fgsm+pgd+spectrum1`.

    Batch sizes are rounded up to powers of two.
    """
    trial = planned.trial
    unusual = [trial.adversarial_training] * (trial.adversarial_training != "none")
    unusual += [trial.precision] * (trial.precision != "float32")
    method = "~".join([trial.optimizer, *unusual])
    batch_size = 1 << (trial.batch_size - 1).bit_length()
    probes = "+".join(sorted({probe_kind(probe) for probe in planned.probes})) or "no probes"
    return f"{trial.dataset}/{trial.model}/{method}/bs{batch_size}/{probes}"


def _without_probes(kind: str) -> str:
    return kind.rpartition("/")[0]


def largest_of_each_kind(work: Iterable[Planned]) -> dict[str, Planned]:
    """The trial of each kind with the largest batches; of those, with the most training images and probes."""
    largest: dict[str, Planned] = {}

    def size(planned: Planned) -> tuple[int, int, int]:
        return planned.trial.batch_size, planned.trial.train_size, len(planned.probes)

    for planned in work:
        kind = kind_of(planned)
        if kind not in largest or size(planned) > size(largest[kind]):
            largest[kind] = planned
    return largest


def known_peaks(grid: Grid, rows: Iterable[Row]) -> Peaks:
    """The most GPU memory that stored trials took.

    By kind without its probes: a row does not say which of its probes made the peak.
    """
    peaks: dict[tuple[str, str], int] = {}
    for row in rows:
        planned, device = grid.get(row["trial_id"]), row.get("device")
        if planned is None or row["status"] != "ok" or not device or device == "cpu":
            continue
        key = (_without_probes(kind_of(planned)), device)
        peaks[key] = max(peaks.get(key, 0), row.get("peak_memory_bytes") or 0)
    return peaks


def gpu_share(kind: str, usage: Iterable[GpuUsage], peaks: Peaks, *, max_trials: int = MAX_PER_GPU) -> float:
    """The fraction of a GPU for trials of this kind: 1 / k, so that k of them fill a GPU.

    k is the largest number of such trials whose memory (with MARGIN and a context each) fits and whose busy times
    add up to no more than 1; at least 1, at most `max_trials` and MAX_PER_GPU. Of several GPU models the one that fits
    fewest counts. Without any measurement it is UNMEASURED_SHARE.

    Args:
        kind: of the trials.
        usage: what such a trial used of each GPU model.
        peaks: the memory that stored trials took, which corrects a measurement upwards.
        max_trials: on one GPU.
    """
    counts = [_trials_that_fit(kind, one, peaks) for one in usage] or [int(1 / UNMEASURED_SHARE)]
    return fraction(max(1, min(*counts, max_trials, MAX_PER_GPU)))


def _trials_that_fit(kind: str, usage: GpuUsage, peaks: Peaks) -> int:
    peak = max(usage.memory_bytes, peaks.get((_without_probes(kind), usage.device), 0))
    memory = (MARGIN * peak + CONTEXT_BYTES) / usage.total_bytes
    busy = UNMEASURED_SHARE if usage.busy is None else usage.busy
    return int(1 / max(memory, busy, 1 / MAX_PER_GPU))


def fraction(k: int) -> float:
    """1 / k, rounded down to Ray's resolution, so that k of them never exceed a GPU."""
    steps = round(1 / SMALLEST_SHARE)
    return math.floor(steps / k) / steps


def larger_share(share: float) -> float:
    """The share to try after one was too small: 1 / k again, and at least twice as large."""
    return fraction(max(1, int(1 / min(1.0, 2 * share) + 1e-3)))


def slots(capacity: Capacity, settings: RunSettings) -> int:
    """Trials that run at once on the nodes that are up, at most: a share that is left open may be MAX_PER_GPU's."""
    cpus, share = settings.cpus_per_trial, settings.gpus_per_trial
    on_gpu = MAX_PER_GPU if share is None else math.floor(1 / share + 1e-9) if share else None

    def of_node(node: Mapping[str, float]) -> int:
        by_cpus = int(node.get("CPU", 0) // cpus)
        return by_cpus if on_gpu is None else min(by_cpus, int(node.get("GPU", 0)) * on_gpu)

    there = sum(map(of_node, capacity.nodes))
    return min(there, settings.max_concurrent or there)
