"""The page as one HTML document: sections, style, charts and scripts, with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import vl_convert
from markupsafe import Markup

from analysis import theme
from analysis.findings import Findings
from analysis.output.conclusion import conclude
from analysis.output.export import VEGA_LITE
from analysis.output.page.charts import Charts, cells_block
from analysis.output.page.claims import claim_section
from analysis.output.page.correlations import correlation_section
from analysis.output.page.counterexamples import counterexample_section
from analysis.output.page.figures import landscape_section, paper_section, study_section
from analysis.output.page.header import header
from analysis.output.page.measures import measure_section
from analysis.output.page.missing import missing_section
from analysis.output.page.optimizers import optimizer_section
from analysis.output.page.provenance import downloads_section, provenance_section
from analysis.output.page.published import published_section
from analysis.output.page.robustness import robustness_section
from analysis.output.page.sharpness import sharpness_section
from analysis.output.page.templates import Section, rendered

SCRIPTS = ("charts", "tips", "highlight", "controls", "tables", "sections")
"""The page's own scripts, in the order in which they need each other."""


STYLES = ("page", "charts", "header", "claims", "tables", "print")
"""The page's style sheets, in the order in which they overrule each other."""


def render(findings: Findings, downloads: Sequence[str]) -> str:
    """The whole page; `downloads` are the files written beside it."""
    charts = Charts()
    top = header(findings, charts)
    sections = _sections(findings, downloads, charts)
    scripts = [_libraries(), _script()]
    page = rendered(
        "page.html",
        {
            "title": f"Report: {findings.table.where}",
            "policy": _policy(scripts),
            "style": Markup(theme.style_sheet() + "".join(_asset(f"{name}.css") for name in STYLES)),
            "header": rendered("header.html", top),
            "sections": sections,
            "data": charts.data(cells_block(findings.table)),
            "scripts": [Markup(script) for script in scripts],
        },
    )
    return str(page)


def _sections(findings: Findings, downloads: Sequence[str], charts: Charts) -> list[Section]:
    """The sections in their order. Where no claim is decided, what the results do show comes before the claims."""
    claims, found = claim_section(findings), conclude(findings.verdicts)
    published = published_section(findings.comparisons)
    figures = study_section(findings, charts)
    ordered = [
        *([claims, figures] if found.decided else [figures, published, claims]),
        robustness_section(findings, charts),
        measure_section(findings, charts),
        correlation_section(findings, charts),
        counterexample_section(findings, charts),
        optimizer_section(findings),
        paper_section(findings, charts),
        landscape_section(findings, charts),
        sharpness_section(findings, charts),
        published if found.decided else None,
        missing_section(findings.table),
        provenance_section(findings),
        downloads_section(downloads),
    ]
    return [section for section in ordered if section is not None]


def _policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy: only these scripts run and nothing is fetched. Vega needs unsafe-eval."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"


@cache
def _libraries() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))


def _script() -> str:
    """The page's scripts as one function, so that their names are not global."""
    body = "\n".join(_asset(f"scripts/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _asset(file: str) -> str:
    return (files("analysis.output.page") / file).read_text(encoding="utf-8")
