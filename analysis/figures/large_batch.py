"""Figures 1 to 13 of Yao et al. 2018 (arXiv:1802.08241, source "C"): spectra and loss landscapes of our networks.

Transcribed from the captions: number, data set, model and what is drawn. M1 comes in both readings, as a stride-2
network (Table 6) and as a LeNet with pooling (section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from analysis.figures.figure import Figure
from analysis.figures.landscapes import line_figures, plane_figures
from analysis.figures.representatives import Representatives, by_batch_size, by_training, heading
from analysis.figures.spectra import spectrum_figure
from analysis.tables.table import StudyTable
from search_spaces.large_batch import SUBSET

Draw = Callable[[StudyTable, str, str], list[Figure]]

Place = tuple[str, str]
"""Data set and model."""

M1: tuple[Place, ...] = (("mnist", "m1"), ("mnist", "m1_lenet"))
C1: tuple[Place, ...] = (("cifar10", "c1"),)
C2: tuple[Place, ...] = (("cifar10", "c2"),)
C3: tuple[Place, ...] = (("cifar10", "c3"),)

NATURAL_REGIMES, ROBUST_REGIMES = "lr", "benchmark,adversarial"


@dataclass(frozen=True)
class LandscapePanel:
    """One figure of the paper; called with a table it draws itself from the rows and the arrays beside them."""

    number: str
    what: str
    places: tuple[Place, ...]
    draw: Draw
    regimes: str
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `C-2`."""
        return f"C-{self.number}"

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        return f"{', '.join(heading(*place) for place in self.places)}: {self.what}"

    def command(self, place: Place) -> str:
        """The command that runs the networks of one data set and model."""
        dataset, model = place
        return f"python -m study.run --grid large_batch --select dataset={dataset} model={model} regime={self.regimes}"

    def __call__(self, table: StudyTable) -> list[Figure]:
        """Its figures, in the order of its places; none where nothing of it was run."""
        found = [figure for place in self.places for figure in self.draw(table, *place)]
        return [replace(figure, name=f"{self.id}-{figure.name}") for figure in found]


def _along_v1(representatives: Representatives) -> Draw:
    return partial(line_figures, representatives=representatives, kind="line")


def _spectra(representatives: Representatives, *samples: tuple[int, int]) -> Draw:
    """`samples`: (images, draw), 0 images for the whole training set."""

    def draw(table: StudyTable, dataset: str, model: str) -> list[Figure]:
        figures = [
            spectrum_figure(table, dataset, model, representatives, size=size, draw=number) for size, number in samples
        ]
        return [figure for figure in figures if figure is not None]

    return draw


ROBUST_SAMPLES = ((1, 0), (1, 1), (SUBSET, 0), (0, 0))
"""Figures 5 and 11: two single samples, 320 images, and all of them."""

BY_BATCH = _spectra(by_batch_size, (0, 0))
BY_TRAINING = _spectra(by_training, *ROBUST_SAMPLES)
PLANES: Draw = partial(plane_figures, representatives=by_batch_size)
BETWEEN: Draw = partial(line_figures, representatives=by_training, kind="interpolation")

_BATCH, _ROBUST = NATURAL_REGIMES, ROBUST_REGIMES
_SPECTRUM, _LINE, _PLANE = "top 20 eigenvalues", "loss along v₁", "loss over v₁ and v₂"
_ROBUST_SPECTRUM = "top 20 eigenvalues of robust networks, B_H = 1 (two draws), 320 and all"
_ROBUST_LINE = "loss of robust networks along v₁, B_H = 320"
_BETWEEN = "loss from M_ORI to the robust networks"

_SURFACES = "The paper draws surfaces over each other; heat maps side by side here."
_SADDLE = "The caption says that M_ORI converged to a saddle point on MNIST, section 3.3 that the top 20 are positive."

_PANELS = (
    LandscapePanel("1", f"{_SPECTRUM} by batch size", C1 + M1, BY_BATCH, _BATCH),
    LandscapePanel("2", _LINE, C1, _along_v1(by_batch_size), _BATCH),
    LandscapePanel("3", _PLANE, C1, PLANES, _BATCH, _SURFACES),
    LandscapePanel("4", _BETWEEN, C3, BETWEEN, _ROBUST),
    LandscapePanel("5", _ROBUST_SPECTRUM, C3, BY_TRAINING, _ROBUST),
    LandscapePanel("6", _LINE, M1, _along_v1(by_batch_size), _BATCH),
    LandscapePanel("7", _PLANE, M1, PLANES, _BATCH, _SURFACES),
    LandscapePanel("8", _LINE, C2, _along_v1(by_batch_size), _BATCH),
    LandscapePanel("9", _PLANE, C2, PLANES, _BATCH, _SURFACES),
    LandscapePanel("10", _BETWEEN, M1, BETWEEN, _ROBUST),
    LandscapePanel("11", _ROBUST_SPECTRUM, M1, BY_TRAINING, _ROBUST, _SADDLE),
    LandscapePanel("12", _ROBUST_LINE, M1, _along_v1(by_training), _ROBUST),
    LandscapePanel("13", _ROBUST_LINE, C3, _along_v1(by_training), _ROBUST),
)

LANDSCAPES: dict[str, LandscapePanel] = {panel.id: panel for panel in _PANELS}
"""Id -> panel, callable with a table, in the paper's order."""
