"""What the papers print: `published.csv`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

_TABLE = Path(__file__).with_name("published.csv")


@cache
def published() -> pd.DataFrame:
    """Every number printed in the tables of Yao et al. 2018 (arXiv:1802.08241) and of Choudhary (2020).

    One row a number: `table` (Yao-T1, Yao-T2, Yao-T3, Yao-T4, Yao-T7, Choudhary-T2), `model`, `dataset`,
    `variant` (the row's label), `batch_size`, `split`, `metric`, `eps` (pixels in [0, 1]), `value` (as
    printed, in `unit`), `value_std` (accuracies in percent), `rounding` (half a unit of the last digit that its
    column prints, in the unit of `value_std`), `note` (suspected misprints, readings of the caption). It is read once:
    copy it before you change it.
    """
    rows = pd.read_csv(_TABLE, dtype={"value": str})
    digits = rows["value"].str.partition(".")[2].str.len()
    column = [rows[name] for name in ("table", "model", "split", "metric")]
    printed = digits.groupby(column).transform("max")  # the file drops trailing zeros
    scale = rows["unit"].map({"fraction": 100.0}).fillna(1.0)
    return rows.assign(value=rows["value"].astype(float), rounding=0.5 * scale * 10.0**-printed)
