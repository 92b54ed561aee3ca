"""The networks of Yao et al. 2018, section 3.3: M_ORI and the networks that adversarial training makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.tables.lookup import Frame, of_trials
from analysis.tables.table import StudyTable
from analysis.tables.words import departs
from search_spaces import GRIDS, Trial
from search_spaces.large_batch import ADVERSARIAL_EPSILON

ORIGINAL = "none"
"""The `adversarial_training` of M_ORI."""

_SETTINGS = (
    "epochs", "train_size", "val_size", "test_size", "batch_size", "learning_rate", "momentum", "schedule",
    "adversarial_epsilon",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """One cell of section 3.3: M_ORI, or the network that one adversarial training makes of it.

    Attributes:
        runs: trial rows by seed.
        parents: the rows of their M_ORI by seed; for M_ORI itself the same rows.
        protocol: in words, whether it is the paper's and how it differs.
        closeness: 0 with the paper's protocol, 1 with another.
    """

    dataset: str
    model: str
    method: str
    runs: Mapping[int, Mapping[Any, Any]]
    parents: Mapping[int, Mapping[Any, Any]]
    protocol: str
    closeness: int

    @property
    def name(self) -> str:
        """As the paper writes it: M_ORI, M_FGSM, ..."""
        return printed_name(self.method)

    @property
    def family(self) -> tuple[object, ...]:
        """How it was trained, and from which M_ORI: what two children must share to be compared."""
        run, parent = (next(iter(of.values()), {}) for of in (self.runs, self.parents))
        return (self.dataset, self.model, parent.get("cell_id"), *(run.get(name) for name in _SETTINGS))


def printed_name(method: str) -> str:
    """The paper's name of the network that this adversarial training makes."""
    return "M_ORI" if method == ORIGINAL else f"M_{method.upper()}"


def section_3_3() -> tuple[Trial, ...]:
    """The paper's own cells (seed 0), originals first."""
    cells = [cell for space in GRIDS["large_batch"] for cell in space.cells]
    return tuple(sorted((c for c in cells if c.target_loss is None), key=lambda c: c.generation))


def networks(table: StudyTable) -> list[Network]:
    """The networks of section 3.3 in the paper's order, then those of other sizes; those not run have no `runs`.

    A network of other sizes stands in for the paper's only where none of its model has the paper's protocol.
    """
    return table.once("networks", lambda: _networks(table))


def _networks(table: StudyTable) -> list[Network]:
    paper = section_3_3()
    places = {(t.dataset, t.model) for t in paper}
    rows = table.trials[table.trials["status"].isin(("ok", "diverged"))]
    here = [(d, m) in places for d, m in zip(rows["dataset"], rows["model"], strict=True)]
    rows = rows[np.array(here, dtype=bool) & rows["target_loss"].isna() & (rows["optimizer"] == "sgd")]
    records = {str(row["trial_id"]): row for row in rows.to_dict("records")}
    children = [row for row in records.values() if row["adversarial_training"] != ORIGINAL and row["parent"]]
    parents = {str(row["parent"]) for row in children}
    own = {trial.cell_id for trial in paper}
    originals = [
        row for row in records.values()
        if row["adversarial_training"] == ORIGINAL and (row["trial_id"] in parents or row["cell_id"] in own)
    ]  # fmt: skip
    cells: dict[str, list[dict[Any, Any]]] = {}
    for row in (*originals, *children):
        cells.setdefault(str(row["cell_id"]), []).append(row)
    found = [_network(members, records, paper) for members in cells.values()]
    begun = {(n.dataset, n.model) for n in found if not n.closeness}  # there all of the paper's networks are needed
    run = {(n.dataset, n.model, n.method) for n in found if not n.closeness or (n.dataset, n.model) not in begun}
    missing = [t for t in paper if (t.dataset, t.model, t.adversarial_training) not in run]
    found += [Network(t.dataset, t.model, t.adversarial_training, {}, {}, "", 0) for t in missing]
    by_model = sorted(paper, key=lambda t: (t.dataset, t.model))
    order = {(t.dataset, t.model, t.adversarial_training): k for k, t in enumerate(by_model)}
    return sorted(found, key=lambda n: (order.get((n.dataset, n.model, n.method), len(order)), n.closeness, n.protocol))


def _network(members: list[dict[Any, Any]], records: Mapping[str, dict[Any, Any]], paper: tuple[Trial, ...]) -> Network:
    first = members[0]
    method = str(first["adversarial_training"])
    runs = {int(row["seed"]): row for row in sorted(members, key=lambda row: int(row["seed"]))}
    parents = runs
    if method != ORIGINAL:
        stored = {seed: records.get(str(row["parent"])) for seed, row in runs.items()}
        parents = {seed: row for seed, row in stored.items() if row is not None}
    place = (str(first["dataset"]), str(first["model"]), method)
    own = next((t for t in paper if (t.dataset, t.model, t.adversarial_training) == place), None)
    deviations = list(_deviations(first, parents, own))
    differs = f"not the paper's protocol: {', '.join(deviations)}"
    same = f"the paper's protocol: {first['epochs']:,} epochs, {first['train_size']:,} training images"
    protocol = f"{differs}; {len(runs)} seeds" if deviations else f"{same}, {len(runs)} seeds"
    return Network(*place, runs, parents, protocol, 1 if deviations else 0)


def _deviations(row: Mapping[Any, Any], parents: Mapping[int, Mapping[Any, Any]], own: Trial | None) -> Iterator[str]:
    if own is None:
        yield "not one of its networks"
        return
    yield from departs(row, own.to_dict(), _SETTINGS)
    parent = next(iter(parents.values()), None)
    if own.parent is not None and parent is not None and parent["epochs"] != own.parent.epochs:
        yield f"M_ORI trained for {parent['epochs']:,} instead of {own.parent.epochs:,} epochs"


def answers(table: StudyTable, frame: Frame, *, loss: str | None) -> dict[tuple[str, str], dict[Any, Any]]:
    """(trial id, attack) -> the attack's record on the test set, of the trials of `networks` and their parents.

    At the epsilon of section 3.3; where that was not asked, at the largest.
    """
    return table.once(f"answers of robust networks, {frame}, {loss}", lambda: _answers(table, frame, loss))


_ANSWER = ("trial_id", "dataset", "attack", "loss", "split", "epsilon", "correct", "n", "zero_grad_fraction")


def _answers(table: StudyTable, frame: Frame, loss: str | None) -> dict[tuple[str, str], dict[Any, Any]]:
    runs = (run for network in networks(table) for of in (network.runs, network.parents) for run in of.values())
    found = of_trials(table, frame, *dict.fromkeys(str(run["trial_id"]) for run in runs), columns=_ANSWER)
    asked = found[(found["loss"] == loss) & (found["split"] == "test")]
    asked = asked.drop_duplicates(["trial_id", "attack", "epsilon"])
    epsilon = asked["epsilon"].astype(float)
    rank = epsilon.where(~np.isclose(epsilon, asked["dataset"].map(ADVERSARIAL_EPSILON)), np.inf)
    asked = asked[rank == rank.groupby([asked["trial_id"], asked["attack"]]).transform("max")]
    return {(str(row["trial_id"]), str(row["attack"])): row for row in asked.to_dict("records")}
