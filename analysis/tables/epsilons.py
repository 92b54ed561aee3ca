"""The headline epsilon of a data set, model and protocol: where claims are judged and figures drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.groups import group_codes
from analysis.tables.table import ALIKE, StudyTable
from search_spaces import HEADLINE_ATTACKS, HEADLINE_EPSILON


def headline_epsilons(table: StudyTable, frame: pd.DataFrame) -> pd.Series:
    """The headline epsilon of each row of a frame with the columns `ALIKE`; NaN for a data set without one.

    It is the epsilon at which most networks met FGSM or PGD; of several, the papers' (`HEADLINE_EPSILON`), else the
    largest. Networks that met neither count by their other attacks; without any attack it is the papers'.
    """
    found = table.once("headline epsilons", lambda: _most_met(table))
    codes, values = _distinct(frame)
    return pd.Series(
        np.array([found.get(value, _papers(value[0])) for value in values], dtype=float)[codes], frame.index
    )


def at_headline(table: StudyTable, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame with the columns `ALIKE` and `epsilon` at the headline epsilon."""
    return frame[np.isclose(frame["epsilon"].astype(float), headline_epsilons(table, frame))]


def _most_met(table: StudyTable) -> dict[tuple[Any, ...], float]:
    attacks = table.attacks[table.attacks["split"] == "test"]
    attacks = attacks[[*ALIKE, "trial_id", "attack", "norm", "epsilon"]].drop_duplicates()
    codes, values = _distinct(attacks)
    # FGSM and PGD before other attacks, and these before attacks in the l2 ball, whose epsilons have another unit
    rank = np.where(attacks["attack"].isin(HEADLINE_ATTACKS), 2, np.where(attacks["norm"] == "l2", 0, 1))
    met = pd.DataFrame({"code": codes, "rank": rank, "epsilon": attacks["epsilon"].to_numpy(dtype=float)})
    counts = met.assign(networks=attacks["trial_id"].to_numpy()).groupby(["code", "rank", "epsilon"])["networks"]
    each = counts.nunique().reset_index()
    papers = np.array([_papers(value[0]) for value in values], dtype=float)
    each["papers"] = np.isclose(each["epsilon"], papers[each["code"]] if len(papers) else np.nan)
    last = each.sort_values(["rank", "networks", "papers", "epsilon"]).drop_duplicates("code", keep="last")
    return {values[code]: epsilon for code, epsilon in zip(last["code"], last["epsilon"], strict=True)}


def _papers(dataset: Any) -> float:
    return HEADLINE_EPSILON.get(str(dataset), np.nan)


def _distinct(frame: pd.DataFrame) -> tuple[Any, list[tuple[Any, ...]]]:
    """The code of each row's values of `ALIKE`, and these values by code, None for a missing one."""
    codes = group_codes(frame, ALIKE)
    _, first = np.unique(codes, return_index=True)
    rows = frame[list(ALIKE)].iloc[first].astype(object)
    return codes, [
        tuple(None if pd.isna(one) else one for one in row) for row in rows.itertuples(index=False, name=None)
    ]
