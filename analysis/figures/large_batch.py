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
from analysis.figures.representatives import Representative, Representatives, by_batch_size, by_training
from analysis.figures.spectra import spectrum_figure
from analysis.reports.commands import run_command
from analysis.tables.table import StudyTable
from analysis.tables.words import network_name
from search_spaces.large_batch import SUBSET

Network = tuple[str, str]
"""Data set and model."""

M1: tuple[Network, ...] = (("mnist", "m1"), ("mnist", "m1_lenet"))
C1: tuple[Network, ...] = (("cifar10", "c1"),)
C2: tuple[Network, ...] = (("cifar10", "c2"),)
C3: tuple[Network, ...] = (("cifar10", "c3"),)

REGIMES: dict[Representatives, str] = {by_batch_size: "lr", by_training: "benchmark,adversarial"}
"""The regimes under which the networks of a figure were trained."""


@dataclass(frozen=True)
class LandscapePanel:
    """One figure of the paper. Called with a table it returns its figures, from the rows and the stored arrays.

    `draw` makes the figures of some trained networks; `representatives` chooses these for a data set and model.
    """

    number: str
    what: str
    networks: tuple[Network, ...]
    representatives: Representatives
    draw: Callable[[StudyTable, list[Representative]], list[Figure]]
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `C-2`."""
        return f"C-{self.number}"

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        return f"{', '.join(network_name(*network) for network in self.networks)}: {self.what}"

    def command(self, network: Network) -> str:
        """The command that trains one data set and model."""
        dataset, model = network
        select = {"dataset": dataset, "model": model, "regime": REGIMES[self.representatives]}
        return run_command("large_batch", select)

    def __call__(self, table: StudyTable) -> list[Figure]:
        """Its figures, network by network; empty if nothing of it was run."""
        chosen = [self.representatives(table, *network) for network in self.networks]
        found = [figure for networks in chosen for figure in self.draw(table, networks)]
        return [replace(figure, name=f"{self.id}-{figure.name}") for figure in found]


def _spectra(*samples: tuple[int, int]) -> Callable[[StudyTable, list[Representative]], list[Figure]]:
    """A figure per sample (images, draw); 0 images stand for the whole training set."""

    def draw(table: StudyTable, networks: list[Representative]) -> list[Figure]:
        figures = [spectrum_figure(table, networks, size=size, draw=number) for size, number in samples]
        return [figure for figure in figures if figure is not None]

    return draw


WHOLE = _spectra((0, 0))
SAMPLES = _spectra((1, 0), (1, 1), (SUBSET, 0), (0, 0))
"""B_H of Figures 5 and 11: two single samples, 320 images, and all of them."""
ALONG_V1 = partial(line_figures, kind="line")
BETWEEN = partial(line_figures, kind="interpolation")

_SPECTRUM, _LINE, _PLANE = "top 20 eigenvalues", "loss along v₁", "loss over v₁ and v₂"
_ROBUST_SPECTRUM = "top 20 eigenvalues of robust networks, B_H = 1 (two draws), 320 and all"
_ROBUST_LINE = "loss of robust networks along v₁, B_H = 320"
_BETWEEN = "loss from M_ORI to the robust networks"

_SURFACES = "The paper draws surfaces over each other; here they are heat maps side by side."
_SADDLE = "The caption says that M_ORI converged to a saddle point on MNIST, section 3.3 that the top 20 are positive."

_PANELS = (
    LandscapePanel("1", f"{_SPECTRUM} by batch size", C1 + M1, by_batch_size, WHOLE),
    LandscapePanel("2", _LINE, C1, by_batch_size, ALONG_V1),
    LandscapePanel("3", _PLANE, C1, by_batch_size, plane_figures, _SURFACES),
    LandscapePanel("4", _BETWEEN, C3, by_training, BETWEEN),
    LandscapePanel("5", _ROBUST_SPECTRUM, C3, by_training, SAMPLES),
    LandscapePanel("6", _LINE, M1, by_batch_size, ALONG_V1),
    LandscapePanel("7", _PLANE, M1, by_batch_size, plane_figures, _SURFACES),
    LandscapePanel("8", _LINE, C2, by_batch_size, ALONG_V1),
    LandscapePanel("9", _PLANE, C2, by_batch_size, plane_figures, _SURFACES),
    LandscapePanel("10", _BETWEEN, M1, by_training, BETWEEN),
    LandscapePanel("11", _ROBUST_SPECTRUM, M1, by_training, SAMPLES, _SADDLE),
    LandscapePanel("12", _ROBUST_LINE, M1, by_training, ALONG_V1),
    LandscapePanel("13", _ROBUST_LINE, C3, by_training, ALONG_V1),
)

LANDSCAPES: dict[str, LandscapePanel] = {panel.id: panel for panel in _PANELS}
"""Id -> panel, callable with a table, in the paper's order."""
