"""What a grid still asks: probes asked minus probes answered, trial by trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from search_spaces import AttackProbe, Grid, Planned, Probe, SpectrumProbe
from study.schema import Row

COLUMNS = ("trial_id", "status", "status_reason", "attacks", "spectra", "train_seconds", "probe_seconds")
"""The columns of a row that planning reads."""


def answered(row: Row) -> frozenset[tuple[object, ...]]:
    """The keys of the probes that a row holds an answer to, whatever the answer."""
    return frozenset(probe.key for probe in answered_probes(row))


def answered_probes(row: Row) -> frozenset[Probe]:
    """The probes that a row holds an answer to, whatever the answer."""
    attacks = (AttackProbe(a["attack"], a["epsilon"], a["loss"], a["split"]) for a in row["attacks"] or ())
    spectra = (SpectrumProbe(s["split"], s["subset_size"], len(s["eigenvalues"])) for s in row["spectra"] or ())
    return frozenset((*attacks, *spectra))


def pending(grid: Grid, rows: Iterable[Row]) -> list[Planned]:
    """The trials that still need work, each with its unanswered probes only.

    A failed trial is asked again from the start; a diverged one has answered all there is to ask.
    """
    by_id = {row["trial_id"]: row for row in rows}
    work = []
    for trial_id, planned in grid.items():
        row = by_id.get(trial_id)
        if row is None or row["status"] not in ("ok", "diverged"):
            work.append(planned)
        elif row["status"] == "ok":
            known = answered(row)
            unanswered = frozenset(probe for probe in planned.probes if probe.key not in known)
            if unanswered:
                work.append(replace(planned, probes=unanswered))
    return work
