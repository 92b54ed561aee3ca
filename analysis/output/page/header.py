"""The top of the page: what was studied, what came out, and how much of the plan was run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import pandas as pd

from analysis.claims.claim import Verdict
from analysis.figures.curve_sets import Setup, setups
from analysis.findings import Findings
from analysis.output.page.claims import by_claim, outcome, tally
from analysis.output.page.html import Content, Html, element, note
from analysis.statistics.estimates import DECISIONS
from analysis.tables.table import PROTOCOL, StudyTable, versions
from analysis.tables.words import said, value_text
from search_spaces import GRIDS, Trial


def header_section(findings: Findings) -> Html:
    """Title, summary and coverage."""
    table = findings.table
    return element(
        "header",
        element("button", type="button", class_="theme", hidden=True),
        element("h1", _title(table)),
        element("p", provenance_line(findings), class_="meta"),
        tally(by_claim(findings.verdicts)),
        *summary(findings.verdicts, papers_networks=_has_papers_networks(table)),
        coverage(table),
    )


def _title(table: StudyTable) -> str:
    grids = list(dict.fromkeys(request.grid for request in table.requests))
    name = " + ".join(grids) or PurePosixPath(table.location).name or "results"
    return f"Batch size, curvature and robustness: {name}"


def provenance_line(findings: Findings) -> str:
    """Folder, date, versions and devices of the results in one line."""
    table = findings.table
    trials = table.trials
    torch = versions(trials).get("torch", [])
    parts = [
        table.location,
        f"report of {findings.made_at:%Y-%m-%d %H:%M} UTC",
        f"{len(trials)} trained networks",
        "torch " + ", ".join(torch) if torch else "",
        ", ".join(sorted(trials["device"].dropna().unique())),
        *(f"commit {sha[:10]}" for sha in sorted(trials["git_sha"].dropna().unique())[:2]),
    ]
    return " · ".join(part for part in parts if part)


def summary(verdicts: Sequence[Verdict], *, papers_networks: bool = True) -> list[Html]:
    """The verdicts in plain words. `papers_networks`: whether any data set and model of the papers was run."""
    claims = by_claim(verdicts)
    reached = {claim: outcome(both) for claim, both in claims.items()}
    with_outcome = {word: [c for c, w in reached.items() if w == word] for word in (*DECISIONS, "differs")}
    not_run, differing = with_outcome["not run"], with_outcome["differs"]
    run = len(claims) - len(not_run)
    judged = [v for v in verdicts if v.verdict != "not run"] or verdicts
    papers = _listed([f"the {paper}" if "paper" in paper else paper for paper in _papers(judged)])
    if not run:
        lead = f"None of the {len(claims)} claims of {papers} can be judged from these results."
        return [element("p", lead, class_="lead")]
    counts = [f"{len(with_outcome[word])} {word}" for word in ("supported", "refuted", "inconclusive")]
    counts += [f"{len(differing)} with different verdicts on the two attack losses"] if differing else []
    lead = f"Of {run} claim{'s' if run > 1 else ''} of {papers} that these results can judge: {_listed(counts)}."
    if not_run:
        lead += f" {len(not_run)} {'were' if len(not_run) > 1 else 'was'} not run."
    points = [
        element("li", element("strong", f"{word.capitalize()}: "), _statements(claims, with_outcome[word]))
        for word in ("refuted", "supported")
        if with_outcome[word]
    ]
    if differing:
        for how in dict.fromkeys(claims[claim][0].losses for claim in differing):
            mine = [claim for claim in differing if claims[claim][0].losses == how]
            points.append(element("li", element("strong", f"{how[0].upper()}{how[1:]}: "), _statements(claims, mine)))
    if not papers_networks:
        text = "No data set and model of the papers was run: these verdicts test the analysis, not the papers' claims."
        points.append(element("li", text))
    return [element("p", lead, class_="lead"), element("ul", points) if points else Html("")]


def _papers(verdicts: Iterable[Verdict]) -> list[str]:
    return list(dict.fromkeys(verdict.source.paper for verdict in verdicts))


def _has_papers_networks(table: StudyTable) -> bool:
    papers = {(trial.dataset, trial.model) for trial in _of_papers()}
    return not papers.isdisjoint(zip(table.trials["dataset"], table.trials["model"], strict=True))


def _statements(claims: Mapping[str, Sequence[Verdict]], chosen: Sequence[str]) -> Content:
    return [
        [element("a", claim, href=f"#claim-{claim}"), f" {claims[claim][0].statement}{'; ' if n else '.'}"]
        for n, claim in zip(range(len(chosen) - 1, -1, -1), chosen, strict=True)
    ]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def coverage(table: StudyTable) -> Html:
    """The trials that were planned and run, and how their sizes differ from the papers'."""
    planned = table.planned.drop_duplicates("trial_id")
    states = (planned if len(planned) else table.trials.rename(columns={"status": "state"}))["state"].value_counts()
    done = {state: int(states.get(state, 0)) for state in ("ok", "diverged", "failed", "missing")}
    counts = f"{done['ok']} ok, {done['diverged']} diverged, {done['failed']} failed"
    if len(planned):
        line = f"{len(planned)} trials planned: {counts}, {done['missing']} missing."
        if done["missing"] or done["failed"]:
            line = f"Only part of the plan has been run. {line}"
        outside = len(set(table.trials["trial_id"]) - set(planned["trial_id"]))
        line += f" {outside} more rows lie outside the plan." if outside else ""
    else:
        line = f"{len(table.trials)} trials found: {counts}. What was planned is not known (no study.json)."
    if not (table.trials["status"] == "ok").any():
        line += " No network finished training, so there is nothing to measure yet."
    partial = bool(done["missing"] or done["failed"] or not len(planned))
    sentences = [note(text) for text in deviations(setups(table))]
    return element(
        "div", element("p", line), sentences, class_="coverage partial" if partial else "coverage", id="coverage"
    )


def deviations(found: Sequence[Setup]) -> list[str]:
    """A sentence for networks that are in no paper, and one for each way in which sizes differ from the papers'."""
    papers = {_kind(trial.to_dict()): trial for trial in _of_papers()}
    departing: dict[str, list[str]] = {}
    for setup in found:
        study = papers.get(_kind({name: setup[name] for name in _KIND}))
        said = f" ({setup.protocol})" if study is None else _differing(setup, study)
        if said:
            departing.setdefault(said, []).append(setup.title)
    sentences = []
    for said, titles in departing.items():
        who = list(dict.fromkeys(titles))  # setups of one size may differ in optimizer or decay
        several = len(who) > 1
        if said.startswith(" ("):
            sentences.append(f"{_listed(who)}{said} {'are' if several else 'is'} in none of the papers.")
        else:
            sentences.append(f"{_listed(who)} {'depart' if several else 'departs'} from the paper: {said}.")
    return sentences


def _differing(setup: Setup, study: Trial) -> str:
    own = study.to_dict()
    return ", ".join(
        f"{said(name, setup[name])} instead of {value_text(own[name])}"
        for name in PROTOCOL
        if name not in ("target_loss", "augmentation") and not pd.isna(setup[name]) and setup[name] != own[name]
    )


_KIND = ("dataset", "model", "target_loss", "adversarial_training")
"""What tells the papers' protocols for one network apart."""


def _kind(values: Mapping[str, object]) -> tuple[object, ...]:
    found = (values[name] for name in _KIND)
    return tuple(None if isinstance(value, float) and math.isnan(value) else value for value in found)


def _of_papers() -> Iterable[Trial]:
    return (trial for space in GRIDS["full"] for trial in space.cells)
