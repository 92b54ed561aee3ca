"""Rows in groups: a code for each group, and the pairs within them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Codes = NDArray[np.intp]


def group_codes(df: pd.DataFrame, keys: Sequence[str]) -> Codes:
    """A code 0..G-1 per row, equal where all `keys` are equal; NaN equals NaN. No keys: one group."""
    if not keys:
        return np.zeros(len(df), dtype=np.intp)
    codes = df.groupby(list(keys), dropna=False, sort=False).ngroup()
    return np.asarray(codes, dtype=np.intp)


def pairs_within(groups: Codes) -> tuple[Codes, Codes]:
    """Indices (i, j) of every unordered pair of elements that share a group code."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    left, right = [], []
    for lag in range(1, ordered.size):
        same = ordered[lag:] == ordered[:-lag]
        if not same.any():
            break
        left.append(order[:-lag][same])
        right.append(order[lag:][same])
    none = np.empty(0, dtype=np.intp)
    return (np.concatenate(left), np.concatenate(right)) if left else (none, none)
