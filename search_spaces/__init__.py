"""The papers' studies as data: trials, probes, spaces, and the grids a user can name."""

from __future__ import annotations

from search_spaces.grid import Grid, Planned, build, merge
from search_spaces.large_batch import LARGE_BATCH
from search_spaces.measures import MEASURES
from search_spaces.mnist_quick import MNIST_QUICK
from search_spaces.natural_training import NATURAL_TRAINING
from search_spaces.outside import STUDY_FILES, is_file
from search_spaces.probe import (
    HEADLINE_ATTACKS,
    HEADLINE_EPSILON,
    PGD_STEPS,
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Probe,
    SharpnessProbe,
    SpectrumProbe,
    headline_epsilon,
)
from search_spaces.regimes import REGIME_NAMES, REGIME_RULES
from search_spaces.request import GridError, Request, did_you_mean
from search_spaces.sgd_variants import SGD_VARIANTS
from search_spaces.smoke import SMOKE
from search_spaces.space import Space
from search_spaces.trial import PLAIN, PRECISIONS, TRIAL_FIELDS, Trial, fields_with_role

GRIDS: dict[str, tuple[Space, ...]] = {
    "smoke": (SMOKE,),
    "mnist_quick": (MNIST_QUICK,),
    "natural_training": (NATURAL_TRAINING,),
    "large_batch": (LARGE_BATCH,),
    "sgd_variants": (SGD_VARIANTS,),
    "full": (NATURAL_TRAINING, LARGE_BATCH, SGD_VARIANTS),
}
"""Grid name -> the spaces it merges. A new paper is one space file and one line here; `full` holds every paper."""


def plan(request: Request) -> Grid:
    """The work that a request names.

    Raises:
        GridError: an unknown grid, or a choice that the grid does not offer.
    """
    if request.grid in STUDY_FILES:
        return build(request, STUDY_FILES[request.grid].SPACES)
    if is_file(request.grid):
        raise GridError(f"the study file {request.grid} is not loaded")
    if request.grid not in GRIDS:
        close = did_you_mean(request.grid, GRIDS)
        raise GridError(f"unknown grid {request.grid!r}; valid grids: {', '.join(GRIDS)}, or a study file{close}")
    return build(request, GRIDS[request.grid])


__all__ = [
    "GRIDS",
    "HEADLINE_ATTACKS",
    "HEADLINE_EPSILON",
    "MEASURES",
    "PGD_STEPS",
    "PLAIN",
    "PRECISIONS",
    "REGIME_NAMES",
    "REGIME_RULES",
    "TRIAL_FIELDS",
    "AttackProbe",
    "Grid",
    "GridError",
    "InputCurvatureProbe",
    "InputHessianProbe",
    "LandscapeProbe",
    "MinimalEpsilonProbe",
    "Planned",
    "Probe",
    "Request",
    "SharpnessProbe",
    "Space",
    "SpectrumProbe",
    "Trial",
    "did_you_mean",
    "fields_with_role",
    "headline_epsilon",
    "merge",
    "plan",
]
