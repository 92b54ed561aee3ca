"""Why something failed, in one line for people."""

from __future__ import annotations

from typing import Any


def first_line(error: BaseException) -> str:
    """What an error says first, or that of the error it came from: Tune's own wrapper says nothing."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return first_line(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def why_lost(trial: Any) -> str:
    """The last line of a trial's error, where Python names it."""
    error = getattr(trial, "get_error", lambda: None)()
    lines = [line for line in str(error or "its worker was lost").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
