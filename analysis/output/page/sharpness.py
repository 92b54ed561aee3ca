"""The section on sharpness: curvature while training, and the density of the Hessian's eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures.sharpness import Track
from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.templates import Section
from analysis.theme import number

NEAR = 0.8
"""Share of the edge of stability from which a network counts as near it. Our choice."""


def sharpness_section(findings: Findings, charts: Charts) -> Section | None:
    """The charts of networks that were tracked while they trained, and of densities; None without either."""
    densities = findings.densities
    if not findings.tracks and not densities:
        return None
    headings = [figure.title.rpartition(": ")[0] for figure in densities]
    context = {
        "tracks": [_track(track, charts) for track in findings.tracks],
        "densities": group(charts, densities, headings) if densities else None,
    }
    return Section("sharpness", "Sharpness", "Sharpness while training, and the Hessian's spectrum", context)


def _track(track: Track, charts: Charts) -> dict[str, Any]:
    headings = [figure.title.removeprefix(f"{track.title}: ") for figure in track.figures]
    drawn = group(charts, track.figures, headings, columns="two")
    return {"title": track.title, "said": said(track), "charts": drawn}


def said(track: Track) -> str:
    """Where the networks ended and what they reached, and how many came near the edge of stability."""
    finite = np.isfinite(track.ends) & np.isfinite(track.peaks)
    ends, peaks = track.ends[finite], track.peaks[finite]
    if not ends.size:
        return "No eigenvalue is finite."
    near = int((peaks >= NEAR * track.edge).sum())
    return (
        f"At the end of training the rate times λ₁ is {_spread(ends)} of {ends.size} networks, and the largest while "
        f"they trained {_spread(peaks)}. {near or 'None'} of {ends.size} came within a fifth of the edge of stability, "
        f"{track.edge:g}, or beyond it."
    )


def _spread(values: NDArray[np.float64]) -> str:
    low, middle, high = (number(float(value), 2) for value in np.quantile(values, (0, 0.5, 1)))
    return f"{middle} in the median ({low} to {high})"
