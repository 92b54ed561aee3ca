"""What the reference study found: docs/reference.md, written from its rows in docs/reference.

python -m benchmarks.reference [RESULTS] > docs/reference.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import cast

import pandas as pd

from analysis.claims.claim import Verdict, to_frame
from analysis.findings import Findings, find
from analysis.output.conclusion import conclude
from analysis.output.downloads import comparisons_frame
from analysis.statistics.thresholds import LOOKS
from analysis.tables.table import StudyTable, load
from analysis.tables.words import name
from search_spaces import REGIME_NAMES, Request, plan
from study.results.folder import Results
from study.trials import pending
from study.tuning.costs import CostModel
from study.until_decided import Schedule

RESULTS = Path(__file__).parents[1] / "docs/reference"

DECIDED = ("supported", "refuted")

WORDS = {"supported": "holds", "refuted": "does not hold", "inconclusive": "open"}

LOSS_NAMES = {"ce": "published", "stable": "stable"}


def page(location: str | Path) -> Iterator[str]:
    """The page, line by line."""
    findings = find(load(location))
    table = findings.table
    yield "# The reference study: paper A on real images at full size"
    yield ""
    yield from _paragraph(
        "Written by `python -m benchmarks.reference > docs/reference.md` from the rows in [reference/](reference). "
        "Their whole report, with every curve and test:"
    )
    yield "```sh"
    yield "python -m analysis.report docs/reference    # docs/reference/report/report.html"
    yield "```"
    yield ""
    yield from _trained(table)
    yield from _decided(findings)
    yield from _measured(table)
    yield from _stable_loss(findings)
    yield from _printed(findings)
    yield from _undecided(findings)
    yield from _cost(location, table)


def _trained(table: StudyTable) -> Iterator[str]:
    epsilons = ", ".join(f"{one:g}" for one in sorted(table.attacks["epsilon"].unique()))
    for setup, networks in table.trials.groupby(["dataset", "model", "epochs", "train_size", "test_size"]):
        dataset, model, epochs, train_size, test_size = cast(tuple[str, str, int, int, int], setup)
        yield (
            f"**{len(networks)} networks**: {name(dataset)} {name(model)}, {train_size:,} training images, "
            f"{epochs} epochs, {test_size:,} test images, ε = {epsilons}."
        )
    hours = (table.trials["train_seconds"] + table.trials["probe_seconds"]) / 3600
    spent = [
        f"{len(of)} on {_device(str(device))} ({of.sum():.2g} hours)"
        for device, of in hours.groupby(table.trials["device"])
    ]
    yield f"Trained and measured: {', '.join(spent)}. A trial on a CPU has one core."
    yield ""


def _device(device: str) -> str:
    return "CPU cores" if device == "cpu" else device


def _decided(findings: Findings) -> Iterator[str]:
    found = conclude(findings.verdicts)
    yield "## What is decided"
    yield ""
    yield f"{found.found[0].upper()}{found.found[1:]}. Undecided: {found.undecided}."
    yield ""
    rows = [
        (v.claim, v.statement, WORDS[v.verdict], v.effect_text, f"{v.coverage.ok} of {v.coverage.planned}")
        for v in _each_once(verdict for verdict in findings.verdicts if verdict.verdict in DECIDED)
    ]
    yield from _markdown(("claim", "the paper says", "verdict", "effect", "networks"), rows)


def _each_once(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One verdict a claim where both losses agree: that of the stable loss, which is judged last."""
    return list({(verdict.claim, verdict.verdict): verdict for verdict in verdicts}.values())


def _measured(table: StudyTable) -> Iterator[str]:
    yield "## What was measured"
    yield ""
    yield from _paragraph(
        "Means over seeds, lowest and highest in brackets. Accuracies in per cent, on the stable loss."
    )
    rows = [
        (
            *curve,
            str(len(networks)),
            _spread(100 * networks["test_acc"], ".1f"),
            _spread(100 * networks["fgsm_acc_stable"], ".1f"),
            _spread(100 * networks["pgd_acc_stable"], ".1f"),
            _spread(networks["lambda1_train"], ".3g"),
            _spread(networks["train_loss"], ".2g"),
        )
        for curve, networks in _cells(table)
    ]
    head = ("curve", "batch size", "networks", "clean", "FGSM", "PGD", "λ₁, training set", "training loss")
    yield from _markdown(head, rows)


