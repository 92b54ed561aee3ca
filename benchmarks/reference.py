"""What the reference study found: docs/reference.md, written from its rows in docs/reference/rows.parquet.

python -m benchmarks.reference > docs/reference.md
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, cast

import pandas as pd
import pyarrow as pa

from analysis.claims.claim import Verdict, to_frame
from analysis.findings import Findings, find
from analysis.output.conclusion import conclude
from analysis.output.downloads import comparisons_frame
from analysis.tables.table import StudyTable, load
from analysis.tables.words import name
from search_spaces import REGIME_NAMES, Request, plan
from study.options import without
from study.results.packed import read_packed
from study.trials.pending import COLUMNS, pending
from study.tuning.costs import CostModel
from study.until_decided import Schedule

ROWS = Path(__file__).parents[1] / "docs/reference/rows.parquet"

DECIDED = ("supported", "refuted")

WORDS = {"supported": "holds", "refuted": "does not hold", "inconclusive": "open"}

LOSS_NAMES = {"ce": "published", "stable": "stable"}


def page(location: str | Path) -> Iterator[str]:
    """The page of a packed study, line by line."""
    findings = find(load(location))
    table = findings.table
    yield "# The reference study: paper A on real images at full size"
    yield ""
    yield from _paragraph(
        "Written by `python -m benchmarks.reference > docs/reference.md` from the rows in "
        "[reference/rows.parquet](reference/rows.parquet). Their whole report, with every curve and test:"
    )
    yield "```sh"
    yield "python -m analysis.report docs/reference/rows.parquet    # docs/reference/report/report.html"
    yield "```"
    yield ""
    yield from _trained(table)
    yield from _decided(findings)
    yield from _measured(table)
    yield from _stable_loss(findings)
    yield from _printed(findings)
    yield from _undecided(findings)
    yield from _cost(*read_packed(location, COLUMNS), table)


def _trained(table: StudyTable) -> Iterator[str]:
    for setup, networks in table.trials.groupby(["dataset", "model", "epochs", "train_size", "test_size"]):
        dataset, model, epochs, train_size, test_size = cast(tuple[str, str, int, int, int], setup)
        attacks = table.attacks[table.attacks["trial_id"].isin(networks["trial_id"])]
        epsilons = ", ".join(f"{one:g}" for one in sorted(attacks["epsilon"].unique()))
        yield (
            f"- {name(dataset)}, {name(model)}: {len(networks)} networks, {attacks['trial_id'].nunique()} of them "
            f"attacked at ε = {epsilons}; {train_size:,} training images, {epochs} epochs, {test_size:,} test images."
        )
        for device, of in networks.groupby("device"):
            training, probes = (f"{of[f'{part}_seconds'].sum() / 3600:.2g}" for part in ("train", "probe"))
            yield (
                f"  - {len(of)} trained on {_device(str(device))}: {training} hours of training, {probes} of attacks "
                "and λ₁, one network at a time."
            )
    yield ""


def _device(device: str) -> str:
    return "one CPU core each" if device == "cpu" else device


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
    attacks = findings.table.attacks
    attacks = attacks[(attacks["attack"] == "pgd") & (attacks["loss"] == "ce") & (attacks["split"] == "test")]
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
    if waiting := [one for one in dict.fromkeys(v.claim for v in findings.verdicts) if one in planned - judged]:
        yield from _paragraph(f"Waiting for curves that were not trained in full yet: {', '.join(waiting)}.")


def _cost(rows: pa.Table, study: Mapping[str, Any], table: StudyTable) -> Iterator[str]:
    sequential = [entry for entry in study["requests"] if entry.get("until_decided")]
    if not sequential:
        return
    asked = sequential[-1]
    grid = plan(Request.from_dict(asked))
    stored = rows.to_pylist()
    work, costs = pending(grid, stored), CostModel(grid, stored, weights=())
    schedule = Schedule(grid, asked["until_decided"]["claims"])
    yield "## What it would cost"
    yield ""
    yield from _paragraph(
        "What the command below would train next, in hours of one network at a time on "
        f"{' and '.join(map(_device, costs.devices))}, by the rows' times. The curve that is expected to decide most "
        "for its time comes first; a curve stops when its claims are decided, at "
        f"{schedule.most} seeds, or when its chance to decide more is small."
    )
    stages = [
        (stage.name, str(stage.seeds), str(len(stage.work)), f"{stage.seconds / 3600:.1f}", _gains(stage.gains))
        for stage in schedule.stages(table, work, costs)
    ]
    hours = f"{sum(map(costs.seconds, work)) / 3600:.1f}"
    all_ = ("all of them, at most", str(schedule.most), str(len(work)), hours, "")
    yield from _markdown(("curve", "seeds", "networks", "hours", "claims it is expected to decide"), [*stages, all_])
    yield "```sh"
    yield "python -m study.pack docs/reference/rows.parquet results/reference"
    yield f"python -m study.run {_options(asked)} --results results/reference"
    yield "python -m study.pack results/reference docs/reference/rows.parquet"
    yield "python -m benchmarks.reference > docs/reference.md"
    yield "```"


def _gains(gains: Mapping[str, float]) -> str:
    most = sorted(gains.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{claim} {chance:.2f}" for claim, chance in most)


def _options(asked: Mapping[str, Any]) -> str:
    """The options of the request, without the folder that it was made in."""
    options = shlex.split(asked["command"].partition("study.run ")[2])
    return shlex.join(without(options, "--results"))


def _paragraph(text: str) -> Iterator[str]:
    yield from (*wrap(text, 120), "")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table; nothing where it has no rows."""
    if not rows:
        return
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
    yield ""


def main() -> None:
    """Print the page."""
    argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__).parse_args()
    for line in page(ROWS):
        print(line)


if __name__ == "__main__":
    main()
