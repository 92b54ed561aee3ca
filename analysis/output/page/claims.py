"""The claims on the page: each once, with its strata on one axis of effect over delta, its verdict and its grounds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.claims import PAPERS
from analysis.claims.claim import Verdict, outcome
from analysis.claims.own_numbers import NOT_PRINTED
from analysis.claims.stratum import Margin, Stratum
from analysis.figures import FIGURES
from analysis.figures.large_batch import LANDSCAPES
from analysis.findings import Findings
from analysis.output.conclusion import by_claim
from analysis.output.page.published import table_id
from analysis.output.page.templates import Section
from analysis.tables.looks import looks
from analysis.tables.words import name

ICONS = {
    "supported": "✓",
    "refuted": "✕",
    "differs": "≠",
    "supported where run": "◐",
    "refuted where run": "◐",
    "inconclusive": "?",
    "not run": "○",
}
"""Outcome of a claim -> its sign; the most informative outcome first."""

LABELS = {"differs": "losses differ"}
"""Outcome -> its text where that is not the outcome itself."""

CITED = {paper.CLAIMS[0].name[0]: paper.CLAIMS[0].source.paper for paper in PAPERS}
"""Letter of a paper's claims -> the paper: "Yao et al. (2018)"."""

TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30)
"""Where the axis is labelled, in units of delta."""

STRIP = 110.0
"""Pixels that the strata of a claim may take, one above the other."""

LANES = (2.0, 12.0)
"""The least and the largest height of one of them."""

SEVERAL = 2
"""Reasons that are named."""

MOST_NETWORKS = 6
"""Networks that a sentence names."""

BY_ORDER = "sign-error"
"""The part of a claim that is tested by the order of all batch sizes of a curve."""

Context = dict[str, Any]


def word(reached: str, *, rehearsal: bool = False) -> Context:
    """An outcome as the page writes it: its text, sign and style classes; that of a rehearsal is grey."""
    tone = "inconclusive" if reached == "differs" else reached.removesuffix(" where run").replace(" ", "-")
    tone += " rehearsal" if rehearsal else ""
    return {"text": LABELS.get(reached, reached), "sign": ICONS[reached], "tone": tone}


def rehearsed(verdicts: Iterable[Verdict]) -> bool:
    """Whether none of the networks behind these verdicts is of the paper."""
    return any(v.rehearsal for v in verdicts) and all(v.rehearsal or v.verdict == "not run" for v in verdicts)


def papers_outside(verdicts: Sequence[Verdict]) -> list[str]:
    """The papers of whose claims no network was requested or trained."""
    inside = {v.source.paper for v in verdicts if v.verdict != "not run" or v.coverage.planned or v.coverage.ok}
    return [paper for paper in dict.fromkeys(v.source.paper for v in verdicts) if paper not in inside]


def tally(claims: Mapping[str, Sequence[Verdict]]) -> list[Context]:
    """The number of claims with each outcome, those of papers outside the study left out."""
    outside = papers_outside([verdict for both in claims.values() for verdict in both])
    counted = [both for both in claims.values() if both[0].source.paper not in outside]
    reached = {one: [both for both in counted if outcome(both) == one] for one in ICONS}
    return [
        word(one, rehearsal=all(map(rehearsed, found))) | {"count": len(found)}
        for one, found in reached.items()
        if found
    ]


def claim_section(findings: Findings) -> Section:
    """A row a claim with what was found of its strata; claims that were not run are folded to one line."""
    claims = by_claim(findings.verdicts)
    targets = _citations(findings)
    run = {claim: both for claim, both in claims.items() if outcome(both) != "not run"}
    axis = Axis.of(stratum for both in run.values() for verdict in both for stratum in verdict.strata)
    usual = _usual_remark(verdict for both in run.values() for verdict in both)
    papers: dict[str, list[Context]] = {}
    for both in run.values():
        row = _about(both[0], targets, claims) | _row(both, axis, usual)
        papers.setdefault(both[0].source.paper, []).append(row)
    not_run: dict[str, list[Context]] = {}
    for claim, (first, *_) in claims.items():
        if claim not in run:
            not_run.setdefault(_why_not_run(first), []).append(_about(first, targets, claims))
    context = {
        "axis": axis,
        "papers": {f"{paper[0].upper()}{paper[1:]}": rows for paper, rows in papers.items()},
        "claims": len(claims),
        "usual": usual,
        "looked": looks(findings.table) is not None,
        "not_run": not_run,
    }
    return Section("claims", "Claims", "The papers' claims", context, absent=not run)


