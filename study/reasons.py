"""Why something failed, in one line for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle


def first_line(error: BaseException) -> str:
    """What an error says first, or that of the error it came from: Tune's own wrapper says nothing."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return first_line(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def last_error(trial: Any) -> BaseException | None:
    """What a Tune trial's worker raised last, if that is known.

    From the driver's own file: the trial's `get_error` reads a copy, which Tune makes only later.
    """
    file = Path(trial.pickled_error_file or "")
    if not file.is_file():
        return None
    error: BaseException = cloudpickle.loads(file.read_bytes())
    return error


def why_lost(trial: Any) -> str:
    """The last line of a trial's error, where Python names it."""
    try:
        error = str(last_error(trial) or "")
    except Exception:  # it does not unpickle here, or a test's trial has no file
        error = ""
    lines = [line for line in error.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
