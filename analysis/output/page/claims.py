"""The claims on the page: how many came out how, and each with its verdict on both losses, effect and coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from analysis.claims.claim import Verdict
from analysis.figures import FIGURES
from analysis.figures.large_batch import LANDSCAPES
from analysis.findings import Findings
from analysis.output.page.html import Content, Html, details, element, note, section
from analysis.output.page.published import table_id
from analysis.tables.words import name

ICONS = {"supported": "✓", "refuted": "✕", "differs": "≠", "inconclusive": "?", "not run": "○"}
"""Outcome of a claim -> its sign; the most informative outcome first."""

LABELS = {"differs": "losses differ"}
"""Outcome -> its text where that is not the outcome itself."""

PAPERS = {"Yao": "C", "Choudhary": "B"}
"""Paper of a printed table -> the letter of its claims."""


def outcome(verdicts: Iterable[Verdict]) -> str:
    """The verdict on a claim, or "differs" if its verdicts on the two losses disagree."""
    both = list(verdicts)
    if any(v.differs for v in both):
        return "differs"
    decided = [v.verdict for v in both if v.verdict != "not run"]
    return decided[0] if decided else "not run"


def by_claim(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Claim -> its verdicts, one a loss."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.claim, []).append(verdict)
    return found


def tone(word: str, *, rehearsal: bool = False) -> str:
    """The style classes of an outcome; that of a rehearsal is grey."""
    return ("inconclusive" if word == "differs" else word.replace(" ", "-")) + (" rehearsal" if rehearsal else "")


def rehearsed(verdicts: Iterable[Verdict]) -> bool:
    """Whether none of the networks behind these verdicts is of the paper."""
    return any(v.rehearsal for v in verdicts) and all(v.rehearsal or v.verdict == "not run" for v in verdicts)


def tally(claims: Mapping[str, Sequence[Verdict]]) -> Html:
    """The number of claims with each outcome, as a bar."""
    words = [outcome(both) for both in claims.values()]
    grey = {word: all(rehearsed(both) for both in claims.values() if outcome(both) == word) for word in ICONS}
    entries = [
        element(
            "li",
            element("i", sign, aria_hidden="true"),
            element("b", words.count(word)),
            element("span", LABELS.get(word, word)),
            class_=tone(word, rehearsal=grey[word]),
            style=f"flex-grow: {words.count(word)}",
        )
        for word, sign in ICONS.items()
        if word in words
    ]
    return element("ul", entries, class_="tally", aria_label="Claims by verdict")


def claim_section(findings: Findings) -> Html:
    """A tile per claim, then a line per claim; claims that were not run are folded away."""
    claims = by_claim(findings.verdicts)
    targets = _citations(findings)
    lines = {claim: _line(both, targets, claims) for claim, both in claims.items()}
    not_run = [claim for claim, both in claims.items() if outcome(both) == "not run"]
    shown = [claim for claim in claims if claim not in not_run]
    return section(
        "claims",
        "Claims",
        note(
            "Each claim about attacks is tested twice: on the float32 cross-entropy that the papers used (published "
            "loss) and on a cross-entropy without its rounding (stable loss). Inconclusive does not mean refuted. "
            f"The {len(claims)} claims are each tested at 5 % on each loss, without an adjustment for their number."
        ),
        [_tiles(paper, claims) for paper in dict.fromkeys(both[0].source.paper for both in claims.values())],
        element("ul", [lines[claim] for claim in shown], class_="claims") if shown else None,
        details(
            f"{len(not_run)} claims were not run",
            element("ul", [lines[claim] for claim in not_run], class_="claims"),
        )
        if not_run
        else None,
    )


def _tiles(paper: str, claims: Mapping[str, Sequence[Verdict]]) -> Html:
    """The tiles of one paper, or a line if none of its claims was run."""
    mine = {claim: both for claim, both in claims.items() if both[0].source.paper == paper}
    if all(outcome(both) == "not run" for both in mine.values()):
        first, last = next(iter(mine)), next(reversed(mine))
        span = f"{first} was" if first == last else f"{first} to {last} were"
        return note(f"{paper[0].upper()}{paper[1:]}: {span} not run.")
    title = element("h3", f"{paper[0].upper()}{paper[1:]}")
    return element("div", title, element("ul", [_tile(claim, both) for claim, both in mine.items()], class_="tiles"))


def _tile(claim: str, both: Sequence[Verdict]) -> Html:
    word = outcome(both)
    icon = element("i", ICONS[word], aria_hidden="true")
    said, style = element("span", LABELS.get(word, word)), tone(word, rehearsal=rehearsed(both))
    return element("li", element("a", element("b", claim), icon, said, href=f"#claim-{claim}", class_=style))


def _line(
    both: Sequence[Verdict], targets: Mapping[tuple[str, str], str], claims: Mapping[str, Sequence[Verdict]]
) -> Html:
    first = both[0]
    same = len({(v.verdict, v.effect_text) for v in both}) == 1
    shown = both[:1] if same else both
    badge = element("span", first.losses, class_="badge") if first.losses else None
    return element(
        "li",
        element("span", first.claim, class_="id"),
        element(
            "div",
            element("p", first.statement, " ", badge),
            note(_coverage(both), _own_numbers(first)),
            _beside(first, claims),
        ),
        element(
            "div",
            [_verdict(v, all_losses=same) for v in shown],
            details(
                "Reason, sizes and source",
                [_grounds(v, all_losses=same) for v in shown],
                element("p", f"{first.source.paper}, section {first.source.section}", _links(first, targets), "."),
            ),
        ),
        id=f"claim-{first.claim}",
    )


def _coverage(both: Sequence[Verdict]) -> str:
    """The trials, and the strata decided on each loss."""
    first = both[0].coverage
    if len({v.coverage.strata_text for v in both}) == 1:
        return f"{first.trials_text}; {first.strata_text}"
    return "; ".join([first.trials_text, *(f"{v.coverage.strata_text}{_loss(v, all_losses=False)}" for v in both)])


def _own_numbers(verdict: Verdict) -> str | None:
    """What the paper's printed numbers say of its claim."""
    return f". By its paper's own numbers: {verdict.by_its_own_numbers}." if verdict.by_its_own_numbers else None


