"""The grids that requests name, each worked out once however many parts of a report ask."""

from __future__ import annotations

import json

from search_spaces import Grid, Request, plan

_PLANNED: dict[str, Grid] = {}


def planned(request: Request) -> Grid:
    """As `search_spaces.plan`; the grid is shared and not to be changed.

    Raises:
        GridError: an unknown grid, or a choice that the grid does not offer.
    """
    key = json.dumps(request.to_dict(), sort_keys=True)
    if key not in _PLANNED:
        _PLANNED[key] = plan(request)
    return _PLANNED[key]
