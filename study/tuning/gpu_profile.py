"""What a trial uses of a GPU: its memory and the fraction of its time in which the GPU works, from a short profile."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.profiler import ProfilerActivity, profile

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Planned,
    Probe,
    SharpnessProbe,
    SpectrumProbe,
)
from study.attacks.evaluate import ON_GPU
from study.curvature import HessianOperator
from study.data import DATASETS
from study.models import build
from study.pixels import images_in_a_pass
from study.results.folder import Results
from study.training import precision
from study.training.gpu_memory import out_of_gpu_memory
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.tuning.costs import HVP_SHARE, MATVECS, SHARPNESS_VECTORS, probe_passes, probe_seconds

STEPS = 10
"""Optimizer steps of the profiled training."""

IMAGES = ON_GPU.most
"""Images that each attack is profiled on: as many as it ever takes at a time."""

BASIS_BYTES = 4
"""Of one number in a vector that Lanczos keeps: float32."""


@dataclass(frozen=True)
class GpuUsage:
    """What one kind of trial uses of one GPU model.

    Attributes:
        device: the GPU's name.
        total_bytes: its memory.
        memory_bytes: most that torch had taken from the device at once.
        busy: fraction of the trial's time in which the GPU runs one of its kernels, 0 to 1. Kernels of different
            processes take turns, so the fractions of trials that share a GPU add up. None: not known.
    """

    device: str
    total_bytes: int
    memory_bytes: int
    busy: float | None


class Meter:
    """Measures what runs on the current CUDA device."""

    def __init__(self) -> None:
        self.device = torch.device("cuda")
        self.name = torch.cuda.get_device_name()
        self.total_bytes: int = torch.cuda.get_device_properties().total_memory
        torch.cuda.reset_peak_memory_stats()

    def synchronize(self) -> None:
        """Return when the device has finished its work."""
        torch.cuda.synchronize()

    def peak_bytes(self) -> int:
        """Most memory that torch has taken from the device so far: fragments and the pools of CUDA graphs count."""
        return torch.cuda.max_memory_reserved()

    def busy_seconds(self, work: Callable[[], None]) -> float | None:
        """Do the work; returns the kernels' total time: in torch's one stream they run one after another.

        None where the driver does not let users profile.
        """
        with profile(activities=[ProfilerActivity.CUDA]) as recorded:
            work()
            self.synchronize()
        microseconds = sum(event.self_device_time_total for event in recorded.key_averages())
        return microseconds / 1e6 or None


def measure_on_gpu(planned: Planned, data: DeviceData) -> GpuUsage:
    """Profile a trial on this process's GPU; one that does not fit uses all of its memory and time.

    Raises:
        RuntimeError: torch sees no GPU here.
    """
    if data.device.type != "cuda":
        raise RuntimeError("torch sees no CUDA GPU on the node that Ray says has one")
    meter = Meter()
    try:
        return profile_trial(planned, data, meter)
    except Exception as error:
        if not out_of_gpu_memory(error):
            raise
        return GpuUsage(meter.name, meter.total_bytes, meter.total_bytes, 1.0)


def profile_trial(planned: Planned, data: DeviceData, meter: Meter) -> GpuUsage:
    """Measure a trial in parts: some steps of training, a batch of each attack, a Hessian-vector product.

    Each part runs once to warm up, once for its time and once for its kernels' time; parts are weighted by how long
    the whole trial would spend in them. The times are without a CUDA graph, whose recording would take most of so
    short a training. The memory is the peak of all parts and of a training with a graph, with the data and with the
    vectors that Lanczos keeps, which are not made here.

    Args:
        planned: the trial and its probes.
        data: its images, all of them, on the meter's device.
        meter: what to measure with.

    Raises:
        torch.cuda.OutOfMemoryError: a whole GPU is too small.
        ValueError: as `study.trials.execute.execute`.
    """
    small = _shortened(planned, data)
    images = _first_images(data, small)
    hessian_size = max((_hessian_size(probe) for probe in planned.probes), default=0)
    basis_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        execute(replace(small, probes=frozenset()), images, _new_results(folder))  # as a trial: its graph has a pool
        parts = [_training(planned, small, images, folder)]
        if small.probes:
            parts.append(_probing(planned, small, images, folder))
        if hessian_size:
            operator = _hessian(planned, data, hessian_size)
            parts.append((lambda: _multiply(operator), _hessian_products(planned, hessian_size)))
            basis_bytes = BASIS_BYTES * operator.dim * max(_lanczos_vectors(probe) for probe in planned.probes)
        timed = [(repeats, *_time(work, meter)) for work, repeats in parts]
    total = sum(repeats * seconds for repeats, seconds, _ in timed)
    busy = [repeats * min(seconds, working) for repeats, seconds, working in timed if working is not None]
    return GpuUsage(
        device=meter.name,
        total_bytes=meter.total_bytes,
        memory_bytes=meter.peak_bytes() + basis_bytes,
        busy=sum(busy) / total if len(busy) == len(timed) else None,
    )


def _time(work: Callable[[], None], meter: Meter) -> tuple[float, float | None]:
    """Seconds of the second run, and those of the third in which a kernel ran."""
    work()
    meter.synchronize()
    started = time.perf_counter()
    work()
    meter.synchronize()
    return time.perf_counter() - started, meter.busy_seconds(work)


def _shortened(planned: Planned, data: DeviceData) -> Planned:
    """One epoch, and one probe of each kind on test images, except those that need a Hessian.

    The epoch has STEPS steps, or the images of a whole pass. The learning rate is small enough that nothing diverges,
    and there is no parent.
    """
    trial = planned.trial
    small = replace(
        trial,
        epochs=1,
        train_size=min(len(data.train[1]), max(images_in_a_pass(data.train[0]), STEPS * trial.batch_size)),
        val_size=min(len(data.validation[1]), IMAGES),
        test_size=min(len(data.test[1]), IMAGES),
        learning_rate=1e-6,
        target_loss=None,
        parent=None,
    )
    kinds = {probe_kind(probe): _on_own_test_images(probe) for probe in _image_probes(planned)}
    return replace(planned, trial=small, probes=frozenset(kinds.values()))


def probe_kind(probe: Probe) -> str:
    """Probes of one kind need the same memory."""
    if isinstance(probe, AttackProbe):
        return probe.attack
    name = getattr(probe, "measure", type(probe).__name__.removesuffix("Probe").lower())
    return name + str(getattr(probe, "count", ""))


def _image_probes(planned: Planned) -> list[Probe]:
    """The probes that take images a batch at a time, in a fixed order."""
    kinds = (AttackProbe, InputCurvatureProbe, InputHessianProbe)
    return sorted((probe for probe in planned.probes if isinstance(probe, kinds)), key=str)


def _on_own_test_images(probe: Probe) -> Probe:
    if isinstance(probe, AttackProbe):
        return replace(probe, split="test", source="self")
    return replace(probe, split="test") if isinstance(probe, InputCurvatureProbe) else probe


def _first_images(data: DeviceData, small: Planned) -> DeviceData:
    """Views of the first images: all of the data stays on the device, as in the trial itself."""
    trial = small.trial
    parts = ((data.train, trial.train_size), (data.validation, trial.val_size), (data.test, trial.test_size))
    train, validation, test = ((x[:n], y[:n]) for (x, y), n in parts)
    return DeviceData(train, validation, test, data.sha256)


Part = tuple[Callable[[], None], float]
"""Some work, and how often a trial does as much."""


def _training(planned: Planned, small: Planned, images: DeviceData, folder: str) -> Part:
    def work() -> None:
        execute(replace(small, probes=frozenset()), images, _new_results(folder), replay=False)

    return work, max(1.0, planned.trial.epochs * planned.trial.train_size / small.trial.train_size)


def _probing(planned: Planned, small: Planned, images: DeviceData, folder: str) -> Part:
    results = _new_results(folder)
    trained = execute(replace(small, probes=frozenset()), images, results)

    def work() -> None:
        results.write_row(trained)  # without the answers of the run before
        execute(small, images, results)

    whole = replace(planned, probes=frozenset(_image_probes(planned)))
    return work, max(1.0, probe_seconds(whole) / probe_seconds(small))


def _new_results(folder: str) -> Results:
    results = Results(tempfile.mkdtemp(dir=folder))
    results.create()
    return results


def _hessian(planned: Planned, data: DeviceData, images: int) -> HessianOperator:
    info = DATASETS[planned.trial.dataset]
    stream = torch.Generator().manual_seed(0)
    model = build(planned.trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=stream)
    x, y = data.train
    return HessianOperator(precision.prepare(model.to(data.device), "float32").eval(), x[:images], y[:images])


def _multiply(operator: HessianOperator) -> None:
    operator.matvec(torch.ones(operator.dim, device=operator.device))


def _hessian_products(planned: Planned, images: int) -> float:
    """Hessian-vector products on so many images that the trial's probes take."""
    probes = [probe for probe in planned.probes if _hessian_size(probe)]
    return max(1.0, probe_passes(planned.trial, probes) / (HVP_SHARE * images))


def _hessian_size(probe: Probe) -> int:
    """Images of the Hessian that a probe multiplies by; 0 for none."""
    if isinstance(probe, SpectrumProbe) or (isinstance(probe, SharpnessProbe) and probe.measure in SHARPNESS_VECTORS):
        return probe.subset_size
    return probe.hessian_size if isinstance(probe, LandscapeProbe) else 0


def _lanczos_vectors(probe: Probe) -> int:
    """Vectors that Lanczos keeps for a probe."""
    if not _hessian_size(probe):
        return 0
    if isinstance(probe, SharpnessProbe):
        return SHARPNESS_VECTORS[probe.measure]
    count = probe.count if isinstance(probe, SpectrumProbe) else 2
    return MATVECS.get(count, 3 * count)
