"""The specifications in a page's data block, put together as the page's script does."""

from __future__ import annotations

import json
import re
from typing import Any


def charts(page: str) -> dict[str, Any]:
    """Key -> the chart's Vega-Lite specification with its data sets."""
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    block = json.loads(found.group(1))
    return {key: _specification(chart, block) for key, chart in block["charts"].items()}


def _specification(chart: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    datasets = {
        name: [dict(zip(run["fields"], row, strict=True)) for run in block["data"][key] for row in run["rows"]]
        for name, key in chart["data"].items()
    }
    return dict(block["templates"][chart["template"]]) | {"datasets": datasets}
