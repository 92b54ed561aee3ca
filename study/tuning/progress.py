"""What a user sees while a study runs: trials done, running and failed, the newest metrics, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search_spaces import Planned

LINE_SECONDS = 30.0
"""Without a terminal: at most one line this often."""

SHOWN = 8
"""Running trials listed on a terminal."""

NODES = 4
"""Nodes whose GPU share is shown in a line, those with the most free GPUs first."""


@dataclass
class Progress:
    """The state of a run, independent of how it is displayed.

    Attributes:
        costs: expected seconds by trial id.
        labels: trials in words, by trial id.
        later_seconds: expected seconds of the work that follows this run; counts in the time left.
        running: newest metrics of each running trial.
        done: status of each finished trial.
        failures: reasons of the failed ones.
        retries: trials that were started again.
        enlarged: those of them that ran out of GPU memory.
        last: the newest event in words.
        gpu_use: returns GPUs held and present by node address.
    """

    costs: Mapping[str, float]
    labels: Mapping[str, str]
    started: float = field(default_factory=time.monotonic)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    enlarged: int = 0
    last: str = ""
    later_seconds: float = 0.0
    gpu_use: Callable[[], Mapping[str, tuple[float, float]]] = dict

    def start(self, trial_id: str) -> None:
        """A trial has started, perhaps not for the first time."""
        self.running[trial_id] = {}

    def metrics(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        """A trial has reported."""
        self.running.setdefault(trial_id, {}).update(metrics)

    def retry(self, trial_id: str) -> None:
        """A trial's worker was lost; it will be started again."""
        self.retries += 1
        self.running.pop(trial_id, None)

    def enlarge(self, trial_id: str, before: float, after: float) -> None:
        """A trial ran out of GPU memory; it will be started again with a larger share."""
        self.enlarged += 1
        self.note(trial_id, f"out of GPU memory at {before:.3g} of a GPU, again at {after:.3g}")

    def finish(self, trial_id: str, status: str, metrics: Mapping[str, Any]) -> None:
        """A trial has its row."""
        self.running.pop(trial_id, None)
        self.done[trial_id] = status
        if status == "failed":
            self.failures[trial_id] = str(metrics.get("status_reason") or "no reason was reported")
        self.note(trial_id, describe(metrics) or status)

    def note(self, trial_id: str, event: str) -> None:
        """Show what has happened to a trial as the newest event."""
        self.last = f"{self.labels.get(trial_id, trial_id)}: {event}"

    @property
    def total(self) -> int:
        """Trials of this run."""
        return len(self.costs)

    def eta_seconds(self) -> float | None:
        """Remaining expected work over the pace so far; None before there is a pace."""
        total = sum(self.costs.values()) + self.later_seconds
        finished = sum(self.costs[t] for t in self.done if t in self.costs)
        partly = sum(self.costs.get(t, 0.0) * _completed(m) for t, m in self.running.items())
        worked = finished + partly
        if worked <= 0:
            return None
        return (total - worked) * (time.monotonic() - self.started) / worked

    def summary(self) -> str:
        """One line: trials done, running and failed, time elapsed and left, use of GPUs, the newest event."""
        counts = f"{len(self.done)}/{self.total} done, {len(self.running)} running, {len(self.failures)} failed"
        diverged = sum(status == "diverged" for status in self.done.values())
        counts += f", {diverged} diverged" if diverged else ""
        counts += f", {self.retries} restarted" if self.retries else ""
        counts += f", {self.enlarged} of them out of GPU memory, with a larger share" if self.enlarged else ""
        elapsed = f"elapsed {duration(time.monotonic() - self.started)}"
        eta = self.eta_seconds()
        remaining = f"ETA {duration(eta)}" if eta is not None else "ETA unknown"
        return " | ".join(part for part in (counts, elapsed, remaining, self._gpus(), self.last) if part)

    def _gpus(self) -> str:
        try:
            return describe_gpus(self.gpu_use())
        except Exception:  # a cluster that does not respond must not end the run
            return ""


