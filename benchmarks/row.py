"""A row of the benchmark table: how it is timed and printed, and the options that the commands share."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

HEADER = f"{'what':18s} {'work':38s} {'against':26s} {'ours, s':>8s} {'theirs, s':>9s} ratio [min, max] pairs  checked"

LONG_PAIR = 30.0
"""Seconds; a pair that takes longer is not repeated."""

BUDGET = 4.0
"""Seconds after which no further pair is begun."""

Times = tuple[list[float], list[float]]
"""Wall-clock seconds of ours and theirs, in the order measured; entry i of both ran one right after the other."""


@dataclass(frozen=True)
class Row:
    """The same work done by us and by a named peer.

    Attributes:
        what: the kind of work.
        work: model, batch size, images.
        against: the peer; "" where there is none and only our seconds are given.
        ours, theirs: wall-clock seconds of each run, in pairs; `theirs` is empty without a peer.
        checked: what was compared before any time was taken, and the outcome.
    """

    what: str
    work: str
    against: str
    ours: list[float]
    theirs: list[float]
    checked: str

    @property
    def ratios(self) -> list[float]:
        """theirs / ours of each pair; above 1, ours is faster."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None without a peer."""
        return median(self.ratios) if self.theirs else None

    def __str__(self) -> str:
        theirs, ratio, spread = "", "", ""
        if self.theirs:
            theirs, ratio = f"{median(self.theirs):.3f}", f"{self.ratio:.2f}"
            spread = f"[{min(self.ratios):.2f}, {max(self.ratios):.2f}]"
        return (
            f"{self.what:18s} {self.work:38s} {self.against:26s} {median(self.ours):8.3f} {theirs:>9s} {ratio:>5s}"
            f" {spread:12s} {len(self.ours):5d}  {self.checked}"
        )


def paired(ours: Callable[[], object], theirs: Callable[[], object], *, max_pairs: int = 9) -> Times:
    """Time both sides in turn (ours, theirs, theirs, ours, ...) until BUDGET seconds or `max_pairs`.

    The speed of a machine drifts by tens of percent within minutes (clock frequency, heat, neighbours). Both halves of
    a pair meet nearly the same machine, so the drift cancels in their ratio, and the median of the ratios is robust to
    a disturbed pair. The order alternates because the second of a pair may find warmer caches.

    The first pair warms caches and allocators and is not counted; at least two more are. If the first takes LONG_PAIR
    seconds it is the only pair, which says nothing about the spread.
    """
    started = time.perf_counter()
    warm_up = seconds(ours), seconds(theirs)
    if sum(warm_up) >= LONG_PAIR:
        return [warm_up[0]], [warm_up[1]]
    times: Times = ([], [])
    while len(times[0]) < 2 or (len(times[0]) < max_pairs and time.perf_counter() - started < BUDGET):
        sides = [(times[0], ours), (times[1], theirs)]
        for measured, work in sides[:: -1 if len(times[0]) % 2 else 1]:
            measured.append(seconds(work))
    return times


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def parser(description: str | None, metavar: str, choices: Collection[str]) -> argparse.ArgumentParser:
    """A parser whose positional arguments, all by default, are some of `choices`."""

    def choice(name: str) -> str:
        if name not in choices:
            raise argparse.ArgumentTypeError(f"unknown {metavar.lower()} {name}; choose from {', '.join(choices)}")
        return name

    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "names", nargs="*", type=choice, metavar=metavar, help=f"any of {', '.join(choices)}; default all"
    )
    return made


def print_rows(rows: Iterable[Row]) -> None:
    """Print each row as soon as it is measured."""
    torch.set_num_threads(1)  # a trial owns one CPU unless told otherwise
    print(HEADER)
    for row in rows:
        print(row, flush=True)


def machine() -> str:
    """What the figures were measured on."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_processor()} ({torch.backends.cpu.get_cpu_capability()}), {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads{gpu}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
