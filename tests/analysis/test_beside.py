"""Work beside this process: its answer, its errors and its end are those of the same work done here."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from analysis import beside as module
from analysis.beside import beside

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies processes safely")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_second_core", lambda: True)


def test_it_is_done_by_another_process() -> None:
    with beside(os.getpid, apart=True) as answer:
        assert answer() != os.getpid()


def test_it_is_done_here_if_not_apart_or_without_a_second_core(monkeypatch: pytest.MonkeyPatch) -> None:
    with beside(os.getpid, apart=False) as answer:
        assert answer() == os.getpid()
    monkeypatch.setattr(module, "_has_second_core", lambda: False)
    with beside(os.getpid, apart=True) as answer:
        assert answer() == os.getpid()


def test_an_answer_larger_than_a_pipe_arrives() -> None:
    with beside(lambda: bytes(10_000_000), apart=True) as answer:
        assert answer() == bytes(10_000_000)


def test_its_error_is_raised_where_the_answer_is_asked_for() -> None:
    def fails() -> NoReturn:
        raise ValueError("no such number")

    with beside(fails, apart=True) as answer, pytest.raises(ValueError, match="no such number"):
        answer()


def dies(here: int) -> str:
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done here"


def lambda_(here: int) -> Callable[[], str] | str:
    return "done here" if os.getpid() == here else lambda: "cannot be handed back"


@pytest.mark.parametrize("work", [dies, lambda_])
def test_without_an_answer_the_work_is_done_here(work: Callable[[int], str]) -> None:
    here = os.getpid()
    with beside(lambda: work(here), apart=True) as answer:
        assert answer() == "done here"


def test_an_error_here_ends_it(tmp_path: Path) -> None:
    def slow() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)

    with pytest.raises(KeyboardInterrupt), beside(slow, apart=True):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
