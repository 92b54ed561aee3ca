"""The papers' studies as data: trials, probes, spaces, and the grids a user can name."""

from __future__ import annotations

from search_spaces.grid import Grid, Planned, build, merge
from search_spaces.natural_training import NATURAL_TRAINING
from search_spaces.probe import HEADLINE_EPSILON, AttackProbe, Probe, SpectrumProbe
from search_spaces.request import GridError, Request
from search_spaces.smoke import SMOKE
from search_spaces.space import Space
from search_spaces.trial import TRIAL_FIELDS, Trial

GRIDS: dict[str, tuple[Space, ...]] = {
    "smoke": (SMOKE,),
    "natural_training": (NATURAL_TRAINING,),
    "full": (NATURAL_TRAINING,),
}
"""Grid name -> the spaces it merges. A new paper is one space file and one line here; `full` holds every paper."""


def plan(request: Request) -> Grid:
    """The work that a request names.

    Raises:
        GridError: an unknown grid, or a choice that the grid does not offer.
    """
    if request.grid not in GRIDS:
        raise GridError(f"unknown grid {request.grid!r}; valid grids: {', '.join(GRIDS)}")
    return build(request, GRIDS[request.grid])


__all__ = [
    "GRIDS",
    "HEADLINE_EPSILON",
    "TRIAL_FIELDS",
    "AttackProbe",
    "Grid",
    "GridError",
    "Planned",
    "Probe",
    "Request",
    "Space",
    "SpectrumProbe",
    "Trial",
    "merge",
    "plan",
]
