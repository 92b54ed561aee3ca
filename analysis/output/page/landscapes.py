"""Landscapes and spectra: the figures of Yao et al. 2018, drawn from the arrays beside the rows."""

from __future__ import annotations

from analysis.figures import Figure
from analysis.figures.large_batch import LANDSCAPES, LandscapePanel, Place
from analysis.figures.plane import styles_of
from analysis.figures.representatives import heading
from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.html import Html, element, section

TITLE = "Landscapes and spectra"


def landscape_section(findings: Findings, charts: Charts) -> Html | None:
    """Every figure of the paper of which something was run, and the commands of the others; None without any."""
    drawn = [panel for panel in LANDSCAPES.values() if findings.landscapes[panel.id]]
    if not drawn:
        return None
    absent = [panel for panel in LANDSCAPES.values() if panel not in drawn]
    intro = element(
        "p",
        "Figures 1 to 13 of Yao et al. (2018). Each is of single trained networks: their captions name the seed. "
        "Eigenvalues keep their sign.",
        class_="note",
    )
    return section(
        "landscapes",
        TITLE,
        intro,
        [_panel(panel, findings.landscapes[panel.id], charts, opened=n == 0) for n, panel in enumerate(drawn)],
        _absent(absent),
    )


def _panel(panel: LandscapePanel, figures: list[Figure], charts: Charts, *, opened: bool) -> Html:
    styles = styles_of(figures)
    several = len(panel.places) > 1
    places = [charts.figure(figure, figure.title if several else figure.title.split(": ", 1)[-1]) for figure in figures]
    missing = [place for place in panel.places if not _holds(figures, place)]
    return element(
        "details",
        element("summary", f"Figure {panel.number}. {panel.title}"),
        element("p", panel.note, class_="note") if panel.note else None,
        group(places, styles, columns="two" if len(places) in (1, 2, 4) or not styles else ""),
        [_line(panel, place) for place in missing],
        id=f"panel-{panel.id}",
        open=opened,
    )


def _holds(figures: list[Figure], place: Place) -> bool:
    return any(figure.title.startswith(f"{heading(*place)}:") for figure in figures)


def _line(panel: LandscapePanel, place: Place) -> Html:
    return element("p", f"{heading(*place)}: not run. ", element("code", panel.command(place)), class_="note")


def _absent(absent: list[LandscapePanel]) -> Html | None:
    if not absent:
        return None
    items = [
        element(
            "li",
            f"Figure {panel.number}. {panel.title}. ",
            [element("code", panel.command(place)) for place in panel.places],
            id=f"panel-{panel.id}",
        )
        for panel in absent
    ]
    return element(
        "details", element("summary", f"{len(absent)} figures not run"), element("ul", items, class_="panels")
    )
