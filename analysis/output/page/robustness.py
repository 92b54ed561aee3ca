"""The section on robustness beyond one epsilon: all attacks together, auto-PGD, and smallest perturbations."""

from __future__ import annotations

from typing import Any

from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.templates import Section
from analysis.tables.cells import cells
from analysis.tables.measures import AUTO, robustness
from analysis.tables.table import CURVE, StudyTable

Context = dict[str, Any]


def robustness_section(findings: Findings, charts: Charts) -> Section | None:
    """Curves over epsilon, and where auto-PGD beats PGD; None if none of them was asked."""
    table = findings.table
    if not robustness(table)[["apgd", "minimal_epsilon_area"]].notna().any(axis=None):
        return None
    curves = findings.curves
    titles = [one.title.replace("robust accuracy over ε, ", "") for one in curves]
    context = {
        "curves": group(charts, curves, titles) if curves else None,
        "beaten": _beaten(table),
    }
    return Section("robustness", "Robustness", "Robustness beyond one attack and one ε", context)


def _beaten(table: StudyTable) -> Context | None:
    """In how many cells auto-PGD beats PGD by over a point, of those in which both were asked."""
    found = cells(table)
    both = [*CURVE, "batch_size", "split", "epsilon"]
    auto = found[found["attack"].isin(AUTO) & (found["n_seeds"] > 0)][both].drop_duplicates()
    published = found[(found["attack"] == "pgd") & (found["loss"] == "ce") & (found["n_seeds"] > 0)]
    asked = published.merge(auto, on=both)
    return {"count": int(asked["overstated"].sum()), "of": len(asked)} if len(asked) else None
