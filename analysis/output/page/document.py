"""The page as one HTML document: sections, style, charts and scripts, with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from analysis import theme
from analysis.findings import Findings
from analysis.output.page.charts import Charts, cells_block
from analysis.output.page.claims import claim_section
from analysis.output.page.correlations import correlation_section
from analysis.output.page.counterexamples import counterexample_section, paper_counterexample_section
from analysis.output.page.figures import landscape_section, paper_section, study_section
from analysis.output.page.header import header_section
from analysis.output.page.html import Html, element
from analysis.output.page.libraries import libraries
from analysis.output.page.missing import missing_section
from analysis.output.page.optimizers import optimizer_section
from analysis.output.page.provenance import downloads_section, provenance_section
from analysis.output.page.published import published_section

PARTS = {
    "claims": "Claims",
    "figures": "Figures",
    "correlations": "Correlations",
    "counterexamples": "Counterexamples",
    "exception": "The paper's own counterexample",
    "optimizers": "Optimizers",
    "papers": "The papers' figures",
    "landscapes": "Landscapes and spectra",
    "published": "Paper versus ours",
    "missing": "Missing cells",
    "provenance": "Provenance",
    "downloads": "Downloads",
}

SCRIPTS = ("charts", "tips", "highlight", "controls", "tables", "sections")
"""The page's own scripts, in the order in which they need each other."""


def render(findings: Findings, downloads: Sequence[str]) -> str:
    """The whole page; `downloads` are the files written beside it."""
    charts = Charts()
    optimizers = optimizer_section(findings.table, charts)
    own_counterexample = paper_counterexample_section(findings, charts)
    absent = {
        "exception": not own_counterexample,
        "optimizers": not optimizers,
        "landscapes": not any(findings.landscapes.values()),
    }
    parts = {part: text for part, text in PARTS.items() if not absent.get(part)}
    body = element(
        "main",
        header_section(findings),
        element(
            "nav",
            element("ul", [element("li", element("a", text, href=f"#{part}")) for part, text in parts.items()]),
            aria_label="Sections",
        ),
        claim_section(findings),
        study_section(findings, charts),
        correlation_section(findings, charts),
        counterexample_section(findings, charts),
        own_counterexample,
        optimizers,
        paper_section(findings, charts),
        landscape_section(findings, charts),
        published_section(findings.comparisons),
        missing_section(findings.table),
        provenance_section(findings),
        downloads_section(downloads),
    )
    scripts = [libraries(), _script()]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"Report: {findings.table.location}"),
        element("style", Html(theme.style_sheet() + _asset("page.css"))),
    )
    run = [element("script", Html(script)) for script in scripts]
    data = charts.data(cells_block(findings.table))
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body, data, *run), lang='en')}\n"


def _policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy: only these scripts run and nothing is fetched. Vega needs unsafe-eval."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"


def _script() -> str:
    """The page's scripts as one function, so that their names are not global."""
    body = "\n".join(_asset(f"scripts/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _asset(file: str) -> str:
    return (files("analysis.output.page") / file).read_text(encoding="utf-8")
