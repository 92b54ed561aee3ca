"""The section on sharpness: curvature while training, and the density of the Hessian's eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.figures.figure import styles_of
from analysis.figures.sharpness import Track
from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.templates import Section

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
        "densities": group(charts, densities, headings, styles=styles_of(densities)) if densities else None,
    }
    return Section("sharpness", "Sharpness", "Sharpness while training, and the Hessian's spectrum", context)


def _track(track: Track, charts: Charts) -> dict[str, Any]:
    headings = [figure.title.removeprefix(f"{track.title}: ") for figure in track.figures]
    drawn = group(charts, track.figures, headings, styles=styles_of(track.figures), columns="two")
    return {"title": track.title, "said": said(track), "charts": drawn}


def said(track: Track) -> str:
    """Where the networks ended, and how many of them are near the edge of stability."""
    ends = track.ends[np.isfinite(track.ends)]
    if not ends.size:
        return "No eigenvalue at the end is finite."
    near = int((ends >= NEAR * track.edge).sum())
    return (
        f"At the end of training the rate times λ₁ is {np.median(ends):.2g} in the median of {ends.size} networks "
        f"({ends.min():.2g} to {ends.max():.2g}); the edge of stability is {track.edge:g}. "
        f"{near or 'None'} of {ends.size} {'is' if near == 1 else 'are'} within a fifth of the edge or beyond it."
    )
