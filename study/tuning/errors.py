"""Why something failed, in one line for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def first_line(error: BaseException) -> str:
    """What an error says first, or that of the error it came from: Tune's own wrapper says nothing."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return first_line(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def last_error(trial: Any) -> str:
    """What a Tune trial's worker raised last, as text with its traceback; empty if that is not known.

    From the driver's own file, to which Tune adds every failure: the trial's `get_error` reads a copy, made only later.
    """
    file = Path(getattr(trial, "error_file", None) or "")
    return file.read_text().rpartition("Failure # ")[2] if file.is_file() else ""


def why_lost(trial: Any) -> str:
    """The last line of a trial's error, where Python names it."""
    lines = [line for line in last_error(trial).splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
