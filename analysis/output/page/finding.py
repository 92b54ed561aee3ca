"""The title of the report: what was found, in plain words, and never more than the verdicts say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.claims.claim import Standing, Verdict, outcome
from analysis.claims.stratum import Stratum
from analysis.output.conclusion import by_claim
from analysis.output.page.claims import rehearsed
from analysis.tables.words import name

PLAIN: dict[str, tuple[str, ...]] = {
    "A7": (
        "adversarial accuracy falls as the batch grows, at a constant learning rate and in the benchmark",
        "adversarial accuracy does not fall as the batch grows",
        "adversarial accuracy falls on some curves and not on others as the batch grows",
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
        "accuracy under FGSM does not fall with the batch size in the benchmark",
        "accuracy under FGSM falls with the batch size on some curves of the benchmark and not on others",
    ),
    "A3": (
        "curvature rises with the batch size in the benchmark",
        "curvature does not rise with the batch size in the benchmark",
        "curvature rises with the batch size on some curves of the benchmark and not on others",
    ),
    "A18": (
        "a constant ratio of learning rate to batch size leads to flatter minima than a constant rate or the benchmark",
        "a constant ratio of learning rate to batch size does not always lead to flatter minima than a constant rate "
        "or the benchmark",
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
        "SVRG, noisy SGD, selective backprop and Adam are mostly no more robust than minibatch SGD",
        "SVRG, noisy SGD, selective backprop and Adam are mostly more robust than minibatch SGD",
    ),
}
"""Claim -> what can be said of it in a title when it is supported, and when it is refuted; the foremost first.

A claim of all networks is refuted by one of them, so its refutation says "not always" or "can"; or a third text is for
where some tests support it, and the second for where none does.
"""

REVERSED = {"A7": "adversarial accuracy rises as the batch grows"}
"""Claim -> what is said where every test finds the opposite, by at least the least effect that counts."""

COUNTED: tuple[Standing, ...] = ("supported", "supported where run", "refuted", "refuted where run")
"""What is counted in a title that has no words for the claims themselves."""

_OPEN = ("supported where run", "inconclusive")

MOST = 2
"""The most claims that a title speaks of."""


def finding(verdicts: Sequence[Verdict]) -> str:
    """The title: what the foremost decided claims say, else what holds of single networks, else what is undecided.

    Networks of no paper speak only where no claim about the papers' networks is decided.
    """
    claims = by_claim(verdicts)
    decided = {claim: word for claim, word in _decided(claims).items() if claim in PLAIN}
    if of_papers := [claim for claim in decided if not rehearsed(claims[claim])][:MOST]:
        return _sentence(
            [_said(one, claims[one], decided[one], _where(claims[one], decided[one])) for one in of_papers]
        )
    if shown := list(decided)[:MOST]:
        data = sorted({s.dataset for claim in shown for v in claims[claim] for s in v.strata if s.counted})
        where = f"on networks in none of the papers ({' and '.join(map(name, data))}), "
        return _sentence([_said(claim, claims[claim], decided[claim], where) for claim in shown])
    if held_of := _of_networks(claims):
        networks = held_of[0][0]
        return f"On {' and '.join(networks)}, {'; '.join(text for of, text in held_of if of == networks)}"
    reached = Counter(outcome(both) for both in claims.values())
    run = _claims(reached.total() - reached["not run"])
    if counts := [f"{reached[word]} {word}" for word in COUNTED if reached[word]]:
        return f"Of {run} that could be judged: {', '.join(counts)}"
    if reached.total() > reached["not run"]:
        return f"No claim is decided yet: {run} could be judged"
    return "No claim can be judged from these results"


def _sentence(said: Sequence[tuple[str, str]]) -> str:
    """Texts after where they hold, which is said once where the next text has the same."""
    parts = [text if n and where == said[n - 1][0] else f"{where}{text}" for n, (where, text) in enumerate(said)]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}"


def _said(claim: str, verdicts: Sequence[Verdict], reached: str, where: str) -> tuple[str, str]:
    """Where a decided claim is borne out, and its text; a refutation says no more than its tests do."""
    if reached == "supported" or len(PLAIN[claim]) == 2:
        return where, PLAIN[claim][reached == "refuted"]
    tests = [s for verdict in verdicts for s in verdict.strata if s.counted and s.verdict != "not run"]
    if "unlike" in where:  # the others are named
        bearing = {s.dataset for s in tests if s.verdict == "refuted"}
        tests = [s for s in tests if s.dataset in bearing]
    if any(s.verdict == "supported" for s in tests):
        return where, PLAIN[claim][2]
    against = [s for s in tests if s.verdict == "refuted"]
    if {_curve(s) for s in tests} != {_curve(s) for s in against}:
        return where, f"on some curves {PLAIN[claim][1]}"
    opposite = bool(against) and all(s.margin[0] <= -1 for s in against)
    return where, REVERSED.get(claim, PLAIN[claim][1]) if opposite else PLAIN[claim][1]


def _curve(stratum: Stratum) -> tuple[object, ...]:
    return stratum.dataset, stratum.model, *stratum.keys.values()


def _where(verdicts: Sequence[Verdict], reached: str) -> str:
    """The data sets that bear a verdict out, where all tests on them do and all on the others say the opposite."""
    found: dict[str, set[str]] = {}
    for s in (s for verdict in verdicts for s in verdict.strata if s.counted and s.verdict in ("supported", "refuted")):
        found.setdefault(s.dataset, set()).add(s.verdict)
    if any(len(words) > 1 for words in found.values()):
        return ""
    bearing, others = ([one for one in found if (reached in found[one]) is agrees] for agrees in (True, False))
    if not (bearing and others):
        return ""
    here, there = (" and ".join(map(name, sorted(data))) for data in (bearing, others))
    return f"on {here}, unlike {there}, "


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
