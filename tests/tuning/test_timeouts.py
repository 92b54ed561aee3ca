"""A trial that is silent for too long is hung: its worker is killed, restarted a few times, then given up."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from study.tuning import timeouts
from study.tuning.timeouts import Watch, silence_limit


@dataclass
class Trial:
    """Of Tune, as far as the watch looks at it."""

    name: str
    config: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.config = {"trial_id": self.name}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timeouts, "time", made)
    return made


def watch(killed: list[Any], **limits: float) -> Watch:
    return Watch(limits, kill=killed.append)


def test_the_limit_is_generous_and_can_be_given() -> None:
    assert silence_limit(1.0, None) == 600.0
    assert silence_limit(3600.0, None) == 20 * 3600.0
    assert silence_limit(3600.0, 5.0) == 5.0


def test_only_the_silent_trial_is_killed_and_once(clock: Clock) -> None:
    killed: list[Any] = []
    silent, busy, ended = Trial("silent"), Trial("busy"), Trial("ended")
    seen = watch(killed, silent=10.0, busy=10.0, ended=10.0)
    for trial in (silent, busy, ended):
        seen.heard(trial)
    clock.now = 9.0
    assert seen.kill_silent() == []
    seen.heard(busy)
    seen.ended(ended)
    clock.now = 12.0
    assert seen.kill_silent() == ["silent"]
    clock.now = 14.0
    assert seen.kill_silent() == []
    assert killed == [silent]
    assert seen.reason("silent") == "hung: no sign of life for 12 s, its worker was killed; see --trial-timeout"
    assert seen.reason("busy") is None


def test_a_restarted_trial_has_its_whole_time_again_and_no_old_reason(clock: Clock) -> None:
    killed: list[Any] = []
    trial = Trial("one")
    seen = watch(killed, one=10.0)
    seen.heard(trial)
    clock.now = 20.0
    assert seen.kill_silent() == ["one"]
    seen.heard(trial)
    clock.now = 29.0
    assert seen.kill_silent() == []
    assert seen.reason("one") is None
    clock.now = 31.0
    assert seen.kill_silent() == ["one"]
    assert killed == [trial, trial]


def test_what_the_driver_itself_slept_through_is_no_silence(clock: Clock) -> None:
    killed: list[Any] = []
    seen = watch(killed, one=10.0)
    seen.heard(Trial("one"))
    clock.now = 3600.0
    assert seen.kill_silent() == []
    clock.now = 3609.0
    assert seen.kill_silent() == []
    clock.now = 3611.0
    assert seen.kill_silent() == ["one"]