def _about(
    verdict: Verdict, targets: Mapping[tuple[str, str], str], claims: Mapping[str, Sequence[Verdict]]
) -> Context:
    """What the paper says, where, and what it contradicts."""
    printed = verdict.by_its_own_numbers
    return {
        "claim": verdict.claim,
        "statement": verdict.statement,
        "by_its_own_numbers": "" if printed == NOT_PRINTED else printed,
        "beside": [(one, word(outcome(claims[one]))["text"]) for one in verdict.contradicts if one in claims],
        "source": _source(verdict, targets),
    }


def _why_not_run(verdict: Verdict) -> str:
    found = verdict.coverage
    if not found.ok + found.diverged + found.failed:
        return "None of their networks was trained"
    reasons = dict.fromkeys(s.reason for s in verdict.strata if s.counted)
    return "; ".join([*reasons][:SEVERAL]) or verdict.reason


# -- the axis that all claims share


@dataclass(frozen=True)
class Axis:
    """Effects over delta from `low` to `high`, compressed away from 0 (the inverse hyperbolic sine)."""

    low: float
    high: float

    @classmethod
    def of(cls, strata: Iterable[Stratum]) -> Axis:
        """An axis from below the smallest to above the largest effect, at least ±4; intervals beyond it are cut."""
        effects = [s.margin[0] for s in strata if _is_drawn(s)]
        return cls(min(-3.5, *effects, -3.5) * 1.15, max(3.5, *effects, 3.5) * 1.15)

    def percent(self, value: float) -> float:
        """Where a value is, in percent of the width; values beyond the ends are at the ends."""
        low, here, high = (math.asinh(v) for v in (self.low, min(max(value, self.low), self.high), self.high))
        return round(100 * (here - low) / (high - low), 2)

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """The labels and where they are."""
        return [(f"{tick:d}".replace("-", "−"), self.percent(tick)) for tick in TICKS if self.low < tick < self.high]

    @property
    def lines(self) -> list[tuple[str, float]]:
        """Style and place of the lines across it: no effect, and the least effect that counts."""
        return [(style, self.percent(value)) for style, value in (("delta", -1), ("zero", 0), ("delta", 1))]


class SignErrors:
    """The axis of a claim that is tested by sign-errors: 0 to 1, with chance in the middle."""

    ticks = (("0", 0.0), ("0.5 (chance)", 50.0), ("1", 100.0))
    lines = (("delta", 0.0), ("zero", 50.0), ("delta", 100.0))

    @staticmethod
    def percent(value: float) -> float:
        """Where a value is, in percent of the width."""
        return round(100 * value, 2)


def _is_drawn(stratum: Stratum) -> bool:
    return stratum.counted and stratum.verdict != "not run" and math.isfinite(stratum.margin[0])


def _is_sign_error(stratum: Stratum) -> bool:
    judged = stratum.counted and stratum.verdict != "not run"
    return judged and stratum.part == BY_ORDER and math.isfinite(stratum.effect)


# -- one claim


def _remarks(stratum: Stratum) -> list[str]:
    return [remark for remark in stratum.remarks.split("; ") if remark]


def _usual_remark(verdicts: Iterable[Verdict]) -> str:
    """What is remarked on every test that was run, to be said once; "" if there is no such remark."""
    remarks = [_remarks(s) for verdict in verdicts for s in _in(verdict, "run")]
    return next((one for one in remarks[0] if all(one in others for others in remarks)), "") if remarks else ""


def _row(both: Sequence[Verdict], axis: Axis, usual: str) -> Context:
    first = both[0]
    same = len({(v.standing, v.effect_text) for v in both}) == 1
    trained = first.coverage
    lost = {"diverged": trained.diverged, "failed": trained.failed}
    return {
        "losses": first.losses,
        "lines": [_line(verdict, axis, same=same) for verdict in (both[:1] if same else both)],
        "tests": _tests(both),
        "open": [text for of in ("not complete", "not run") if (text := _left(both, of))],
        "contrast": first.contrast,
        "remarks": "; ".join(dict.fromkeys(r for v in both for s in _in(v, "run") for r in _remarks(s) if r != usual)),
        "sizes": _sizes(both),
        "trained": f"{trained.ok} of the {trained.planned} requested networks are trained"
        + "".join(f", {count} {state}" for state, count in lost.items() if count),
    }


