"""From trial rows to statistics, verdicts on the papers' claims, figures and the report.

`load` opens a results folder; docs/python_api.md shows what it offers.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true: `import analysis` itself loads no library, not even typing
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from analysis.notebook import Study

__all__ = ["load"]


def load(location: str | Path | Iterable[str | Path], grid: str | Path | None = None) -> Study:
    """The study in a results folder or at a URI, whole or half-finished; several of them are united by trial.

    Where folders disagree about a trial the one that is named first counts, and `Study.conflicts` lists it.

    `grid` is the study file that made the results, if one did; it is executed, for what it planned and claims.

    Raises:
        RecordsError: there are no results at a location, or it is named twice.
        GridError: the study file cannot be executed.
    """
    from pathlib import PurePath

    from analysis.notebook import Study

    locations = [location] if isinstance(location, str | PurePath) else location
    return Study(*locations, grid=grid)