def _beside(verdict: Verdict, claims: Mapping[str, Sequence[Verdict]]) -> Html | None:
    """The claims of the same paper that contradict this one, each with its outcome."""
    told: list[Content] = []
    for claim in verdict.contradicts:
        word = outcome(claims[claim]) if claim in claims else "not run"
        told += [", " if told else None, element("a", claim, href=f"#claim-{claim}"), f" ({LABELS.get(word, word)})"]
    return note("The paper contradicts this claim itself: ", told, ".") if told else None


def _verdict(verdict: Verdict, *, all_losses: bool) -> Html:
    style = tone(verdict.verdict, rehearsal=verdict.rehearsal)
    word = element("span", f"{ICONS[verdict.verdict]} {verdict.verdict}", class_=f"word {style}")
    said = verdict.why
    if verdict.verdict != "not run":
        said = verdict.effect_text + (f". {said[0].upper()}{said[1:]}" if said else "")
    return element("p", word, _loss(verdict, all_losses=all_losses), f": {said}." if said else None)


def _grounds(verdict: Verdict, *, all_losses: bool) -> Html:
    sizes = f" Decided at {verdict.protocol}." if verdict.protocol else ""
    loss = _loss(verdict, all_losses=all_losses).strip(" ()")
    return element("p", f"{loss[0].upper()}{loss[1:]}: " if loss else None, f"{verdict.reason}{sizes}")


def _loss(verdict: Verdict, *, all_losses: bool) -> str:
    if not verdict.loss:
        return ""
    return " (both losses)" if all_losses else f" ({name(verdict.loss)})"


def _citations(findings: Findings) -> dict[tuple[str, str], str]:
    """(letter of a paper, figure or table as its claims cite it) -> the id of the element on this page.

    A figure that was not run is listed with its command; an absent section has no elements.
    """
    targets = {(panel.source, panel.number): f"panel-{panel.id}" for panel in FIGURES.values()}
    if any(findings.landscapes.values()):
        targets |= {("C", f"Figure {panel.number}"): f"panel-{panel.id}" for panel in LANDSCAPES.values()}
    for one in sorted(findings.comparisons, key=lambda one: not one.was_run):
        paper, _, number = one.table.table.partition("-T")
        targets.setdefault((PAPERS[paper], f"Table {number}"), table_id(one))
    return targets


def _links(verdict: Verdict, targets: Mapping[tuple[str, str], str]) -> list[Content]:
    paper = verdict.claim.rstrip("0123456789")  # "A9" is a claim of paper A
    links: list[Content] = []
    for cited in verdict.source.figures:
        target = targets.get((paper, cited))
        first = "; figures " if cited[0].isdigit() else "; "
        links += [", " if links else first, element("a", cited, href=f"#{target}") if target else cited]
    return links
