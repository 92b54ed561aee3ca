"""The report page: one HTML file that needs nothing but itself."""

from __future__ import annotations

from analysis.output.page.document import render

__all__ = ["render"]
