"""What was decided of each claim: its word, icon and tone, and how many claims have each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from analysis.claims.verdict import Verdict
from analysis.output.page.html import Html, element

ICONS = {"supported": "✓", "refuted": "✕", "differs": "≠", "inconclusive": "?", "not run": "○"}
"""Decision -> its sign, most telling first."""

SAYS = {"differs": "losses differ"}


def agreed(verdicts: Iterable[Verdict]) -> str:
    """The decision of a claim's losses, or "differs"."""
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


def tone(word: str) -> str:
    """The style class of a decision."""
    return "inconclusive" if word == "differs" else word.replace(" ", "-")


def tally(claims: Mapping[str, Sequence[Verdict]]) -> Html:
    """How many claims came out how, as a bar to be read at a glance."""
    words = [agreed(both) for both in claims.values()]
    entries = [
        element(
            "li",
            element("i", sign, aria_hidden="true"),
            element("b", words.count(word)),
            element("span", SAYS.get(word, word)),
            class_=tone(word),
            style=f"flex-grow: {words.count(word)}",
        )
        for word, sign in ICONS.items()
        if word in words
    ]
    return element("ul", entries, class_="tally", aria_label="Claims by verdict")
