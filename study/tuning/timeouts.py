"""Trials that stop making progress: noticed by the driver, and their workers killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

FLOOR_SECONDS = 600.0
"""No trial is taken for hung before ten minutes of silence: a slow disk, a busy node or a compilation is none."""

EXPECTED_MULTIPLE = 20.0
"""Nor before this many times what its longest epoch or probe should take. Our choice: estimates may be far off."""

LOOK_SECONDS = 1.0

STANDSTILL_SECONDS = 60.0
"""The driver itself stood still when it has not looked for so long: that is nobody's silence."""


def silence_limit(expected_seconds: float, asked: float | None) -> float:
    """Seconds without a report after which a trial counts as hung: as asked, else a generous multiple of its cost."""
    return asked if asked is not None else max(FLOOR_SECONDS, EXPECTED_MULTIPLE * expected_seconds)


class Watch:
    """When each running trial was last heard of. Training reports every epoch, and probes each at its end.

    A worker that hangs looks healthy to Ray, and one that is stopped or holds Python's lock cannot look after itself:
    so the driver watches. Killing the worker makes the trial one whose worker was lost, restarted like any other.
    """

    def __init__(self, limits: Mapping[str, float], kill: Callable[[Any], None] | None = None) -> None:
        self._limits, self._kill = limits, kill or (lambda trial: ray.kill(trial.temporary_state.ray_actor))
        self._heard: dict[str, tuple[float, Any]] = {}
        self._reasons: dict[str, str] = {}
        self._looked = time.monotonic()

    def heard(self, trial: Any) -> None:
        """The trial has started or reported."""
        self._reasons.pop(trial.config["trial_id"], None)
        self._heard[trial.config["trial_id"]] = (time.monotonic(), trial)

    def ended(self, trial: Any) -> None:
        """The trial runs no more."""
        self._heard.pop(trial.config["trial_id"], None)

    def reason(self, trial_id: str) -> str | None:
        """Why the trial's worker was killed, if it was."""
        return self._reasons.get(trial_id)

    def kill_silent(self) -> list[str]:
        """Kill the workers of trials that were silent too long; returns those trials' ids."""
        now = time.monotonic()
        since_last = now - self._looked
        if since_last < LOOK_SECONDS:
            return []
        self._looked = now
        if since_last > STANDSTILL_SECONDS:
            self._heard = {trial_id: (since + since_last, trial) for trial_id, (since, trial) in self._heard.items()}
        hung = [trial_id for trial_id, (since, _) in self._heard.items() if now - since > self._limits[trial_id]]
        for trial_id in hung:
            since, trial = self._heard[trial_id]
            self._kill(trial)  # first: a trial whose kill fails stays watched
            del self._heard[trial_id]
            self._reasons[trial_id] = (
                f"hung: no sign of life for {now - since:.0f} s, its worker was killed; see --trial-timeout"
            )
        return hung
