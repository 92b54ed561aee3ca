"""One line of the benchmark table, and how it is printed and stored."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.timing import Paired

HEADER = f"{'what':18s} {'work':38s} {'against':26s} {'ours, s':>8s} {'theirs, s':>9s} ratio [min, max] pairs  checked"


@dataclass(frozen=True)
class Row:
    """The same work done by us and by a named peer.

    Attributes:
        what: the kind of work.
        work: model, batch size, images.
        against: the peer; "" where there is none, and the row says seconds alone.
        ours, theirs: wall-clock seconds of each run, in pairs; theirs empty without a peer.
        checked: what was compared before any time was taken, and the outcome.
    """

    what: str
    work: str
    against: str
    ours: list[float]
    theirs: list[float]
    checked: str

    @classmethod
    def of(cls, what: str, work: str, against: str, times: Paired, checked: str) -> Row:
        """A row of paired times."""
        return cls(what, work, against, times.ours, times.theirs, checked)

    @property
    def ratio(self) -> float | None:
        """Median of theirs / ours over the pairs; above 1, ours is faster."""
        return median(self._ratios) if self.theirs else None

    @property
    def _ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def __str__(self) -> str:
        line = f"{self.what:18s} {self.work:38s} {self.against:26s} {median(self.ours):8.3f}"
        if not self.theirs:
            return f"{line} {'':9s} {'':5s} {'':12s} {len(self.ours):5d}  {self.checked}"
        spread = f"[{min(self._ratios):.2f}, {max(self._ratios):.2f}]"
        ours = f"{median(self.theirs):9.3f} {self.ratio:5.2f} {spread:12s} {len(self.ours):5d}"
        return f"{line} {ours}  {self.checked}"

    def to_dict(self) -> dict[str, Any]:
        """The row and its ratio as plain values."""
        return {**asdict(self), "ratio": self.ratio}


def machine() -> Mapping[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({_vectors()})"


def _vectors() -> str:
    return str(torch.backends.cpu.get_cpu_capability())