def _in(verdict: Verdict, state: str) -> list[Stratum]:
    """Its counted strata in one state: run, not complete (some curve waits for its first look) or not run."""
    states = (
        (s, "not run" if s.verdict == "not run" else "not complete" if s.awaited else "run") for s in verdict.strata
    )
    return [s for s, one in states if s.counted and one == state]


def _tests(both: Sequence[Verdict]) -> Context:
    """A row for what each test found; one for both losses where they say the same."""
    found: dict[str, dict[tuple[tuple[str, str], str, str], list[str]]] = {}
    protocols: dict[str, set[str]] = {}
    for s in (s for verdict in both for s in _in(verdict, "run")):
        protocols.setdefault(s.name, set()).add(s.protocol)
    for verdict in both:
        for s in _in(verdict, "run"):
            test = f"{s.name} ({s.protocol})" if len(protocols[s.name]) > 1 else s.name
            losses = found.setdefault(test, {}).setdefault((_says(s), s.text, s.reason), [])
            losses.append(name(verdict.loss).removesuffix(" loss") if verdict.loss else "")
    attacked = both[0].loss is not None
    rows = [
        (test, _as_word(*says), ["both" if len({*losses}) > 1 else losses[0]] if attacked else [], text, reason)
        for test, outcomes in found.items()
        for (says, text, reason), losses in outcomes.items()
    ]
    return {"head": ("Test", "Verdict", *(["Loss"] if attacked else []), "Effect", "Reason"), "rows": rows}


def _says(stratum: Stratum) -> tuple[str, str]:
    """The verdict of a test, and its words: one curve cannot refute that λ₁ fails to explain robustness somewhere."""
    explained = stratum.part == BY_ORDER and stratum.verdict == "refuted"
    return stratum.verdict, "λ₁ explains this curve" if explained else stratum.verdict


def _as_word(verdict: str, text: str) -> Context:
    return word(verdict) | {"text": text}


def _left(both: Sequence[Verdict], state: str) -> str:
    """How many of the tests are not run or not complete, of which networks, and why: once where the losses agree."""
    texts: dict[str, list[str]] = {}
    for verdict in both:
        if strata := _in(verdict, state):
            total = sum(s.counted for s in verdict.strata)
            networks = [*dict.fromkeys(f"{name(s.dataset)}, {name(s.model)}" for s in strata)]
            more = [f"{len(networks) - MOST_NETWORKS} more"] if len(networks) > MOST_NETWORKS else []
            reasons = [*dict.fromkeys(s.reason for s in strata if s.verdict == "not run")][:SEVERAL]
            said = f"{len(strata)} of {total} test{'s' if total > 1 else ''}"
            said += f" ({'; '.join([*networks[:MOST_NETWORKS], *more])})"
            texts.setdefault(": ".join([said, *filter(None, ["; ".join(reasons)])]), []).append(
                name(verdict.loss or "")
            )
    return " ".join(
        f"{state.capitalize()}{f' on the {losses[0]}' if len(losses) < len(both) else ''}: {said}."
        for said, losses in texts.items()
    )


def _sizes(both: Sequence[Verdict]) -> str:
    """Each protocol at which tests were run, with the data sets and models, and the networks that are not complete."""
    run: dict[str, dict[str, None]] = {}
    for state in ("run", "not complete"):
        for s in (s for verdict in both for s in _in(verdict, state)):
            protocol = s.protocol if state == "run" else state
            run.setdefault(protocol, {})[f"{name(s.dataset)}, {name(s.model)}"] = None
    return " ".join(f"{'; '.join(networks)}, {protocol}." for protocol, networks in run.items())


def _line(verdict: Verdict, axis: Axis, *, same: bool) -> Context:
    """One verdict: on one loss, or on both where they are the `same`."""
    loss = ("both losses" if same else name(verdict.loss)) if verdict.loss else ""
    return {
        "loss": loss,
        "word": word(verdict.standing, rehearsal=verdict.rehearsal),
        "why": verdict.why if verdict.standing in ("refuted", "inconclusive", "not run") else "",
        "share": _share(verdict),
        "strip": _strip(verdict, axis),
        "effect": verdict.effect_text if verdict.verdict != "not run" else "",
    }


