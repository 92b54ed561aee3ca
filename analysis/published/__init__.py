"""What the papers print: `published.csv`, and the rank statistics that follow from it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

_TABLE = Path(__file__).with_name("published.csv")


def published() -> pd.DataFrame:
    """Every number printed in the tables of Yao et al. 2018 (arXiv:1802.08241) and of Choudhary (2020).

    One row a number: `table` (Yao-T1, Yao-T2, Yao-T3, Yao-T4, Yao-T7, Choudhary-T2), `model`, `dataset`,
    `variant` (the row's label), `batch_size`, `split`, `metric`, `eps` (pixels in [0, 1]), `value` (as
    printed, in `unit`), `value_std` (accuracies in percent), `note` (suspected misprints, readings of the
    caption).
    """
    return _read().copy()


@cache
def _read() -> pd.DataFrame:
    return pd.read_csv(_TABLE)
