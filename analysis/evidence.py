"""A results folder with what several claims derive from it, each computed once."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from analysis.cells import cells
from analysis.counterexamples import CounterexampleReport, counterexample_report
from analysis.table import StudyTable


class Evidence:
    """`table` with its cells and its counterexample report."""

    def __init__(self, table: StudyTable) -> None:
        self.table = table

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`analysis.cells.cells` of the table."""
        return cells(self.table)

    @cached_property
    def counterexamples(self) -> CounterexampleReport:
        """The counterexample report of the whole table: its false discovery rate is that of one family."""
        return counterexample_report(self.table)