def _share(verdict: Verdict) -> str:
    """What its tests say: "2 of 2 run support it · 4 not run", "2 against, 3 for, 1 inconclusive · 16 not run"."""
    counts: Counter[str] = Counter(s.verdict for s in verdict.strata if s.counted)
    not_run = counts.pop("not run", 0)
    sides = (("refuted", "against"), ("supported", "for"), ("inconclusive", "inconclusive"))
    told = ", ".join(f"{counts[one]} {side}" for one, side in sides if counts[one])
    if verdict.standing.startswith("supported"):
        told = f"{counts['supported']} of {counts.total()} run support it"
    return " · ".join(filter(None, (told, f"{not_run} not run" if not_run else "")))


def _strip(verdict: Verdict, axis: Axis) -> Context:
    """The strata of a verdict as dots with intervals, one above the other, largest effects first.

    Sign-errors have an axis of their own. The largest and the smallest effect name their data set if there are several.
    """
    own = [(s, (s.effect, s.low, s.high)) for s in verdict.strata if _is_sign_error(s)]
    drawn = own or [(s, s.margin) for s in verdict.strata if _is_drawn(s)]
    drawn.sort(key=lambda one: -one[1][0])
    lane = min(max(STRIP / max(len(drawn), 1), LANES[0]), LANES[1])
    return {
        "height": round(lane * len(drawn) + 8, 1),
        "radius": round(min(3.6, max(1.6, lane * 0.45)), 1),
        "lines": SignErrors.lines if own else axis.lines,
        "ticks": SignErrors.ticks if own else (),
        "dots": list(_dots(drawn, SignErrors() if own else axis, lane)),
    }


def _dots(drawn: Sequence[tuple[Stratum, Margin]], axis: Axis | SignErrors, lane: float) -> Iterator[Context]:
    ends = (0, len(drawn) - 1) if len({stratum.dataset for stratum, _ in drawn}) > 1 else ()
    for n, (stratum, (value, low, high)) in enumerate(drawn):
        yield {
            "label": name(stratum.dataset) if n in ends else "",
            "x": axis.percent(value),
            "y": round(4 + lane * (n + 0.5), 1),
            "low": axis.percent(low) if math.isfinite(low) else axis.percent(value),
            "high": axis.percent(high) if math.isfinite(high) else axis.percent(value),
            "flagged": stratum.flagged,
            "tone": stratum.verdict.replace(" ", "-"),
            "title": f"{stratum.name}: {_says(stratum)[1]}. {stratum.text}",
        }


# -- where a paper makes it


def _citations(findings: Findings) -> dict[tuple[str, str], str]:
    """(letter of a paper, figure or table as its claims cite it) -> the id of the element on this page.

    A figure that was not run is listed with its command; an absent section has no elements.
    """
    targets = {(panel.source, panel.number): f"panel-{panel.id}" for panel in FIGURES.values()}
    if any(findings.landscapes.values()):
        targets |= {("C", f"Figure {panel.number}"): f"panel-{panel.id}" for panel in LANDSCAPES.values()}
    tables = findings.comparisons if any(one.was_run for one in findings.comparisons) else ()
    for one in sorted(tables, key=lambda one: not one.was_run):
        paper, _, number = one.table.table.partition("-T")
        letter = next(letter for letter, cited in CITED.items() if cited.startswith(paper))
        targets.setdefault((letter, f"Table {number}"), table_id(one))
    return targets


def _source(verdict: Verdict, targets: Mapping[tuple[str, str], str]) -> Context:
    """Paper, place and cited figures; a figure on this page has the id of its element as `target`."""
    section = verdict.source.section
    where = f"section {section}" if section[0].isdigit() else section
    paper = verdict.claim.rstrip("0123456789")  # "A9" is a claim of paper A
    figures = verdict.source.figures
    numbered = [cited for cited in figures if cited[0].isdigit()]
    return {
        "where": f"{verdict.source.paper}, {where}",
        "kind": f"figure{'s' if numbered[1:] else ''} " if numbered else "",
        "figures": [{"number": cited, "target": targets.get((paper, cited))} for cited in figures],
    }
