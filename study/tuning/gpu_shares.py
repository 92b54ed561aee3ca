"""What fraction of a GPU a trial needs, from measured memory and time on the GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces import AttackProbe, Grid, Planned, Probe
from study.results.schema import Row

MOST_PER_GPU = 16
"""Trials on one GPU at most. Our choice: each keeps a CPU core busy launching kernels, and a CUDA context."""

MARGIN = 1.25
"""Our choice: the allocator's fragments, and trials of one kind whose peaks differ."""

CONTEXT_BYTES = 2**29
"""Of a process on a GPU beside its tensors: CUDA's context, kernels and the libraries' workspaces."""

UNMEASURED = 0.25
"""The share of a trial that could not be measured."""

_STEPS_OF_SHARE = 10_000  # Ray counts resources in steps of 1e-4


@dataclass(frozen=True)
class Need:
    """What one kind of trial takes of one kind of GPU.

    Attributes:
        device: the GPU's name.
        total_bytes: its memory.
        memory_bytes: most that torch had allocated at once.
        busy: fraction of the trial's time in which the GPU runs one of its kernels, 0 to 1. Kernels of different
            processes take turns, so the fractions of trials that share a GPU add up. None: not known.
    """

    device: str
    total_bytes: int
    memory_bytes: int
    busy: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def kind_of(planned: Planned) -> str:
    """Trials of one kind need the same: `mnist/m1_20/sgd/bs512/fgsm+pgd+spectrum1`; batch sizes go by powers of two."""
    trial = planned.trial
    unusual = [trial.adversarial_training] * (trial.adversarial_training != "none")
    unusual += [trial.precision] * (trial.precision != "float32")
    how = "~".join([trial.optimizer, *unusual])
    probes = "+".join(sorted({probe_kind(probe) for probe in planned.probes})) or "no probes"
    return f"{trial.dataset}/{trial.model}/{how}/bs{_bucket(trial.batch_size)}/{probes}"


def probe_kind(probe: Probe) -> str:
    """Probes of one kind need the same memory."""
    if isinstance(probe, AttackProbe):
        return probe.attack
    name = type(probe).__name__.removesuffix("Probe").lower()
    return name + str(getattr(probe, "count", ""))


def representatives(work: Iterable[Planned]) -> dict[str, Planned]:
    """The most demanding trial of each kind."""
    found: dict[str, Planned] = {}
    for planned in work:
        kind = kind_of(planned)
        if kind not in found or _size(planned) > _size(found[kind]):
            found[kind] = planned
    return found


def _size(planned: Planned) -> tuple[int, int, int]:
    trial = planned.trial
    return trial.batch_size, trial.train_size, len(planned.probes)


def _bucket(batch_size: int) -> int:
    return 1 << (batch_size - 1).bit_length()


Peaks = Mapping[tuple[str, str], int]
"""Kind of trial without its probes, device -> bytes."""


def known_peaks(grid: Grid, rows: Iterable[Row]) -> Peaks:
    """The most memory that stored trials took, by kind and device.

    Without the kind's probes: a row does not say which of its probes made the peak.
    """
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        planned, device = grid.get(row["trial_id"]), row.get("device")
        if planned is None or row["status"] != "ok" or not device or device == "cpu":
            continue
        key = (_without_probes(kind_of(planned)), device)
        found[key] = max(found.get(key, 0), row.get("peak_memory_bytes") or 0)
    return found


def _without_probes(kind: str) -> str:
    return kind.rpartition("/")[0]


def share(kind: str, needs: Iterable[Need], peaks: Peaks, *, most: int = MOST_PER_GPU) -> float:
    """The fraction of a GPU for trials of this kind: 1 / k, so that k of them fill a GPU.

    k is the largest number of such trials whose memory (with MARGIN and a context each) fits and whose busy times
    add up to no more than 1; at least 1, at most `most` and MOST_PER_GPU. Of several kinds of GPU the one that
    carries fewest counts. Unmeasured trials get UNMEASURED.
    """
    counts = [_fitting(kind, need, peaks) for need in needs]
    k = min([*counts, most, MOST_PER_GPU]) if counts else min(int(1 / UNMEASURED), most)
    return one_of(max(1, k))


def _fitting(kind: str, need: Need, peaks: Peaks) -> int:
    peak = max(need.memory_bytes, peaks.get((_without_probes(kind), need.device), 0))
    of_memory = (MARGIN * peak + CONTEXT_BYTES) / need.total_bytes
    busy = UNMEASURED if need.busy is None else need.busy
    return int(1 / max(of_memory, busy, 1 / MOST_PER_GPU))


def one_of(k: int) -> float:
    """1 / k, rounded down to Ray's resolution, so that k of them never exceed a GPU."""
    return math.floor(_STEPS_OF_SHARE / k) / _STEPS_OF_SHARE


def larger(share: float) -> float:
    """The share to try after one was too small: at least twice it, and again 1 / k."""
    return one_of(max(1, int(1 / min(1.0, 2 * share) + 1e-3)))
