"""Rows before anything is measured: a planned trial's identity and configuration."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from search_spaces import Planned
from study.results import provenance
from study.results.schema import SCHEMA_VERSION, Row, empty_row


def new_row(planned: Planned) -> Row:
    """A row with the trial's identity and configuration, and nothing measured yet."""
    trial = planned.trial
    return empty_row() | {
        "schema_version": SCHEMA_VERSION,
        "trial_id": trial.trial_id,
        "cell_id": trial.cell_id,
        "spaces": list(planned.spaces),
        "regimes": list(planned.regimes),
        **trial.to_dict(),
        "lr_bs_ratio": trial.lr_bs_ratio,
        "git_sha": provenance.git_sha(),
        "versions": provenance.versions(),
        "started_at": datetime.now(UTC),
    }


def failed_row(planned: Planned, reason: str) -> Row:
    """The row of a trial that could not be run; the next run tries it again."""
    return new_row(planned) | {"status": "failed", "status_reason": reason.splitlines()[0][:500]}


def relabel(row: Row, planned: Planned) -> None:
    """Add the plan's spaces and regimes to those of the row."""
    row["spaces"], row["regimes"] = union(row["spaces"], planned.spaces), union(row["regimes"], planned.regimes)


def union(known: Iterable[str] | None, new: Iterable[str]) -> list[str]:
    """The labels of both, sorted, each once."""
    return sorted({*(known or ()), *new})
