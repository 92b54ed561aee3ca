"""What a worker runs in place of a group, to see what the study makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import new_row
from study.results.schema import Row
from study.trials.device_data import DeviceData


def cannot_be_one(leader: Planned, data: DeviceData, results: Results, **options: Any) -> Row:
    raise RuntimeError("vmap: this model branches on its data (planted)")


def all_diverge(
    leader: Planned, data: DeviceData, results: Results, *, groups: Mapping[str, Sequence[Planned]], **options: Any
) -> Row:
    for planned in groups[leader.trial.trial_id]:
        results.write_row(new_row(planned) | {"status": "diverged", "status_reason": "planted"})
    return results.read_row(leader.trial.trial_id) or {}
