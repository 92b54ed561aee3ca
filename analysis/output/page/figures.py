"""The figures of the study, and the papers' figures by number."""

from __future__ import annotations

import re
from itertools import groupby

from analysis.figures import FIGURES, Figure, FigureGroup, Panel, VariantPanel
from analysis.figures.curve_sets import Setup
from analysis.findings import Findings
from analysis.output.page.charts import Charts, epsilon_picker, group
from analysis.output.page.html import Html, element, section
from analysis.tables.words import name
from analysis.theme import OPTIMIZERS

PAPERS = {
    "A": "Role of SGD Hyperparameters in Adversarial Robustness (2020)",
    "A-workshop": "Its workshop form (2019)",
    "B": "Analyzing the implicit adversarial robustness of networks trained using SGD (Choudhary 2020)",
}


def study_section(findings: Findings, charts: Charts) -> Html:
    """Accuracy and lambda1 against batch size for whatever was run."""
    groups = findings.groups
    if not groups:
        body = element("p", "Nothing to draw: no network has finished training and been attacked.")
        return section("figures", "Accuracy and curvature against batch size", body)
    intro = element(
        "p",
        "Top row: the loss that the papers attacked. Bottom row: the same networks under the stable loss. "
        "λ₁ is the top eigenvalue of the loss Hessian.",
        class_="note",
    )
    return section(
        "figures", "Accuracy and curvature against batch size", intro, [_study(found, charts) for found in groups]
    )


def _study(found: FigureGroup, charts: Charts) -> Html:
    body = group(
        [charts.figure(figure, _heading(figure.title, found.epsilons)) for figure in found.figures],
        found.figures[0].legend,
        lines=True,
        figures=found.figures,
        pickers=[epsilon_picker(found.epsilons, found.epsilon)],
    )
    swept = found.curves.title.lower() if found.curves.by == "regime" else found.curves.title
    title = f"{found.setup.title}{_trained_by(found.setup)}: {swept}"
    protocol = element("p", f"{found.setup.protocol}.", class_="note")
    if found.curves.by == "regime":
        return element("div", element("h3", title), protocol, body)
    return element("details", element("summary", title), protocol, body)


def _trained_by(setup: Setup) -> str:
    """What tells a study's groups apart beside data set and model: " · SVRG, weight decay 0.01"."""
    unusual = [OPTIMIZERS[setup["optimizer"]].label if setup["optimizer"] in OPTIMIZERS else setup["optimizer"]]
    unusual = unusual if setup["optimizer"] != "sgd" else []
    unusual += [f"weight decay {setup['weight_decay']:g}"] if setup["weight_decay"] else []
    if setup["adversarial_training"] != "none":
        unusual.append(f"{name(setup['adversarial_training'])} training at ε = {setup['adversarial_epsilon']:g}")
    return f" · {', '.join(unusual)}" if unusual else ""


def _heading(title: str, epsilons: tuple[float, ...]) -> str:
    what = title.split(": ", 1)[-1].removeprefix("accuracy under ")
    return re.sub(r" at ε = [^,]*", "", what) if len(epsilons) > 1 else what


def paper_section(findings: Findings, charts: Charts) -> Html | None:
    """Every panel of the papers: drawn if its cells were run, else the command that runs them."""
    if not any(findings.panels.values()):
        return section(
            "papers",
            "The papers' figures, by number",
            element("p", f"None of the {len(FIGURES)} panels can be drawn: their data sets and models were not run."),
            [_absent(PAPERS[s], [p for p in FIGURES.values() if p.source == s], findings) for s in PAPERS],
        )
    parts = [_paper(source, title, findings, charts) for source, title in PAPERS.items()]
    return section("papers", "The papers' figures, by number", parts)


def _paper(source: str, title: str, findings: Findings, charts: Charts) -> Html:
    panels = [panel for panel in FIGURES.values() if panel.source == source]
    drawn = [panel for panel in panels if findings.panels[panel.id]]
    blocks = [
        _same_curves(list(same), findings, charts) for _, same in groupby(drawn, key=lambda panel: panel.curves.styles)
    ]
    return element(
        "details",
        element("summary", f"{title}: {len(drawn)} of {len(panels)} panels drawn{_in_part(drawn, findings)}"),
        *blocks,
        _absent(f"{len(panels) - len(drawn)} panels not run", [p for p in panels if p not in drawn], findings),
        id=f"paper-{source}",
    )


def _same_curves(panels: list[Panel | VariantPanel], findings: Findings, charts: Charts) -> Html:
    figures = []
    for panel in panels:
        for n, figure in enumerate(findings.panels[panel.id]):
            heading = f"Figure {panel.number}: {_short(figure.title)}"
            place = charts.figure(figure, heading)
            note = element("p", panel.note, class_="note") if panel.note and n == 0 else None
            rest = _rest(panel, figure, findings.table.location)
            figures.append(element("div", place, note, rest, id=f"panel-{panel.id}" if n == 0 else None))
    lines = isinstance(panels[0], Panel)  # a variant panel has one kind of line
    return group(figures, panels[0].curves.styles, lines=lines)


def _short(title: str) -> str:
    return title.replace(": accuracy under", ",").replace(": ", ", ")


def _in_part(drawn: list[Panel | VariantPanel], findings: Findings) -> str:
    partial = sum(any(figure.missing for figure in findings.panels[panel.id]) for panel in drawn)
    return f", {partial} of them in part" if partial else ""


def _rest(panel: Panel | VariantPanel, figure: Figure, results: str) -> Html | None:
    """What of a panel was not run, and how to run it."""
    if not figure.missing:
        return None
    summary = element("summary", f"In part. Not run: {figure.missing}")
    return element("details", summary, commands(panel, results), class_="note")


def commands(panel: Panel | VariantPanel, results: str) -> Html:
    """The commands that run a panel's cells."""
    return element("pre", element("code", "\n".join(panel.commands(results))))


def _absent(title: str, panels: list[Panel | VariantPanel], findings: Findings) -> Html | None:
    if not panels:
        return None
    items = [
        element(
            "li",
            f"Figure {p.number}. {p.title}. ",
            p.note,
            commands(p, findings.table.location),
            id=f"panel-{p.id}",
        )
        for p in panels
    ]
    return element("details", element("summary", title), element("ul", items, class_="panels"))
