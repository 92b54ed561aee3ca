"""The report's tables as files: CSV, and Parquet that carries what each column means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.output.columns import COMPARISON, DESCRIPTIONS
from analysis.published.paper_versus_ours import COLUMNS, TableComparison
from analysis.statistics.intervals import clopper_pearson, mean_intervals
from analysis.tables.cells import CELL, FLAGS
from analysis.tables.measures import WORST, count_of_attacks, robustness
from analysis.tables.merge import Conflict
from analysis.tables.table import QUESTION, StudyTable

FORMULA = re.compile(r"[\s\x00-\x1f]*[=+\-@]|[\t\r]")
"""How a spreadsheet formula can begin: spreadsheets pass over blanks and line breaks before it."""

_COUNTS = ("n_planned", "n_ok", "n_diverged", "n_failed", "n_missing", "n_seeds")
_MEANS = ("weight_norm", "zero_grad_fraction", "saturated_fraction")
_STATES = (*FLAGS, "sound", "overstated", "converged_train", "converged_test", "decidable")


def networks(table: StudyTable) -> pd.DataFrame:
    """One row per trained network, with the scalar columns of its row and lists joined by spaces."""
    joined = {
        column: table.trials[column].map(_joined) for column in ("spaces", "regimes", "minimal_epsilon_quantiles")
    }
    together = {"worst_acc": robustness(table)[WORST].array, "worst_attacks": count_of_attacks(table).array}
    return table.trials.assign(**joined, **together)


def aggregated(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and attack question, with means over seeds, their intervals and the flags.

    `cells`: those of `analysis.tables.cells`. Intervals are Student's t over seeds as in the figures, those of
    `lambda1_*` of the logarithm; NaN with fewer than two seeds. `columns.CELLS` describes each column.
    """
    out = cells[[*CELL, *QUESTION, *_COUNTS]].copy()
    out["seeds"], out["trial_ids"] = cells["seeds"].map(_joined), cells["trial_ids"].map(_joined)
    for name in ("accuracy", "test_acc", "train_loss"):
        out[name], out[f"{name}_low"], out[f"{name}_high"] = mean_intervals(cells[f"{name}_seeds"])
    out["images_low"], out["images_high"] = clopper_pearson(cells["correct"], cells["n"])
    for name in ("lambda1_train", "lambda1_test"):
        logs = mean_intervals(cells[f"log2_{name}_seeds"])
        out[name], out[f"{name}_low"], out[f"{name}_high"] = (2.0**values for values in logs)
    return out.join(cells[[*_MEANS, "correct", "n", *_STATES]])


def comparisons_frame(comparisons: Sequence[TableComparison]) -> pd.DataFrame:
    """All printed tables in one frame: `paper_versus_ours.csv`."""
    parts = [one.cells for one in comparisons]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def conflicts_frame(conflicts: Iterable[Conflict]) -> pd.DataFrame:
    """Where several results folders disagree, one row a trial: `conflicts.csv`."""
    return pd.DataFrame([asdict(one) for one in conflicts], columns=[one.name for one in fields(Conflict)])


def write_tables(frames: Mapping[str, pd.DataFrame], folder: Path) -> list[str]:
    """Write `name.csv` and `name.parquet` for each frame; returns the files' names.

    In CSV a text that a spreadsheet would run as a formula gets an apostrophe before it; Parquet keeps it as it is.
    """
    written = []
    for name, frame in frames.items():
        without_formulas(frame).to_csv(folder / f"{name}.csv", index=False)
        pq.write_table(described(frame, (DESCRIPTIONS | COMPARISON)[name]), folder / f"{name}.parquet")
        written += [f"{name}.csv", f"{name}.parquet"]
    return written


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, with an apostrophe before each text that begins like a formula."""
    texts = [column for column in frame if frame[column].dtype == object or pd.api.types.is_string_dtype(frame[column])]
    return frame.assign(**{str(column): _as_text(frame[column]) for column in texts})


def _as_text(column: pd.Series) -> pd.Series:
    if not any(map(_is_formula, column.unique())):
        return column
    return column.map(lambda value: f"'{value}" if _is_formula(value) else value)


def _is_formula(value: Any) -> bool:
    return isinstance(value, str) and FORMULA.match(value) is not None


def described(frame: pd.DataFrame, descriptions: Mapping[str, str]) -> pa.Table:
    """The frame as an Arrow table; each field's metadata has a `description`."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = []
    for field in table.schema:
        kind = pa.string() if pa.types.is_null(field.type) else field.type
        fields.append(pa.field(field.name, kind, metadata={"description": descriptions[field.name]}))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def _joined(values: Any) -> str:
    return " ".join(map(str, values)) if isinstance(values, list | tuple | np.ndarray) else ""
