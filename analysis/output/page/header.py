"""The top of the page: what was found, the first picture, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from analysis.figures.curve_sets import Setup, setups
from analysis.findings import Findings
from analysis.output.conclusion import by_claim
from analysis.output.page.charts import Charts, group
from analysis.output.page.claims import CITED, papers_outside, tally
from analysis.output.page.finding import finding
from analysis.statistics.thresholds import LOOKS, MIN_SEEDS, ZERO_GRADIENT
from analysis.tables.cells import cells
from analysis.tables.looks import looks
from analysis.tables.merge import conflicts_in_words
from analysis.tables.table import PROTOCOL, StudyTable
from analysis.tables.words import departs, listed
from analysis.theme import regime_style
from search_spaces import GRIDS, REGIME_RULES, Trial

FEW_SEEDS = 5
"""With fewer seeds than this only large effects are decided (docs/calibration.md)."""


def header(findings: Findings, charts: Charts) -> dict[str, Any]:
    """What the top of the page shows."""
    table = findings.table
    return {
        "kicker": _kicker(table),
        "title": title(findings),
        **_lead(findings, charts),
        "trust": [
            coverage(table),
            *conflicts_in_words(table.conflicts),
            *_seeds(table),
            *_looks(table),
            *reliability(table),
        ],
        "partial": _is_partial(table),
        "tally": tally(by_claim(findings.verdicts)),
        "elsewhere": listed(outside) if (outside := papers_outside(findings.verdicts)) else "",
        "deviations": deviations(setups(table)),
    }


def title(findings: Findings) -> str:
    """What was found, in a sentence."""
    return finding(findings.verdicts)


PAPERS = {"natural_training": CITED["A"], "large_batch": CITED["C"], "sgd_variants": CITED["B"]}
"""Space of a paper -> the paper."""


def _kicker(table: StudyTable) -> str:
    """What was studied: the papers, and other grids by their names."""
    studied: dict[str, None] = {}
    for request in table.requests:
        papers = [PAPERS[space.name] for space in GRIDS.get(request.grid, ()) if space.name in PAPERS]
        studied |= dict.fromkeys(papers or [request.grid])
    named = ", ".join(studied) or PurePosixPath(table.location).name or "results"
    return f"Batch size, curvature and adversarial robustness: {named}"


def _lead(findings: Findings, charts: Charts) -> dict[str, Any]:
    """The first picture with its curves explained; none where no network was attacked."""
    lead = findings.lead
    if lead is None:
        return {"charts": None, "regimes": [], "others": 0}
    rules = {regime_style(regime): rule for regime, rule in REGIME_RULES.items()}
    return {
        "charts": group(
            charts, lead.figures, [figure.title for figure in lead.figures], columns=_COLUMNS[len(lead.figures)]
        ),
        "regimes": [(style, rules.get(style, "")) for style in lead.regimes],
        "others": lead.others,
    }


_COLUMNS = {1: "two", 2: "two", 3: ""}
"""Number of leading figures -> the grid they stand in."""


def coverage(table: StudyTable) -> str:
    """How many networks were planned and trained."""
    planned = table.planned.drop_duplicates("trial_id")
    states = (planned if len(planned) else table.trials.rename(columns={"status": "state"}))["state"].value_counts()
    done = {state: int(states.get(state, 0)) for state in ("ok", "diverged", "failed")}
    requested = f" of the {len(planned)} requested" if len(planned) else ""
    others = ", ".join(f"{count} {state}" for state, count in done.items() if count and state != "ok")
    line = f"{done['ok']}{requested} networks are trained" + (f" ({others})" if others else "")
    if not requested:
        why = f"--grid {table.not_given[0]} was not given" if table.not_given else "no study.json"
        line += f"; what was requested is not known ({why})"
    elif outside := len(set(table.trials["trial_id"]) - set(planned["trial_id"]) - set(planned["parent"].dropna())):
        line += f", {outside} more were not requested"
    if done["ok"]:
        return line
    return f"{line}: nothing to measure{' yet' if _is_partial(table) else ''}"


def _is_partial(table: StudyTable) -> bool:
    """Whether something that was planned has no network, or the plan is not known."""
    return table.planned.empty or bool(table.planned["state"].isin(("missing", "failed")).any())


def usual_seeds(table: StudyTable) -> int:
    """How many seeds a setting has, in the median; 0 where none was attacked."""
    counts = cells(table)["n_seeds"]
    return int(counts[counts > 0].median()) if (counts > 0).any() else 0


def _seeds(table: StudyTable) -> list[str]:
    """How many seeds a setting has, and what so many can decide."""
    counts = cells(table)["n_seeds"]
    counts = counts[counts > 0].astype(int)
    if counts.empty:
        return []
    usual, least, most = usual_seeds(table), counts.min(), counts.max()
    told = f"{most} seed{'s' if most > 1 else ''} per setting"
    if least < most:
        told = f"{least} to {told}"
    if least < MIN_SEEDS <= most:
        return [f"{told}: fewer than {MIN_SEEDS} decide no claim"]
    if most < MIN_SEEDS:
        return [f"{told}: too few to decide a claim, {MIN_SEEDS} are needed"]
    return [f"{told}: enough for large effects only" if usual < FEW_SEEDS else told]


def _looks(table: StudyTable) -> list[str]:
    """Which stages were taken, and that p-values allow for the others."""
    again = looks(table)
    if again is None:
        return []
    stages = listed([str(LOOKS.index(look.seeds) + 1) for look in again.each])
    counts = listed([str(look.seeds) for look in again.each])
    taken = f"stage{'s' if len(again.each) > 1 else ''} {stages} of {len(LOOKS)}: {counts} seeds"
    told = f"all p-values allow for interim analyses, also those of curves that were not planned ({taken})"
    waits = "1 curve is incomplete; until it is" if again.waiting == 1 else ""
    waits = waits or f"{again.waiting} curves are incomplete; until they are"
    return [told, f"{waits} complete, no counterexample can be confirmed"] if again.waiting else [told]


def reliability(table: StudyTable) -> list[str]:
    """How many attacked cells cannot be trusted, and why."""
    found = cells(table)
    asked = found[found["n_seeds"] > 0]
    if asked.empty:
        return []
    blind = asked["zero_grad_fraction"] > ZERO_GRADIENT
    weaker = asked["suspect"] & ~blind
    kinds = {"PGD weaker than FGSM": int(weaker.sum()), "no gradient": int(blind.sum())}
    told = [f"{why} in {count}" for why, count in kinds.items() if count]
    if not told:
        compared = "PGD is nowhere weaker than FGSM, and " if {"fgsm", "pgd"} <= set(asked["attack"]) else ""
        return [f"no attack looks unreliable: {compared}every attack had non-zero gradients"]
    return [f"unreliable attacks: {', '.join(told)} of {len(asked)} attacked settings; left out of tests, drawn pale"]


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
            sentences.append(f"{listed(who)}{said} {'are' if several else 'is'} in none of the papers.")
        else:
            sentences.append(f"{listed(who)} {'depart' if several else 'departs'} from the paper: {said}.")
    return sentences


def _differing(setup: Setup, study: Trial) -> str:
    ours = {name: setup[name] for name in PROTOCOL if name not in ("target_loss", "augmentation")}
    return ", ".join(departs(ours, study.to_dict(), (name for name, value in ours.items() if not pd.isna(value))))


_KIND = ("dataset", "model", "target_loss", "adversarial_training")
"""What tells the papers' protocols for one network apart."""


def _kind(values: Mapping[str, object]) -> tuple[object, ...]:
    found = (values[name] for name in _KIND)
    return tuple(None if isinstance(value, float) and math.isnan(value) else value for value in found)


def _of_papers() -> Iterable[Trial]:
    return (trial for space in GRIDS["full"] for trial in space.cells)
