"""The verdict strip: every claim with its verdict on both losses, effect, interval and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.claims.verdict import Verdict
from analysis.figures import FIGURES
from analysis.figures.large_batch import LANDSCAPES
from analysis.findings import Findings
from analysis.output.page.decisions import ICONS, SAYS, agreed, by_claim, tone
from analysis.output.page.html import Content, Html, element, section
from analysis.output.page.published import table_id
from analysis.tables.words import name

PAPERS = {"Yao": "C", "Choudhary": "B"}
"""Paper of a printed table -> the letter of its claims."""


def claim_section(findings: Findings) -> Html:
    """Tiles for a first look, then a line a claim; those not run are folded away."""
    claims = by_claim(findings.verdicts)
    places = _places(findings)
    lines = {claim: _line(both, places) for claim, both in claims.items()}
    not_run = [claim for claim, both in claims.items() if agreed(both) == "not run"]
    shown = [claim for claim in claims if claim not in not_run]
    return section(
        "claims",
        "Claims",
        element(
            "p",
            "Each claim is tested twice where it speaks of attacks: on the float32 cross-entropy that the papers used "
            "(published loss) and on one without its rounding (stable loss). Inconclusive is not a no.",
            class_="note",
        ),
        [_tiles(paper, claims) for paper in dict.fromkeys(both[0].source.paper for both in claims.values())],
        element("ul", [lines[claim] for claim in shown], class_="claims") if shown else None,
        element(
            "details",
            element("summary", f"{len(not_run)} claims were not run"),
            element("ul", [lines[claim] for claim in not_run], class_="claims"),
        )
        if not_run
        else None,
    )


def _tiles(paper: str, claims: Mapping[str, Sequence[Verdict]]) -> Html:
    """One paper's tiles, or a line where none of its claims was run."""
    mine = {claim: both for claim, both in claims.items() if both[0].source.paper == paper}
    if all(agreed(both) == "not run" for both in mine.values()):
        first, *_, last = mine
        return element("p", f"{paper[0].upper()}{paper[1:]}: {first} to {last} were not run.", class_="note")
    title = element("h3", f"{paper[0].upper()}{paper[1:]}")
    return element("div", title, element("ul", [_tile(claim, both) for claim, both in mine.items()], class_="tiles"))


def _tile(claim: str, both: Sequence[Verdict]) -> Html:
    word = agreed(both)
    icon = element("i", ICONS[word], aria_hidden="true")
    said = element("span", SAYS.get(word, word))
    return element("li", element("a", element("b", claim), icon, said, href=f"#claim-{claim}", class_=tone(word)))


def _line(both: Sequence[Verdict], places: Mapping[tuple[str, str], str]) -> Html:
    first = both[0]
    same = len({(v.verdict, v.effect.text) for v in both}) == 1
    shown = both[:1] if same else both
    badge = element("span", "rests on float32 saturation", class_="badge") if agreed(both) == "differs" else None
    return element(
        "li",
        element("span", first.claim, class_="id"),
        element("div", element("p", first.statement, " ", badge), element("p", first.coverage.text, class_="note")),
        element(
            "div",
            [_verdict(v, all_losses=same) for v in shown],
            element(
                "details",
                element("summary", "Why, at which sizes, and where the paper says so"),
                [_grounds(v, all_losses=same) for v in shown],
                element("p", f"{first.source.paper}, section {first.source.section}", _links(first, places), "."),
            ),
        ),
        id=f"claim-{first.claim}",
    )


def _verdict(verdict: Verdict, *, all_losses: bool) -> Html:
    word = element("span", f"{ICONS[verdict.verdict]} {verdict.verdict}", class_=f"word {tone(verdict.verdict)}")
    effect = f": {verdict.effect.text}" if verdict.verdict != "not run" else None
    return element("p", word, _loss(verdict, all_losses=all_losses), effect)


def _grounds(verdict: Verdict, *, all_losses: bool) -> Html:
    sizes = f" Decided at {verdict.protocol}." if verdict.protocol else ""
    loss = _loss(verdict, all_losses=all_losses).strip(" ()")
    return element("p", f"{loss[0].upper()}{loss[1:]}: " if loss else None, f"{verdict.reason}{sizes}")


def _loss(verdict: Verdict, *, all_losses: bool) -> str:
    if not verdict.loss:
        return ""
    return " (both losses)" if all_losses else f" ({name(verdict.loss)})"


def _places(findings: Findings) -> dict[tuple[str, str], str]:
    """(letter of a paper, figure or table as its claims cite it) -> the id of its place on this page.

    Figures that were not run have a place too, the command that runs them; a section that is absent has none.
    """
    places = {(panel.source, panel.number): f"panel-{panel.id}" for panel in FIGURES.values()}
    if any(findings.landscapes.values()):
        places |= {("C", f"Figure {panel.number}"): f"panel-{panel.id}" for panel in LANDSCAPES.values()}
    for one in sorted(findings.comparisons, key=lambda one: not one.was_run):
        paper, _, number = one.table.table.partition("-T")
        places.setdefault((PAPERS[paper], f"Table {number}"), table_id(one))
    return places


def _links(verdict: Verdict, places: Mapping[tuple[str, str], str]) -> list[Content]:
    paper = verdict.claim.rstrip("0123456789")  # "A9" is a claim of paper A
    links: list[Content] = []
    for cited in verdict.figures:
        place = places.get((paper, cited))
        first = "; figures " if cited[0].isdigit() else "; "
        links += [", " if links else first, element("a", cited, href=f"#{place}") if place else cited]
    return links
