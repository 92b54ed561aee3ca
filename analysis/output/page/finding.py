"""The title of the report: what was found, in plain words, and never more than the verdicts say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.claims.claim import Standing, Verdict, outcome
from analysis.output.conclusion import by_claim
from analysis.output.page.claims import rehearsed
from analysis.published.paper_versus_ours import CONSISTENT, NOT_CONSISTENT, NOT_DECIDABLE, TableComparison
from analysis.tables.words import name

PLAIN: dict[str, tuple[str, str]] = {
    "A7": (
        "adversarial accuracy falls as the batch grows, at a constant learning rate and in the benchmark",
        "adversarial accuracy does not fall on every curve as the batch grows",
    ),
    "A6": (
        "adversarial accuracy stays level where the learning rate grows with the batch size",
        "adversarial accuracy can change with the batch size even where the learning rate grows with it",
    ),
    "A8": (
        "the Hessian's top eigenvalue does not always explain adversarial robustness",
        "the Hessian's top eigenvalue goes with adversarial robustness on every curve that was tested",
    ),
    "A2": (
        "accuracy under FGSM falls with the batch size in the benchmark",
        "accuracy under FGSM does not always fall with the batch size in the benchmark",
    ),
    "A3": (
        "curvature rises with the batch size in the benchmark",
        "curvature does not always rise with the batch size in the benchmark",
    ),
    "A4": (
        "a constant ratio of learning rate to batch size leads to flatter minima",
        "a constant ratio of learning rate to batch size does not always lead to flatter minima",
    ),
    "C1": (
        "large batches reach areas of higher curvature",
        "large batches do not always reach areas of higher curvature",
    ),
    "C4": (
        "networks trained with large batches are more prone to FGSM",
        "networks trained with large batches are not always more prone to FGSM",
    ),
    "A11": (
        "at a constant learning rate, momentum makes most networks more robust",
        "at a constant learning rate, momentum does not make most networks more robust",
    ),
    "A15": (
        "at a constant ratio of learning rate to batch size, momentum changes neither accuracy nor robustness",
        "momentum can change accuracy or robustness even at a constant ratio of learning rate to batch size",
    ),
    "B11": (
        "SVRG, noisy SGD and selective backprop are mostly no more robust than minibatch SGD",
        "SVRG, noisy SGD and selective backprop are mostly more robust than minibatch SGD",
    ),
}
"""Claim -> what can be said of it in a title when it is supported, and when it is refuted; the foremost first.

A claim of all networks is refuted by one of them, so its refutation says "not always", "not on every curve" or "can".
"""

COUNTED: dict[Standing, str] = {
    "supported": "held",
    "supported where run": "held where they were run",
    "refuted": "did not hold",
    "refuted where run": "did not hold where they were run",
}
"""What became of a claim -> how it is counted in a title that has no words for the claims themselves."""

_OPEN = ("supported where run", "inconclusive")

MOST = 2
"""The most claims that a title speaks of."""


def finding(verdicts: Sequence[Verdict], comparisons: Sequence[TableComparison] = ()) -> str:
    """The title: what the foremost decided claims say, else what holds of single networks, else what is undecided.

    A rehearsal speaks only where no claim about the papers' networks does.
    """
    claims = by_claim(verdicts)
    said = {claim: PLAIN[claim][word == "refuted"] for claim, word in _decided(claims).items() if claim in PLAIN}
    if of_papers := [text for claim, text in said.items() if not rehearsed(claims[claim])]:
        text = "; ".join(of_papers[:MOST])
        return f"{text[0].upper()}{text[1:]}"
    if said:
        shown = list(said)[:MOST]
        data = sorted({s.dataset for claim in shown for v in claims[claim] for s in v.strata if s.counted})
        return f"In a rehearsal on {' and '.join(map(name, data))}, {'; '.join(said[claim] for claim in shown)}"
    if held_of := _of_networks(claims):
        networks = held_of[0][0]
        return f"On {' and '.join(networks)}, {'; '.join(text for of, text in held_of if of == networks)}"
    reached = Counter(outcome(both) for both in claims.values())
    run = _claims(reached.total() - reached["not run"])
    if counts := [f"{reached[word]} {said}" for word, said in COUNTED.items() if reached[word]]:
        return f"Of {run} that could be judged, {', '.join(counts)}"
    if reached.total() > reached["not run"]:
        return f"No claim is decided yet{_agreement(comparisons) or f': {run} could be judged'}"
    return f"No claim can be judged from these results{_agreement(comparisons)}"


def _decided(claims: Mapping[str, Sequence[Verdict]]) -> dict[str, str]:
    """Claim -> supported or refuted; in the order of `PLAIN`."""
    order = [*(claim for claim in PLAIN if claim in claims), *(claim for claim in claims if claim not in PLAIN)]
    reached = {claim: outcome(claims[claim]) for claim in order}
    return {claim: word for claim, word in reached.items() if word in ("supported", "refuted")}


def _of_networks(claims: Mapping[str, Sequence[Verdict]]) -> list[tuple[list[str], str]]:
    """What holds of the networks that were run, of the foremost claims that wait for other networks.

    Each entry has the networks, all of which support the claim, and what the claim says.
    """
    found = []
    for claim in (claim for claim in PLAIN if outcome(claims.get(claim, ())) in _OPEN):
        reached: dict[str, set[str]] = {}
        for stratum in (s for verdict in claims[claim] for s in verdict.strata if s.counted):
            reached.setdefault(f"{name(stratum.dataset)} with {name(stratum.model)}", set()).add(stratum.verdict)
        run = [network for network, words in reached.items() if words != {"not run"}]
        if run and all(reached[network] == {"supported"} for network in run):
            found.append((run, PLAIN[claim][0]))
    return found[:MOST]


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count} claims"


def _agreement(comparisons: Sequence[TableComparison]) -> str:
    """How many printed numbers agree with ours, where any has one beside it."""
    words = [word for one in comparisons for word in one.cells["verdict"]]
    tested, open_ = words.count(CONSISTENT) + words.count(NOT_CONSISTENT), words.count(NOT_DECIDABLE)
    if tested:
        return f"; {words.count(CONSISTENT)} of {tested} numbers that the papers print agree with ours"
    return f"; {open_} numbers that the papers print stand beside ours" if open_ else ""
