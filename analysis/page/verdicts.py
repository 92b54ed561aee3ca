"""The verdict strip: every claim with its verdict on both losses, effect, interval and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.figures import FIGURES
from analysis.page.html import Content, Html, element, section
from analysis.page.opening import agreed
from analysis.theme import name
from analysis.verdict import Verdict

ICONS = {"supported": "✓", "refuted": "✕", "inconclusive": "?", "not run": "○", "differs": "≠"}

SAYS = {"differs": "losses differ"}


def verdict_strip(verdicts: Sequence[Verdict]) -> Html:
    """Tiles for a first look, then a line a claim; those not run are folded away."""
    by_claim: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_claim.setdefault(verdict.claim, []).append(verdict)
    lines = {claim: _line(both) for claim, both in by_claim.items()}
    not_run = [claim for claim, both in by_claim.items() if agreed(both) == "not run"]
    shown = [claim for claim in by_claim if claim not in not_run]
    return section(
        "claims",
        "Claims",
        element(
            "p",
            "Each claim is tested twice where it speaks of attacks: on the float32 cross-entropy that the papers used "
            "(published loss) and on one without its rounding (stable loss). Inconclusive is not a no.",
            class_="note",
        ),
        [_tiles(paper, by_claim) for paper in dict.fromkeys(both[0].source.paper for both in by_claim.values())],
        element("ul", [lines[claim] for claim in shown], class_="claims") if shown else None,
        element(
            "details",
            element("summary", f"{len(not_run)} claims were not run"),
            element("ul", [lines[claim] for claim in not_run], class_="claims"),
        )
        if not_run
        else None,
    )


def _tiles(paper: str, by_claim: Mapping[str, Sequence[Verdict]]) -> Html:
    """One paper's tiles, or a line where none of its claims was run."""
    mine = {claim: both for claim, both in by_claim.items() if both[0].source.paper == paper}
    if all(agreed(both) == "not run" for both in mine.values()):
        first, *_, last = mine
        return element("p", f"{paper[0].upper()}{paper[1:]}: {first} to {last} were not run.", class_="note")
    title = element("h3", f"{paper[0].upper()}{paper[1:]}")
    return element("div", title, element("ul", [_tile(claim, both) for claim, both in mine.items()], class_="tiles"))


def _tone(word: str) -> str:
    return "inconclusive" if word == "differs" else word.replace(" ", "-")


def _tile(claim: str, both: Sequence[Verdict]) -> Html:
    word = agreed(both)
    icon = element("i", ICONS[word], aria_hidden="true")
    said = element("span", SAYS.get(word, word))
    return element("li", element("a", element("b", claim), icon, said, href=f"#claim-{claim}", class_=_tone(word)))


def _line(both: Sequence[Verdict]) -> Html:
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
                element("p", f"{first.source.paper}, section {first.source.section}", _links(first), "."),
            ),
        ),
        id=f"claim-{first.claim}",
    )


def _verdict(verdict: Verdict, *, all_losses: bool) -> Html:
    word = element("span", f"{ICONS[verdict.verdict]} {verdict.verdict}", class_=f"word {_tone(verdict.verdict)}")
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


def _links(verdict: Verdict) -> list[Content]:
    paper = verdict.claim.rstrip("0123456789")  # "A9" is a claim of paper A, whose panels are "A-..."
    panels = [f"{paper}-{number}" for number in verdict.figures if f"{paper}-{number}" in FIGURES]
    if not panels:
        return [f"; {', '.join(verdict.figures)}"] if verdict.figures else []
    links: list[Content] = ["; figures "]
    for panel in panels:
        links += [element("a", panel.removeprefix(f"{paper}-"), href=f"#panel-{panel}"), ", "]
    return links[:-1]
