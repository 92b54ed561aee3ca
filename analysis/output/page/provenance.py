"""Where the results come from, and the files beside the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from analysis.findings import Findings
from analysis.output.page.templates import Section
from analysis.tables.table import versions


def provenance_section(findings: Findings) -> Section:
    """Commands, versions, commits, devices, data and time."""
    trials = findings.table.trials
    facts = {
        "Packages": ", ".join(f"{package} {' / '.join(found)}" for package, found in versions(trials).items()),
        "Code": ", ".join(f"commit {sha}" for sha in _values(trials, "git_sha")),
        "Device": ", ".join(_values(trials, "device")),
        "Number type": ", ".join(_values(trials, "dtype")),
        "Deterministic": ", ".join("yes" if flag else "no" for flag in trials["deterministic"].dropna().unique()),
        "Data (SHA-256)": ", ".join(_data_sets(trials)),
        "Trained": _span(trials),
        "Report": f"{findings.made_at:%Y-%m-%d %H:%M} UTC",
        "Time": _time(trials),
    }
    context = {
        "locations": findings.table.locations,
        "commands": findings.table.commands,
        "plans": [_plan(plan) for plan in findings.table.plans],
        "facts": {term: fact for term, fact in facts.items() if fact},
    }
    return Section("provenance", "Provenance", "Provenance", context)


def downloads_section(files: Sequence[str]) -> Section:
    """Links to the files written beside the page, a line for each table."""
    tables: dict[str, list[str]] = {}
    for file in files:
        tables.setdefault(PurePosixPath(file).stem, []).append(file)
    return Section("downloads", "Downloads", "Downloads", {"tables": tables})


def _values(trials: pd.DataFrame, column: str) -> list[str]:
    return sorted(str(value) for value in trials[column].dropna().unique())


def _plan(plan: Mapping[str, Any]) -> str:
    """A plan of `--until-decided` as it was stored before the first network that it planned."""
    stored = f"stored {plan.get('stored')}, SHA-256 {plan.get('sha256')}"
    content = (f"{name} {json.dumps(value)}" for name, value in plan.items() if name not in ("stored", "sha256"))
    return f"{stored}: {'; '.join(content)}"


def _data_sets(trials: pd.DataFrame) -> list[str]:
    pairs = trials[["dataset", "dataset_sha256"]].dropna().drop_duplicates()
    return [f"{dataset} {digest[:16]}…" for dataset, digest in sorted(pairs.itertuples(index=False, name=None))]


def _span(trials: pd.DataFrame) -> str:
    started, finished = trials["started_at"].dropna(), trials["finished_at"].dropna()
    if started.empty or finished.empty:
        return ""
    return f"{pd.Timestamp(started.min()):%Y-%m-%d %H:%M} to {pd.Timestamp(finished.max()):%Y-%m-%d %H:%M} UTC"


def _time(trials: pd.DataFrame) -> str:
    training, probing = trials["train_seconds"].sum(), trials["probe_seconds"].sum()
    return f"{_hours(training)} of training, {_hours(probing)} of attacks and eigenvalues" if training else ""


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"
