"""From trial rows to statistics, verdicts on the papers' claims, figures and the report.

`load` opens a results folder; docs/python_api.md shows what it offers.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true: `import analysis` itself loads no library, not even typing
if TYPE_CHECKING:
    from pathlib import Path

    from analysis.notebook import Study

__all__ = ["load"]


def load(location: str | Path, grid: str | Path | None = None) -> Study:
    """The study in a results folder or at a URI, whole or half-finished.

    `grid` is the study file that made the results, if one did; it is executed, for what it planned and claims.

    Raises:
        RecordsError: there are no results at `location`.
        GridError: the study file cannot be executed.
    """
    from analysis.notebook import Study

    return Study(location, grid)
