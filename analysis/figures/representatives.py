"""Which trained network is drawn for a batch size or for an adversarial training: the one with the smallest seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.tables.lookup import Frame, of_network, of_trials
from analysis.tables.robust_networks import networks
from analysis.tables.table import StudyTable
from analysis.tables.words import network_name
from analysis.theme import SeriesStyle, batch_styles, indexed_style
from study.results.folder import Results
from study.results.packed import is_packed


@dataclass(frozen=True)
class Representative:
    """One trained network that is drawn for all seeds of its cell.

    Attributes:
        style: Its colour and shape, and its name on the page: "batch 64", "M_FGSM".
        row: Its row of the table.
        seeds: How many networks of its cell finished.
    """

    style: SeriesStyle
    row: Mapping[Any, Any]
    seeds: int

    @property
    def label(self) -> str:
        """Its name on the page."""
        return self.style.label

    @property
    def trial_id(self) -> str:
        """The trial whose row and arrays these are."""
        return str(self.row["trial_id"])

    @property
    def cell_id(self) -> str:
        """The cell of the trial."""
        return str(self.row["cell_id"])

    @property
    def where(self) -> str:
        """Data set and model in words."""
        return network_name(str(self.row["dataset"]), str(self.row["model"]))

    @property
    def slug(self) -> str:
        """Data set and model in a file name."""
        return f"{self.row['dataset']}-{self.row['model']}"

    @property
    def note(self) -> str:
        """For captions: which seed it is, and the size of its training set."""
        stopped = self.row["reached_target"] is False or self.row["reached_target"] == 0
        above = " It stopped above the target loss." if stopped else ""
        more = f" of {self.seeds}" if self.seeds > 1 else ", the only one"
        return f"Seed {self.row['seed']}{more}; {int(self.row['train_size']):,} training images.{above}"


Representatives = Callable[[StudyTable, str, str], list[Representative]]
"""(table, data set, model) -> its networks in order."""


def by_batch_size(table: StudyTable, dataset: str, model: str) -> list[Representative]:
    """Networks trained to a loss, one per batch size: the smallest seed of the largest training set."""
    mine = of_network(table, dataset, model)
    mine = mine[(mine["status"] == "ok") & (mine["regime"] == "lr") & mine["target_loss"].notna()]
    mine = mine[mine["train_size"] == mine["train_size"].max()].sort_values(["batch_size", "epochs", "seed"])
    found, styles = [], batch_styles(mine["batch_size"].astype(int))
    for size, cells in mine.groupby("batch_size"):
        cells = cells[cells["epochs"] == cells["epochs"].max()]
        found.append(Representative(styles[int(str(size))], cells.iloc[0].to_dict(), len(cells)))
    return found


def by_training(table: StudyTable, dataset: str, model: str) -> list[Representative]:
    """M_ORI and the networks trained adversarially from it, the smallest seed of each."""
    found: dict[str, Representative] = {}
    for network in networks(table):
        finished = [run for run in network.runs.values() if run["status"] == "ok"]
        if (network.dataset, network.model) == (dataset, model) and finished and network.name not in found:
            found[network.name] = Representative(indexed_style(network.name, len(found)), finished[0], len(finished))
    return list(found.values())


def arrays(table: StudyTable, network: Representative) -> Mapping[str, Any]:
    """The arrays stored beside the network's row; none for rows held in memory or packed."""
    found: dict[str, Any] = {}
    for location in reversed(table.sources.get(network.trial_id, table.locations)):
        if not is_packed(location):
            found |= Results(location).read_arrays(network.trial_id)
    return found


SPECTRUM = ("split", "subset_size", "draw", "eigenvalues", "residuals", "converged", "converged_each")
LANDSCAPE = ("kind", "split", "subset_size", "hessian_size", "offsets", "losses")
"""The columns of the spectra and of the landscapes that figures read."""


def entries(table: StudyTable, frame: Frame, network: Representative, columns: Sequence[str]) -> list[dict[Any, Any]]:
    """These columns of the spectra or landscapes of one network, each entry once."""
    mine = of_trials(table, frame, network.trial_id, columns=("regime", *columns))
    if mine.empty:
        return []
    once: list[dict[Any, Any]] = mine[mine["regime"] == mine["regime"].iloc[0]].to_dict("records")
    return once