def _cells(table: StudyTable) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Curve and batch size in words, with the networks there."""
    points = table.points[table.points["status"] == "ok"]
    for key, networks in points.groupby(["dataset", "model", "epochs", "regime", "momentum", "batch_size"]):
        dataset, model, _, regime, momentum, size = cast(tuple[str, str, int, str, float, int], key)
        curve = f"{name(dataset)} {name(model)}, {REGIME_NAMES[regime]}, momentum {momentum:g}"
        yield (curve, f"{size:,}"), networks


def _spread(values: pd.Series, form: str) -> str:
    values = values.dropna()
    if values.empty:
        return ""
    ends = f" ({values.min():{form}} to {values.max():{form}})" if len(values) > 1 else ""
    return f"{values.mean():{form}}{ends}"


def _stable_loss(findings: Findings) -> Iterator[str]:
    yield "## What the stable loss changes"
    yield ""
    attacks = findings.table.attacks[lambda of: (of["attack"] == "pgd") & (of["loss"] == "ce")]
    rows = []
    for curve, networks in _cells(findings.table):
        both = networks.dropna(subset=["pgd_acc", "pgd_acc_stable"])
        if len(both):
            gaps = [100 * (both[f"{attack}_acc"] - both[f"{attack}_acc_stable"]) for attack in ("fgsm", "pgd")]
            lost = attacks[attacks["trial_id"].isin(both["trial_id"])]["saturated_fraction"].mean()
            rows.append((*curve, *(_spread(gap, "+.1f") for gap in gaps), f"{100 * lost:.0f}"))
    yield from _paragraph(
        "Accuracy under the published float32 loss less that under the stable one, in points, and the share of test "
        "images, in per cent, on which the published loss is saturated: its gradient is mostly rounding."
    )
    yield from _markdown(("curve", "batch size", "FGSM", "PGD", "saturated images"), rows)
    differ = to_frame(v for v in findings.verdicts if v.differs)
    if differ.empty:
        yield "No verdict depends on the loss."
    for claim, both in differ.groupby("claim") if len(differ) else ():
        said = ", ".join(
            f"{WORDS.get(v, v)} under the {LOSS_NAMES[loss]} loss"
            for loss, v in zip(both["loss"], both["verdict"], strict=True)
        )
        yield f"- {claim}: {said} ({both['losses'].iloc[0]})."
    yield ""


def _printed(findings: Findings) -> Iterator[str]:
    yield "## The papers' printed values beside ours"
    yield ""
    printed = comparisons_frame(findings.comparisons)
    run = printed[printed["verdict"] != "not run"]
    if run.empty:
        yield from _paragraph(
            f"None of the {len(printed)} printed values that the project holds is of these networks. Paper A shows "
            "them as curves without numbers, which the report draws in its layout. Papers B and C print tables of "
            "other networks or of other training."
        )
        return
    rows = [
        (
            f"{one.table} {one.row}",
            f"{one.metric}, {one.split}",
            f"{one.paper:g}",
            f"{one.ours:.4g} ({one.low:.4g} to {one.high:.4g})",
            str(one.seeds),
            str(one.verdict),
        )
        for one in run.itertuples()
    ]
    yield from _markdown(("where", "what", "printed", "ours (prediction interval)", "seeds", "verdict"), rows)


def _undecided(findings: Findings) -> Iterator[str]:
    yield "## What is undecided"
    yield ""
    judged = {verdict.claim for verdict in findings.verdicts if verdict.verdict != "not run"}
    rows = [
        (verdict.claim, verdict.statement, verdict.why or verdict.reason)
        for verdict in _each_once(v for v in findings.verdicts if v.verdict == "inconclusive")
    ]
    yield from _markdown(("claim", "the paper says", "why it is open"), rows)
    planned = {claim for plan_ in findings.table.plans for claim in plan_["claims"]}
    if waiting := sorted(planned - judged, key=lambda claim: (claim[0], int(claim[1:]))):
        yield f"Waiting for curves that were not trained yet: {', '.join(waiting)}."
        yield ""


def _cost(location: str | Path, table: StudyTable) -> Iterator[str]:
    results = Results(location)
    entries = [entry for entry in results.read_study()["requests"] if entry.get("until_decided")]
    if not entries:
        return
    entry = entries[-1]
    grid = plan(Request.from_dict(entry))
    rows, _ = results.read_rows(pending.COLUMNS)
    work = pending.pending_with_parents(grid, rows, results, set_aside=False)
    costs = CostModel(grid, rows)
    schedule = Schedule(grid, entry["until_decided"]["claims"])
    yield "## What it would cost"
    yield ""
    yield from _paragraph(
        f"What the command below would train next, by the rows' times on {' and '.join(map(_device, costs.devices))}. "
        "The curve that is expected to decide most for its time comes first; a curve stops when its claims are "
        f"decided, at {LOOKS[-1]} seeds, or when its chance to decide more is small."
    )
    stages = schedule.stages(table, work, costs)
    found = [
        (stage.name, str(stage.seeds), str(len(stage.work)), f"{stage.seconds / 3600:.1f}", _gains(stage.gains))
        for stage in stages
    ]
    all_ = sum(map(costs.seconds, work)) / 3600
    found.append(("all of them", str(LOOKS[-1]), str(len(work)), f"{all_:.1f}", ""))
    yield from _markdown(("curve", "seeds", "networks", "core-hours", "claims it is expected to decide"), found)
    yield "```sh"
    yield "cp -r docs/reference results/reference"
    yield "python -m study.run " + _options(entry) + " --results results/reference"
    yield "python -m study.pack results/reference docs/reference && python -m benchmarks.reference > docs/reference.md"
    yield "```"
    yield ""


def _gains(gain: Mapping[str, float]) -> str:
    return ", ".join(
        f"{claim} {chance:.2f}" for claim, chance in sorted(gain.items(), key=lambda one: (-one[1], one[0]))
    )


def _options(entry: dict[str, object]) -> str:
    return str(entry["command"]).partition("study.run ")[2].partition(" --results")[0]


def _paragraph(text: str) -> Iterator[str]:
    yield from (*wrap(text, 120), "")


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
    yield ""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("results", nargs="?", default=RESULTS, help="the study's folder (default: docs/reference)")
    for line in page(parser.parse_args().results):
        print(line)


if __name__ == "__main__":
    main()
