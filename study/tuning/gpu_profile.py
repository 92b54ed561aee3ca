"""A trial in small, on a whole GPU: how much memory it takes and how much of its time the GPU is at work."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch.profiler import ProfilerActivity, profile

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Planned,
    Probe,
    SpectrumProbe,
)
from study.attacks.evaluate import MOST_AT_ONCE
from study.curvature import HessianOperator
from study.data import DATASETS
from study.models import build
from study.results.folder import Results
from study.training.evaluation import CHUNK
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.tuning.costs import HVP_SHARE, MATVECS, PASSES, probe_seconds
from study.tuning.gpu_shares import Need, probe_kind

STEPS = 10
"""Optimizer steps of the training part."""

IMAGES = MOST_AT_ONCE
"""Images that each attack is tried on: as many as it ever takes at a time."""

BASIS_BYTES = 4
"""Of a weight in each vector that Lanczos keeps: float32."""


class Meter(Protocol):
    """Measures what runs on one device."""

    device: torch.device
    name: str
    total_bytes: int

    def wait(self) -> None:
        """Return when the device has done what it was asked."""

    def peak_bytes(self) -> int:
        """Most memory allocated at once so far."""

    def busy_seconds(self, work: Callable[[], None]) -> float | None:
        """Do the work; the time in which a kernel ran. None where that cannot be measured."""


class CudaMeter:
    """The current CUDA device."""

    def __init__(self) -> None:
        self.device = torch.device("cuda")
        self.name = torch.cuda.get_device_name()
        self.total_bytes = torch.cuda.get_device_properties().total_memory
        torch.cuda.reset_peak_memory_stats()

    def wait(self) -> None:
        """Return when the device has done what it was asked."""
        torch.cuda.synchronize()

    def peak_bytes(self) -> int:
        """Most memory allocated at once so far."""
        return torch.cuda.max_memory_allocated()

    def busy_seconds(self, work: Callable[[], None]) -> float | None:
        """Do the work; the kernels' total time, which run one after another in torch's one stream.

        None where the driver does not let users profile.
        """
        with profile(activities=[ProfilerActivity.CUDA]) as recorded:
            work()
            self.wait()
        microseconds = sum(event.self_device_time_total for event in recorded.key_averages())
        return microseconds / 1e6 or None


def rehearse(planned: Planned, data: DeviceData, meter: Meter) -> Need:
    """Measure a trial in parts: some steps of training, a batch of each attack, a Hessian-vector product.

    Each part runs once to warm up, once for its time and once for its kernels' time; parts weigh by how long the whole
    trial would spend in them. The memory is the peak of all parts, with the data and with the vectors that Lanczos
    keeps, which are not made here.

    Args:
        planned: the trial, with the probes that are asked of it.
        data: its images, whole, on the meter's device.
        meter: what to measure with.

    Raises:
        torch.cuda.OutOfMemoryError: a whole GPU is too small.
        ValueError: as `study.trials.execute.execute`.
    """
    small = _in_small(planned, data)
    cut = _cut(data, small)
    hessian = max((_hessian_size(probe) for probe in planned.probes), default=0)
    basis = 0
    with tempfile.TemporaryDirectory() as folder:
        parts = [_training(planned, small, cut, folder)]
        if small.probes:
            parts.append(_probing(planned, small, cut, folder))
        if hessian:
            operator = _operator(planned, data, hessian)
            parts.append((lambda: _multiply(operator), _products(planned, hessian)))
            basis = BASIS_BYTES * operator.dim * max(_vectors(probe) for probe in planned.probes)
        timed = [(repeats, *_time(work, meter)) for work, repeats in parts]
    total = sum(repeats * seconds for repeats, seconds, _ in timed)
    busy = [None if working is None else repeats * min(seconds, working) for repeats, seconds, working in timed]
    known = [seconds for seconds in busy if seconds is not None]
    return Need(
        device=meter.name,
        total_bytes=meter.total_bytes,
        memory_bytes=meter.peak_bytes() + basis,
        busy=sum(known) / total if len(known) == len(busy) else None,
    )


def _time(work: Callable[[], None], meter: Meter) -> tuple[float, float | None]:
    """Seconds of the second run, and those of the third in which a kernel ran."""
    work()
    meter.wait()
    started = time.perf_counter()
    work()
    meter.wait()
    return time.perf_counter() - started, meter.busy_seconds(work)


def _in_small(planned: Planned, data: DeviceData) -> Planned:
    """One epoch of STEPS steps, and one probe of each kind on test images; those of the Hessian apart.

    The learning rate is small enough that nothing diverges, and nobody is its parent.
    """
    trial = planned.trial
    small = replace(
        trial,
        epochs=1,
        train_size=min(len(data.train[1]), max(CHUNK, STEPS * trial.batch_size)),
        val_size=min(len(data.validation[1]), IMAGES),
        test_size=min(len(data.test[1]), IMAGES),
        learning_rate=1e-6,
        target_loss=None,
        parent=None,
    )
    kinds = {probe_kind(probe): _on_own_test_images(probe) for probe in _of_images(planned)}
    return replace(planned, trial=small, probes=frozenset(kinds.values()))


def _of_images(planned: Planned) -> list[Probe]:
    """The probes that look at images a batch at a time, in a fixed order."""
    kinds = (AttackProbe, InputCurvatureProbe, InputHessianProbe)
    return sorted((probe for probe in planned.probes if isinstance(probe, kinds)), key=str)


def _on_own_test_images(probe: Probe) -> Probe:
    if isinstance(probe, AttackProbe):
        return replace(probe, split="test", source="self")
    return replace(probe, split="test") if isinstance(probe, InputCurvatureProbe) else probe


def _cut(data: DeviceData, small: Planned) -> DeviceData:
    """Views of the first images: all of the data stays on the device, as in the trial itself."""
    trial = small.trial
    parts = ((data.train, trial.train_size), (data.validation, trial.val_size), (data.test, trial.test_size))
    train, validation, test = ((x[:n], y[:n]) for (x, y), n in parts)
    return DeviceData(train, validation, test, data.sha256)


Part = tuple[Callable[[], None], float]
"""Some work, and how often a trial does as much."""


def _training(planned: Planned, small: Planned, cut: DeviceData, folder: str) -> Part:
    def work() -> None:
        execute(replace(small, probes=frozenset()), cut, _fresh(folder), replay=False)

    return work, max(1.0, planned.trial.epochs * planned.trial.train_size / small.trial.train_size)


def _probing(planned: Planned, small: Planned, cut: DeviceData, folder: str) -> Part:
    results = _fresh(folder)
    trained = execute(replace(small, probes=frozenset()), cut, results)

    def work() -> None:
        results.write_row(trained)  # without the answers of the run before
        execute(small, cut, results)

    whole = replace(planned, probes=frozenset(_of_images(planned)))
    return work, max(1.0, probe_seconds(whole) / probe_seconds(small))


def _fresh(folder: str) -> Results:
    results = Results(tempfile.mkdtemp(dir=folder))
    results.create()
    return results


def _operator(planned: Planned, data: DeviceData, images: int) -> HessianOperator:
    info = DATASETS[planned.trial.dataset]
    stream = torch.Generator().manual_seed(0)
    model = build(planned.trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=stream)
    x, y = data.train
    return HessianOperator(model.to(data.device).eval(), x[:images], y[:images])


def _multiply(operator: HessianOperator) -> None:
    operator.matvec(torch.ones(operator.dim, device=operator.device))


def _products(planned: Planned, images: int) -> float:
    """Hessian-vector products on so many images that the trial's probes take."""
    sizes = {"train": planned.trial.train_size, "test": planned.trial.test_size}
    passes = sum(PASSES[type(probe)](probe, sizes) for probe in planned.probes if _hessian_size(probe))
    return max(1.0, passes / (HVP_SHARE * images))


def _hessian_size(probe: Probe) -> int:
    """Images of the Hessian that a probe multiplies by; 0 for none."""
    if isinstance(probe, SpectrumProbe):
        return probe.subset_size
    return probe.hessian_size if isinstance(probe, LandscapeProbe) else 0


def _vectors(probe: Probe) -> int:
    """Vectors that Lanczos keeps for a probe."""
    if not _hessian_size(probe):
        return 0
    count = probe.count if isinstance(probe, SpectrumProbe) else 2
    return MATVECS.get(count, 3 * count)