def describe_trial(planned: Planned) -> str:
    """A trial in a few words: `mnist m1_20 lr bs 64 m 0.9 seed 0`."""
    trial = planned.trial
    settings = (
        trial.dataset,
        trial.model,
        trial.optimizer if trial.optimizer != "sgd" else "",
        "+".join(planned.regimes),
        f"{trial.adversarial_training} training" if trial.adversarial_training != "none" else "",
        f"bs {trial.batch_size} m {trial.momentum:g}",
        f"wd {trial.weight_decay:g}" if trial.weight_decay else "",
        f"seed {trial.seed}",
    )
    return " ".join(setting for setting in settings if setting)


def describe(metrics: Mapping[str, Any]) -> str:
    """The main metrics in short: accuracies in percent and lambda1, or else the epoch."""
    names = {"test_acc": "clean", "fgsm_acc": "fgsm", "pgd_acc": "pgd", "val_acc": "val"}
    parts = [f"{label} {100 * metrics[name]:.1f}%" for name, label in names.items() if _finite(metrics.get(name))]
    for name in ("lambda1_train", "lambda1_test"):
        if _finite(metrics.get(name)):
            parts.append(f"{name} {metrics[name]:.3g}")
    if not parts and metrics.get("epoch"):
        parts.append(f"epoch {metrics['epoch']}")
    return ", ".join(parts)


def describe_gpus(use: Mapping[str, tuple[float, float]]) -> str:
    """GPUs held and present, and on each of several nodes: `GPUs 1.25/2 (10.0.0.2 0.25/1, 10.0.0.1 1/1)`."""
    if not use:
        return ""
    held, present = (sum(pair[i] for pair in use.values()) for i in (0, 1))
    if len(use) == 1:
        return f"GPUs {held:.3g}/{present:g}"
    by_use = sorted(use.items(), key=lambda item: (item[1][0] / item[1][1], item[0]))
    nodes = [f"{address} {a:.3g}/{b:g}" for address, (a, b) in by_use[:NODES]]
    nodes += [f"{len(use) - NODES} more"] if len(use) > NODES else []
    return f"GPUs {held:.3g}/{present:g} ({', '.join(nodes)})"


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds, 1:23, or with hours, 4:05:06."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def error_summary(error: BaseException) -> str:
    """The first line of an error, or of the one that caused it: Tune's own wrapper says nothing."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return error_summary(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and value == value


def _completed(metrics: Mapping[str, Any]) -> float:
    """The fraction of a running trial that is done; probes are taken for 30 % of it."""
    epoch, epochs = metrics.get("epoch"), metrics.get("epochs")
    return 0.7 * epoch / epochs if epoch and epochs else 0.0


class Display:
    """Shows a Progress: continuously on a terminal, else in a line every LINE_SECONDS."""

    def __init__(self, progress: Progress, console: Console | None = None) -> None:
        self.progress = progress
        self.console = console or Console(file=sys.stdout)
        self._live = (
            Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True)
            if self.console.is_terminal
            else None
        )
        self._printed = time.monotonic()

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._live:
            self._live.stop()
        self.console.print(self.progress.summary(), highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        """Print a line if there is no terminal and one is due; called at every event."""
        if self._live is None and time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            self.console.print(self.progress.summary(), highlight=False, soft_wrap=True)

    def _render(self) -> Group:
        progress = self.progress
        bar = ProgressBar(total=max(1, progress.total), completed=len(progress.done), width=60)
        table = Table.grid(padding=(0, 2))
        for trial_id, metrics in list(progress.running.items())[:SHOWN]:
            epochs = f"epoch {metrics['epoch']}/{metrics.get('epochs', '?')}" if metrics.get("epoch") else "starting"
            table.add_row(Text(progress.labels.get(trial_id, trial_id), style="cyan"), epochs, describe(metrics))
        return Group(Text(progress.summary()), bar, table)
