"""What a user sees while a study runs: trials done, running and failed, the newest metrics, and the time left."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search_spaces import Planned, Trial
from study.tuning.ends import BROKEN_PIPE

LINE_SECONDS = 30.0
"""Without a terminal: at most one line this often."""

QUIET_SECONDS = 600.0
"""Without a terminal: a line after this long even if no trial has ended."""

SHOWN = 8
"""Running trials listed on a terminal."""

NODES = 4
"""Nodes whose GPU share is shown in a line, those with the most free GPUs first."""

REASON_LETTERS = 200
"""Characters of a restart's reason that are shown, at most."""

UNKNOWN_SECONDS = 60.0
"""The time left is shown once a trial has reported, or after this many seconds."""

PRIOR_SECONDS = 3.0
"""Weight of the cost model beside observed times, in seconds of work."""

OVERDUE_SHARE = 0.1
"""A trial that has not reported in time is assumed to need this share of its wait so far in addition."""


@dataclass
class Running:
    """A running trial.

    Attributes:
        started: when it started, in seconds of the clock.
        reported: when it last reported.
        first: the fraction of its work that was done when it started: 0 unless it continues from a checkpoint.
        done: the fraction that was done at its last report.
        step: the fraction that it does from one report to the next.
        metrics: the newest of each kind.
    """

    started: float
    reported: float
    first: float = 0.0
    done: float = 0.0
    step: float = 1.0
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progress:
    """The state of a run, independent of how it is displayed.

    Attributes:
        costs: expected seconds by trial id.
        labels: trials in words, by trial id.
        training: expected seconds of the training alone, by trial id; of a trial that is not named, all of its cost.
        later_seconds: expected seconds of the work that follows this run; counts in the time left.
        clock: a function that returns seconds.
        running: the trials that run.
        done: status of each finished trial.
        failures: reasons of the failed ones.
        retries: trials that were started again.
        enlarged: those of them that ran out of GPU memory.
        retry_reason: why the last trial was started again, if not for want of GPU memory.
        last: the newest event: a trial and what has happened to it.
        gpu_use: returns GPUs held and present by node address.
    """

    costs: Mapping[str, float]
    labels: Mapping[str, str]
    training: Mapping[str, float] = field(default_factory=dict)
    later_seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    running: dict[str, Running] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    enlarged: int = 0
    retry_reason: str = ""
    last: tuple[str, ...] = ()
    gpu_use: Callable[[], Mapping[str, tuple[float, float]]] = dict

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._slots = 1  # trials that run at once
        self._worked, self._spent = 0.0, 0.0  # by finished trials: expected seconds, and those that they took
        self._finished_here = 0

    def start(self, trial_id: str) -> None:
        """A trial has started, perhaps not for the first time."""
        now = self.clock()
        self.running[trial_id] = Running(now, now)
        self._slots = max(self._slots, len(self.running))

    def metrics(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        """A trial has reported."""
        if trial_id not in self.running:
            self.start(trial_id)
        trial, epochs = self.running[trial_id], metrics.get("epochs", 1)
        trial.metrics.update(metrics)
        cost = self.costs.get(trial_id, 0.0)
        share = self.training.get(trial_id, cost) / cost if cost else 1.0
        done = share if "probes_answered" in metrics else share * metrics.get("epoch", 0) / epochs
        if done > trial.done:
            trial.first = share * trial.metrics.get("resumed_at", 0) / epochs
            # The next report comes after as much work as this one, which may be several epochs.
            trial.step = done - max(trial.done, trial.first) if done < share else 1 - share
            trial.reported, trial.done = self.clock(), done

    def retry(self, trial_id: str, reason: str = "") -> None:
        """A trial will be started again, as when its worker was lost."""
        self.retries += 1
        self.retry_reason = reason or self.retry_reason
        self.running.pop(trial_id, None)
        self._slots = max(1, len(self.running))

    def enlarge(self, trial_id: str, before: float, after: float) -> None:
        """A trial ran out of GPU memory; it will be started again with a larger share."""
        self.retry(trial_id)
        self.enlarged += 1
        self.note(trial_id, f"out of GPU memory at {before:.3g} of a GPU, again at {after:.3g}")

    def finish(self, trial_id: str, status: str, metrics: Mapping[str, Any]) -> None:
        """A trial has its row."""
        trial = self.running.pop(trial_id, None)
        if trial is not None and status == "ok":
            self._worked += self.costs.get(trial_id, 0.0) * (1 - trial.first)
            self._spent += self.clock() - trial.started
        self._finished_here += trial is not None
        self.done[trial_id] = status
        if status == "failed":
            self.failures[trial_id] = str(metrics.get("status_reason") or "no reason was reported")
        self.note(trial_id, self.failures.get(trial_id) or describe(metrics) or status)

    def note(self, trial_id: str, event: str) -> None:
        """Show what has happened to a trial as the newest event."""
        self.last = (self.labels.get(trial_id, trial_id), event)

    @property
    def total(self) -> int:
        """Trials of this run."""
        return len(self.costs)

    @property
    def fraction(self) -> float:
        """The share of the expected work that is done, running trials by their last report."""
        total = sum(self.costs.values())
        done = sum(self.costs.get(trial_id, 0.0) for trial_id in list(self.done))
        done += sum(self.costs.get(trial_id, 0.0) * trial.done for trial_id, trial in list(self.running.items()))
        return done / total if total else 1.0

    def eta_seconds(self) -> float | None:
        """Seconds until the last trial ends if trials start in the order of their cost, at the pace seen so far.

        None for UNKNOWN_SECONDS as long as no trial has reported.
        """
        now, running = self.clock(), dict(self.running)  # a copy: the display reads it in a thread of its own
        begun = {*self.done, *running}
        waiting = [cost for trial_id, cost in self.costs.items() if trial_id not in begun]
        reported = bool(self._worked) or any(trial.done for trial in running.values())
        if not reported and (waiting or running) and now - self._started < UNKNOWN_SECONDS:
            return None
        pace = self._pace(running, now)
        ends = [self._seconds_left(trial_id, trial, pace, now) for trial_id, trial in running.items()]
        ends += [0.0] * (self._slots - len(ends))
        heapq.heapify(ends)
        for cost in sorted(waiting, reverse=True):
            heapq.heapreplace(ends, ends[0] + cost * pace)
        return max(ends) + self.later_seconds * pace / self._slots

    def _pace(self, running: Mapping[str, Running], now: float) -> float:
        """Seconds that a trial takes for each expected one."""
        worked, spent = PRIOR_SECONDS + self._worked, PRIOR_SECONDS + self._spent
        for trial_id, trial in running.items():
            worked += self.costs.get(trial_id, 0.0) * max(0.0, trial.done - trial.first)
            spent += trial.reported - trial.started
        pace = spent / worked
        for trial_id, trial in running.items():  # those that take longer to the next report than at that pace
            step, since = self.costs.get(trial_id, 0.0) * trial.step, now - trial.reported
            if since > step * pace:
                worked, spent = worked + step, spent + since
        return spent / worked

    def _seconds_left(self, trial_id: str, trial: Running, pace: float, now: float) -> float:
        """Of a running trial, which has worked at the pace since its last report."""
        cost, since = self.costs.get(trial_id, 0.0) * pace, now - trial.reported
        to_report = cost * trial.step - since
        return cost * (1 - trial.done - trial.step) + (to_report if to_report > 0 else since * OVERDUE_SHARE)

    def summary(self) -> str:
        """The state in a line of at most 80 columns, and in a second one what else there is to say."""
        elapsed, eta = self.clock() - self._started, self.eta_seconds()
        counts = f"{len(self.done)}/{self.total} done, {len(self.running)} running, {len(self.failures)} failed"
        parts = [counts, f"elapsed {duration(elapsed)}"]
        if len(self.done) < self.total or self.later_seconds:
            parts.append("ETA unknown" if eta is None else f"ETA {duration(eta)}")
        if self._finished_here and elapsed > 0:
            parts.append(rate(self._finished_here / elapsed))
        diverged = list(self.done.values()).count("diverged")
        others = [f"{diverged} diverged"] if diverged else []
        if self.retries:
            memory = f" ({self.enlarged} out of GPU memory, with a larger share)" if self.enlarged else ""
            others.append(f"{self.retries} restarted{memory}")
        others += filter(None, [self._gpus()])
        if self.retry_reason:
            others.append(f"last restart: {self.retry_reason[:REASON_LETTERS]}")
        return "\n".join(filter(None, (" | ".join(parts), " | ".join(others))))

    def _gpus(self) -> str:
        try:
            return describe_gpus(self.gpu_use())
        except Exception:  # a cluster that does not respond must not end the run
            return ""


def describe_trial(planned: Planned) -> str:
    """A trial in a few words: `mnist m1_20 lr m 0.9 bs 64 seed 0`."""
    trial = planned.trial
    return f"{describe_settings(trial, planned.regimes)} bs {trial.batch_size} seed {trial.seed}"


def describe_settings(trial: Trial, regimes: Sequence[str]) -> str:
    """What the trials of a curve share, in a few words: `mnist m1_20 lr m 0.9`."""
    settings = (
        trial.dataset,
        trial.model,
        trial.optimizer if trial.optimizer != "sgd" else "",
        "+".join(regimes),
        f"on {trial.adversarial_training}" if trial.adversarial_training != "none" else "",
        f"m {trial.momentum:g}",
        f"wd {trial.weight_decay:g}" if trial.weight_decay else "",
    )
    return " ".join(setting for setting in settings if setting)


def describe(metrics: Mapping[str, Any]) -> str:
    """The main results of a trial in at most 78 columns: accuracies in percent, each attack's loss, and lambda1."""
    parts = [f"clean {_percent(metrics['test_acc'])}"] if _finite(metrics.get("test_acc")) else []
    for name in ("pgd", "fgsm"):
        losses = {"cross-entropy": f"{name}_acc", "stable": f"{name}_acc_stable"}
        found = [f"{_percent(metrics[key])} ({loss})" for loss, key in losses.items() if _finite(metrics.get(key))]
        if found:
            epsilon = f" at ε {metrics['headline_epsilon']:g}" if metrics.get("headline_epsilon") else ""
            parts.append(f"{name.upper()}{epsilon}: {', '.join(found)}")
            break  # the stronger attack says enough
    for name in ("lambda1_train", "lambda1_test"):
        if _finite(metrics.get(name)):
            parts.append(f"λ₁ {metrics[name]:.3g}" + ("" if name == "lambda1_train" else " (test)"))
            break
    return "; ".join(parts)


def describe_epoch(metrics: Mapping[str, Any], *, trained: bool = False) -> str:
    """How far a running trial is: its epoch, or that it answers its probes, and the validation accuracy."""
    if not metrics.get("epoch"):
        return "probing" if trained or "probes_answered" in metrics else "starting"
    validation = f", validation {_percent(metrics['val_acc'])}" if _finite(metrics.get("val_acc")) else ""
    epoch, epochs = metrics["epoch"], metrics.get("epochs", "?")
    return f"{'probing' if epoch == epochs or 'probes_answered' in metrics else f'epoch {epoch}/{epochs}'}{validation}"


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
    """Seconds as minutes and seconds, 1:23, or with hours, 4:05:06, and from two days on in days: 2.5 days."""
    whole = max(0, round(seconds))
    if whole >= 2 * 86_400:
        return f"{round(whole / 86_400, 1 if whole < 8_640_000 else None):,} days"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def rate(per_second: float) -> str:
    """Trials a second in the unit in which there is at least one: `20/min`, `1.3/h`, `2/day`."""
    units = {"min": 60, "h": 3600, "day": 86_400}
    unit = next((unit for unit, seconds in units.items() if per_second * seconds >= 1), "day")
    value = per_second * units[unit]
    return f"{value:.0f}/{unit}" if value >= 10 else f"{value:.2g}/{unit}"


def error_summary(error: BaseException) -> str:
    """The first line of an error, or of the one that caused it: Tune's own wrapper says nothing."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        return error_summary(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and value == value


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


class _Console(Console):
    """Ends the program with BROKEN_PIPE, not 1, when nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(BROKEN_PIPE) from None


class Display:
    """Shows a Progress: continuously on a terminal, else in a line now and then when something has changed."""

    def __init__(self, progress: Progress, console: Console | None = None) -> None:
        self.progress = progress
        self.console = console or _Console(file=sys.stdout)
        self._live = (
            Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True)
            if self.console.is_terminal and not self.console.is_dumb_terminal
            else None
        )
        self._printed = progress.clock()
        self._shown: tuple[object, ...] = ()
        self._last: tuple[str, ...] = ()

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        if self._live:
            self._live.stop()
        if kind is not None or len(self.progress.done) >= self.progress.total:  # else the next generation follows
            self._print(self.progress.summary())

    def refresh(self) -> None:
        """Without a terminal, print the state if it is due and has changed; called at every event."""
        if self._live is not None:
            return
        progress = self.progress
        since, state = progress.clock() - self._printed, (len(progress.done), len(progress.running), progress.last)
        if since >= QUIET_SECONDS or (since >= LINE_SECONDS and state != self._shown):
            self._printed, self._shown = progress.clock(), state
            self._print(progress.summary())
            if progress.last != self._last:
                self._last = progress.last
                self._print("  last: " + "\n    ".join(progress.last))

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> Group:
        progress = self.progress
        bar = Table.grid(expand=True)
        bar.add_row(ProgressBar(total=1.0, completed=progress.fraction))
        lines = progress.summary().splitlines()
        for trial_id, trial in list(progress.running.items())[:SHOWN]:
            epoch = describe_epoch(trial.metrics, trained=progress.training.get(trial_id) == 0)
            lines.append(f"  {epoch}: {progress.labels.get(trial_id, trial_id)}")
        if len(progress.running) > SHOWN:
            lines.append(f"  and {len(progress.running) - SHOWN} more")
        if progress.last:
            lines += [f"last: {progress.last[0]}", *(f"  {event}" for event in progress.last[1:])]
        return Group(bar, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))
