"""The figures of the study, and the papers' figures by number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from analysis.figures import FIGURES, Figure, FigureGroup, Panel
from analysis.figures.curve_sets import Setup
from analysis.figures.figure import styles_of
from analysis.figures.large_batch import LANDSCAPES, LandscapePanel
from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.claims import CITED
from analysis.output.page.templates import Section
from analysis.tables.words import name, network_name
from analysis.theme import optimizer_style

Context = dict[str, Any]


def study_section(findings: Findings, charts: Charts) -> Section:
    """Accuracy and lambda1 against batch size for whatever was run."""
    groups = [_group(found, charts) for found in findings.groups]
    return Section("figures", "Figures", "Accuracy and curvature against batch size", {"groups": groups})


def _group(found: FigureGroup, charts: Charts) -> Context:
    return {
        "title": f"{found.setup.title}{_unusual(found.setup)}: {found.curves.title[0].lower()}{found.curves.title[1:]}",
        "protocol": found.setup.protocol,
        "folded": found.curves.by != "regime",
        "charts": group(
            charts,
            found.figures,
            [figure.title.split(": ", 1)[-1].removeprefix("accuracy under ") for figure in found.figures],
            lines=True,
            epsilon=found.epsilon,
        ),
    }


def _unusual(setup: Setup) -> str:
    """What distinguishes the groups of one data set and model: " · SVRG, weight decay 0.01"."""
    unusual = [] if setup["optimizer"] == "sgd" else [optimizer_style(setup["optimizer"]).label]
    unusual += [f"weight decay {setup['weight_decay']:g}"] if setup["weight_decay"] else []
    if setup["adversarial_training"] != "none":
        unusual.append(f"{name(setup['adversarial_training'])} training at ε = {setup['adversarial_epsilon']:g}")
    return f" · {', '.join(unusual)}" if unusual else ""


def paper_section(findings: Findings, charts: Charts) -> Section:
    """Every panel of the papers: drawn if its cells were run, else the command that runs them."""
    sources = {panel.source for panel in FIGURES.values()}
    papers = [_paper(source, paper, findings, charts) for source, paper in CITED.items() if source in sources]
    drawn = [paper for paper in papers if paper["groups"]]
    absent = [panel for paper in papers for panel in paper["absent"]]
    counts = [f"{len(paper['absent'])} of {paper['panels']} of {paper['paper']}" for paper in papers if paper["absent"]]
    context = {"papers": drawn, "absent": absent, "not_run": f"Panels not run: {', '.join(counts)}"}
    return Section("papers", "The papers' figures", "The papers' figures, by number", context, absent=not drawn)


def _paper(source: str, paper: str, findings: Findings, charts: Charts) -> Context:
    panels = [panel for panel in FIGURES.values() if panel.source == source]
    drawn = [panel for panel in panels if findings.panels[panel.id]]
    partial = sum(any(figure.missing for figure in findings.panels[panel.id]) for panel in drawn)
    incomplete = f", {'all' if partial == len(drawn) else f'{partial} of them'} incomplete" if partial else ""
    return {
        "id": f"paper-{source}",
        "paper": paper,
        "panels": len(panels),
        "title": f"{paper}: {len(drawn)} of {len(panels)} panels drawn{incomplete}",
        "groups": [
            _same_curves(list(same), findings, charts) for _, same in groupby(drawn, key=lambda p: p.curves.styles)
        ],
        "absent": [_absent(panel, findings) for panel in panels if panel not in drawn],
    }


def _same_curves(panels: list[Panel], findings: Findings, charts: Charts) -> Context:
    """Panels that share a legend; `about` tells of the panel of each of its charts."""
    shown = [(panel, n, figure) for panel in panels for n, figure in enumerate(findings.panels[panel.id])]
    curves = panels[0].curves
    about = [
        {
            "id": f"panel-{panel.id}" if n == 0 else None,
            "note": panel.note if n == 0 else "",
            "missing": figure.missing if n == 0 else "",
            "commands": _commands(panel, findings),
        }
        for panel, n, figure in shown
    ]
    drawn = group(
        charts,
        [figure for _, _, figure in shown],
        [
            f"Figure {panel.number}: {figure.title.replace(': accuracy under', ',').replace(': ', ', ')}"
            for panel, _, figure in shown
        ],
        lines=curves.by != "configuration",
    )
    return {"charts": drawn, "about": about}


def _commands(panel: Panel, findings: Findings) -> list[str]:
    """Into the study's own folder if the panel's grid was asked for there; else into the grid's usual one."""
    table = findings.table
    return panel.commands(table.location if any(one.grid in (panel.grid, "full") for one in table.requests) else "")


def _absent(panel: Panel, findings: Findings) -> Context:
    return {
        "id": f"panel-{panel.id}",
        "title": f"Figure {panel.number}. {panel.title}.",
        "note": panel.note,
        "commands": _commands(panel, findings),
    }


LANDSCAPES_TITLE = "Landscapes and spectra"


def landscape_section(findings: Findings, charts: Charts) -> Section | None:
    """The figures of Yao et al. (2018) that can be drawn, and the commands of the others; None if none can."""
    drawn = [panel for panel in LANDSCAPES.values() if findings.landscapes[panel.id]]
    if not drawn:
        return None
    context = {
        "panels": [_landscapes(panel, findings.landscapes[panel.id], charts) for panel in drawn],
        "absent": [
            {
                "id": f"panel-{panel.id}",
                "title": f"Figure {panel.number}. {panel.title}.",
                "note": "",
                "commands": [panel.command(network) for network in panel.networks],
            }
            for panel in LANDSCAPES.values()
            if panel not in drawn
        ],
    }
    return Section("landscapes", LANDSCAPES_TITLE, LANDSCAPES_TITLE, context)


def _landscapes(panel: LandscapePanel, figures: Sequence[Figure], charts: Charts) -> Context:
    several = len(panel.networks) > 1
    return {
        "id": f"panel-{panel.id}",
        "title": f"Figure {panel.number}. {panel.title}",
        "note": panel.note,
        "charts": group(
            charts,
            figures,
            [figure.title if several else figure.title.split(": ", 1)[-1] for figure in figures],
            columns="two" if len(figures) in (1, 2, 4) or not styles_of(figures) else "",
        ),
        "absent": [
            {"title": network_name(*network), "command": panel.command(network)}
            for network in panel.networks
            if not any(figure.title.startswith(f"{network_name(*network)}:") for figure in figures)
        ],
    }
