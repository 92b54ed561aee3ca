"""The figures of the study, and the papers' figures by number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from analysis.figures import FIGURES, Figure, FigureGroup, Panel
from analysis.figures.curve_sets import Setup
from analysis.figures.figure import styles_of
from analysis.figures.large_batch import LANDSCAPES, LandscapePanel, Network
from analysis.figures.representatives import heading
from analysis.findings import Findings
from analysis.output.page.charts import Charts, epsilon_picker, group
from analysis.output.page.html import Html, code_block, details, element, note, section
from analysis.tables.words import name
from analysis.theme import optimizer_style

PAPERS = {
    "A": "Role of SGD Hyperparameters in Adversarial Robustness (2020)",
    "A-workshop": "Its workshop form (2019)",
    "B": "Analyzing the implicit adversarial robustness of networks trained using SGD (Choudhary 2020)",
}


def study_section(findings: Findings, charts: Charts) -> Html:
    """Accuracy and lambda1 against batch size for whatever was run."""
    title = "Accuracy and curvature against batch size"
    if not findings.groups:
        text = "Nothing to draw: no network has finished training and been attacked."
        return section("figures", title, element("p", text))
    intro = note("λ₁ is the top eigenvalue of the loss Hessian. The papers attacked the published loss.")
    return section("figures", title, intro, [_group(found, charts) for found in findings.groups])


def _group(found: FigureGroup, charts: Charts) -> Html:
    body = group(
        [charts.figure(figure, _heading(figure.title, found.epsilons)) for figure in found.figures],
        found.figures[0].legend,
        lines=True,
        figures=found.figures,
        pickers=[epsilon_picker(found.epsilons, found.epsilon)],
    )
    where = f"{found.setup.title}{_unusual(found.setup)}"
    protocol = note(f"{found.setup.protocol}.")
    if found.curves.by == "regime":
        return element("div", element("h3", f"{where}: {found.curves.title.lower()}"), protocol, body)
    return details(f"{where}: {found.curves.title}", protocol, body)


def _unusual(setup: Setup) -> str:
    """What distinguishes the groups of one data set and model: " · SVRG, weight decay 0.01"."""
    unusual = [] if setup["optimizer"] == "sgd" else [optimizer_style(setup["optimizer"]).label]
    unusual += [f"weight decay {setup['weight_decay']:g}"] if setup["weight_decay"] else []
    if setup["adversarial_training"] != "none":
        unusual.append(f"{name(setup['adversarial_training'])} training at ε = {setup['adversarial_epsilon']:g}")
    return f" · {', '.join(unusual)}" if unusual else ""


def _heading(title: str, epsilons: tuple[float, ...]) -> str:
    what = title.split(": ", 1)[-1].removeprefix("accuracy under ")
    return re.sub(r" at ε = [^,]*", "", what) if len(epsilons) > 1 else what


def paper_section(findings: Findings, charts: Charts) -> Html | None:
    """Every panel of the papers: drawn if its cells were run, else the command that runs them."""
    if any(findings.panels.values()):
        parts = [_paper(source, title, findings, charts) for source, title in PAPERS.items()]
    else:
        text = f"None of the {len(FIGURES)} panels can be drawn: their data sets and models were not run."
        lists = [_absent(title, _panels(source), findings) for source, title in PAPERS.items()]
        parts = [element("p", text), *(part for part in lists if part)]
    return section("papers", "The papers' figures, by number", parts)


def _panels(source: str) -> list[Panel]:
    return [panel for panel in FIGURES.values() if panel.source == source]


def _paper(source: str, title: str, findings: Findings, charts: Charts) -> Html:
    panels = _panels(source)
    drawn = [panel for panel in panels if findings.panels[panel.id]]
    partial = sum(any(figure.missing for figure in findings.panels[panel.id]) for panel in drawn)
    in_part = f", {partial} of them in part" if partial else ""
    by_curves = groupby(drawn, key=lambda panel: panel.curves.styles)
    return details(
        f"{title}: {len(drawn)} of {len(panels)} panels drawn{in_part}",
        [_same_curves(list(same), findings, charts) for _, same in by_curves],
        _absent(f"{len(panels) - len(drawn)} panels not run", [p for p in panels if p not in drawn], findings),
        id=f"paper-{source}",
    )


def _same_curves(panels: list[Panel], findings: Findings, charts: Charts) -> Html:
    """Panels that share a legend."""
    figures = []
    for panel in panels:
        for n, figure in enumerate(findings.panels[panel.id]):
            title = figure.title.replace(": accuracy under", ",").replace(": ", ", ")
            place = charts.figure(figure, f"Figure {panel.number}: {title}")
            remark = note(panel.note) if panel.note and n == 0 else None
            missing = f"In part. Not run: {figure.missing}"
            rest = details(missing, commands(panel, findings.table.location), class_="note") if figure.missing else None
            figures.append(element("div", place, remark, rest, id=f"panel-{panel.id}" if n == 0 else None))
    curves = panels[0].curves
    return group(figures, curves.styles, lines=curves.by != "configuration")


def commands(panel: Panel, results: str) -> Html:
    """The commands that run a panel's cells."""
    return code_block("\n".join(panel.commands(results)))


def _absent(title: str, panels: list[Panel], findings: Findings) -> Html | None:
    """The panels that were not run, with their commands; None if there are none."""
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
    return details(title, element("ul", items, class_="panels")) if items else None


LANDSCAPES_TITLE = "Landscapes and spectra"


def landscape_section(findings: Findings, charts: Charts) -> Html | None:
    """The figures of Yao et al. (2018) that can be drawn, and the commands of the others; None if none can."""
    drawn = [panel for panel in LANDSCAPES.values() if findings.landscapes[panel.id]]
    if not drawn:
        return None
    absent = [
        element(
            "li",
            f"Figure {panel.number}. {panel.title}. ",
            [element("code", panel.command(network)) for network in panel.networks],
            id=f"panel-{panel.id}",
        )
        for panel in LANDSCAPES.values()
        if panel not in drawn
    ]
    return section(
        "landscapes",
        LANDSCAPES_TITLE,
        note(
            "Figures 1 to 13 of Yao et al. (2018). Each shows single trained networks; the captions name their seeds. "
            "Eigenvalues keep their sign."
        ),
        [_landscapes(panel, findings.landscapes[panel.id], charts, opened=n == 0) for n, panel in enumerate(drawn)],
        details(f"{len(absent)} figures not run", element("ul", absent, class_="panels")) if absent else None,
    )


def _landscapes(panel: LandscapePanel, figures: Sequence[Figure], charts: Charts, *, opened: bool) -> Html:
    styles = styles_of(figures)
    several = len(panel.networks) > 1
    places = [charts.figure(figure, figure.title if several else figure.title.split(": ", 1)[-1]) for figure in figures]
    return details(
        f"Figure {panel.number}. {panel.title}",
        note(panel.note) if panel.note else None,
        group(places, styles, columns="two" if len(places) in (1, 2, 4) or not styles else ""),
        [
            note(f"{heading(*network)}: not run. ", element("code", panel.command(network)))
            for network in panel.networks
            if not _has(figures, network)
        ],
        id=f"panel-{panel.id}",
        open=opened,
    )


def _has(figures: Sequence[Figure], network: Network) -> bool:
    return any(figure.title.startswith(f"{heading(*network)}:") for figure in figures)
