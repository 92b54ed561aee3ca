"""What the reference study found: docs/reference.md and its picture, written from its rows.

python -m benchmarks.reference --picture docs/report.png > docs/reference.md
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from textwrap import wrap
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from analysis import theme
from analysis.claims.claim import to_frame
from analysis.claims.looks import DECIDED
from analysis.claims.prospects import claims_about
from analysis.claims.stratum import Stratum
from analysis.figures import Figure, FigureData, lead, study_figures
from analysis.figures.figure import WIDTH
from analysis.findings import Findings, find
from analysis.output import export
from analysis.output.conclusion import conclude
from analysis.published import published
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS, ROBUST_DELTA, SIGNIFICANCE
from analysis.tables.table import StudyTable, load
from analysis.tables.words import curve_name, listed, name
from search_spaces import Request, plan
from study.options import without
from study.results.packed import read_packed
from study.training.schedules import SCHEDULES
from study.trials.pending import COLUMNS, pending
from study.tuning.costs import CostModel
from study.until_decided import Schedule

ROWS = Path(__file__).parents[1] / "docs/reference/rows.parquet"

PRINTED_BESIDE = (
    ("clean_acc", "test", None, "test_acc", 100.0),
    ("lambda1_theta", "train", None, "lambda1_train", 1.0),
    ("fgsm_acc", "test", 0.1, "fgsm_acc", 100.0),
)
"""Metric, split and epsilon of what paper C prints -> the column of ours, and its factor."""


LEAST_GAP = 0.1
"""Points of accuracy by which the losses differ where the page shows it."""


def page(location: str | Path) -> Iterator[str]:
    """The page of a packed study, line by line. Its tables do not repeat a model that all networks have."""
    findings = find(load(location))
    models = findings.table.trials["model"].unique()
    repeated = re.compile(f",? {re.escape(name(models[0]))}, ") if len(models) == 1 else None
    for line in _lines(location, findings):
        yield repeated.sub(", ", line) if repeated and line.startswith("|") else line


def _lines(location: str | Path, findings: Findings) -> Iterator[str]:
    table = findings.table
    yield "# The reference study: paper A on real images"
    yield ""
    yield from _paragraph(
        "Written by `python -m benchmarks.reference --picture docs/report.png > docs/reference.md` from the rows in "
        "[reference/rows.parquet](reference/rows.parquet). The sizes and the training length are the paper's, for one "
        "of its networks. The whole report, with every curve and test:"
    )
    yield "```sh"
    yield "python -m analysis.report docs/reference/rows.parquet    # docs/reference/report/report.html"
    yield "```"
    yield ""
    yield from _trained(table)
    yield "![Accuracy under PGD against λ₁, a line for each curve along the batch size](report.png)"
    yield ""
    yield from _paragraph(
        "*Accuracy on the test images under PGD at ε = 0.1 against λ₁ of the training loss. A line joins the batch "
        "sizes (numbers) of one setting. Large marks are means over seeds, small dots single networks; open marks have "
        "momentum 0, filled ones 0.9. PGD follows the stable loss.*"
    )
    yield from _decided(findings)
    yield from _measured(table)
    yield from _other_epsilons(table)
    yield from _equal_movement(table)
    yield from _stable_loss(findings)
    yield from _printed(findings)
    yield from _undecided(findings)
    yield from _cost(*read_packed(location, COLUMNS), table)


def _trained(table: StudyTable) -> Iterator[str]:
    for setup, networks in table.trials.groupby(["dataset", "model", "epochs", "train_size", "test_size"]):
        dataset, model, epochs, train_size, test_size = cast(tuple[str, str, int, int, int], setup)
        attacks = table.attacks[table.attacks["trial_id"].isin(networks["trial_id"])]
        attacked = attacks["trial_id"].nunique()
        of_them = "" if attacked == len(networks) else f"{attacked} of them "
        yield (
            f"- {name(dataset)}, {name(model)}: {len(networks)} networks, {of_them}attacked at "
            f"ε = {_listed(attacks['epsilon'])}; {train_size:,} training images, {epochs} epochs, "
            f"{test_size:,} test images."
        )
        devices = networks.groupby("device")
        trained = [
            f"{len(of)} on {_device(str(device))} ({of['train_seconds'].sum() / 3600:.2g} hours"
            f"{f'; {_settings(of)}' if len(of) < len(networks) / 2 else ''})"
            for device, of in devices
        ]
        probes = f"{networks['probe_seconds'].sum() / 3600:.2g}"
        yield f"  Trained: {', '.join(trained)}. Attacks and λ₁ took {probes} hours, on these or other devices."
    yield ""


def _device(device: str) -> str:
    return "one CPU core each" if device == "cpu" else f"one {device}"


def _settings(networks: pd.DataFrame) -> str:
    """The momenta and batch sizes of a few networks in words."""
    of_momentum = networks.groupby("momentum")["batch_size"].unique()
    sizes = {m: ", ".join(f"{size:,}" for size in sorted(found)) for m, found in of_momentum.items()}
    return "; ".join(f"momentum {m:g}, batch size {found}" for m, found in sizes.items())


def _decided(findings: Findings) -> Iterator[str]:
    found = conclude(findings.verdicts)
    yield "## What is decided"
    yield ""
    words = ("Supported", "Refuted", "Dependent on the attack's loss", "Supported where run", "Refuted where run")
    if told := [f"{word}: {', '.join(claims)}." for word, claims in zip(words, found, strict=False) if claims]:
        yield from _paragraph(f"Whole claims. {' '.join(told)}")
    rows = _strata(findings, DECIDED)
    if not rows:
        yield from _paragraph(
            "Nothing yet: a trend needs five batch sizes that span a factor of 16, of three seeds each."
        )
        return
    yield from _list(
        "A claim about several networks of a paper is decided as a whole when those that were run settle it: most "
        "claims need all networks for support, and one for refutation. *Where run* means: on the networks of this "
        "study.",
        "A row is one test. A fitted effect is the change from the smallest to the largest batch size. A difference, "
        "or a ratio of λ₁, compares two settings at equal batch sizes; momentum 0.9 and LR/BS also train further "
        "(their summed rate is larger, see below).",
        "A8 is refuted on a curve on which the sharper network is the less robust one; as a whole only if that is so "
        "on every curve. A15, that momentum has no effect, is refuted by a large difference at one batch size; A22, "
        "that it has one, is about the mean over all batch sizes.",
        *_levels(findings.table),
    )
    strata = [one for verdict in findings.verdicts for one in verdict.strata if one.counted]
    departing = {one.protocol for one in strata if one.verdict in DECIDED and one.closeness == 1}
    for protocol in sorted(departing):
        departs = protocol.partition(";")[0].removeprefix("not the paper's protocol: ")
        yield from _paragraph(
            f"Rows about attacks depart from the paper ({departs}): at its ε almost no image is classified correctly "
            "under an attack on the [stable loss](method.md#attacks)."
        )
    yield from _markdown(("claim", "the paper says", "setting", "verdict", "effect"), rows)


def _levels(table: StudyTable) -> Iterator[str]:
    """What an interval beside a verdict says where seeds are added in stages."""
    if table.plans:
        first, share = LOOKS[0], LOOK_SHARES[0]
        yield (
            "Intervals are those of one test, at 95 or 90 %. Seeds are added in stages of "
            f"{listed([*map(str, LOOKS)])} seeds, which share the level of 5 %: with {first} seeds a test decides at "
            f"p ≤ {100 * SIGNIFICANCE * share:.2g} %. So "
            "an interval can exclude 0 where nothing is decided. A test uses the seeds of the last stage that is "
            "complete on its curves, the tables below all networks. Claims are not corrected for their number."
        )


def _list(*items: str) -> Iterator[str]:
    for item in items:
        first, *following = wrap(item, 118)
        yield from (f"- {first}", *(f"  {line}" for line in following))
    yield ""


def _strata(findings: Findings, words: Sequence[str], *, without: Collection[str] = ()) -> list[tuple[str, ...]]:
    """One row for each counted stratum with one of these verdicts, of all claims but some.

    Where both losses agree they share a row, with the effect under the stable loss. What the published loss alone
    decides is a remark beside what the stable one says: its gradient can be rounding noise.
    """
    found: dict[tuple[str, str], dict[str | None, tuple[str, Stratum]]] = {}
    for verdict in findings.verdicts:
        for one in verdict.strata:
            if one.counted and not one.awaited and verdict.claim not in without:
                found.setdefault((verdict.claim, one.name), {})[verdict.loss] = verdict.statement, one
    rows: list[tuple[str, ...]] = []
    for (claim, where), of_loss in found.items():
        statement, shown = of_loss[None] if None in of_loss else of_loss["stable"]
        if shown.verdict not in words:
            continue
        published_says = of_loss["ce"][1].verdict if "ce" in of_loss else shown.verdict
        effect = shown.text if shown.verdict in DECIDED else shown.reason
        if published_says != shown.verdict:
            effect += f" ({published_says} under the published loss)"
        if rows and rows[-1][0] == claim:
            statement = ""  # said in the row above
        rows.append((claim, statement, where, shown.verdict, effect))
    return rows


def _measured(table: StudyTable) -> Iterator[str]:
    yield "## What was measured"
    yield ""
    yield from _paragraph(
        "Means over seeds (geometric ones of λ₁ and the training loss), with the lowest and highest in brackets. "
        "Accuracies in per cent, under attacks on the stable loss. The summed rate is the learning rate summed over "
        "all steps and divided by 1 − momentum."
    )
    rows = [
        (
            *curve,
            _counted(networks),
            _listed(networks["headline_epsilon"]),
            _spread(100 * networks["test_acc"], ".1f"),
            _spread(100 * networks["fgsm_acc_stable"], ".1f"),
            _spread(100 * networks["pgd_acc_stable"], ".1f"),
            _spread(networks["lambda1_train"], ".3g", geometric=True),
            _spread(networks["lambda1_test"], ".3g", geometric=True),
            _spread(networks["train_loss"], ".2g", geometric=True),
            f"{_movement(networks):,.0f}",
        )
        for curve, networks in _cells(table)
    ]
    head = (
        "curve",
        "batch size",
        "networks",
        "ε",
        "clean",
        "FGSM",
        "PGD",
        "λ₁, training set",
        "λ₁, test set",
        "training loss",
        "summed rate",
    )
    yield from _markdown(head, rows)


def _other_epsilons(table: StudyTable) -> Iterator[str]:
    """Accuracy at the epsilons that are not the judged one of their networks."""
    attacks = table.attacks
    attacks = attacks[(attacks["split"] == "test") & (attacks["source"] == "self") & (attacks["loss"] == "stable")]
    attacks = attacks[attacks["epsilon"] != attacks["headline_epsilon"]]
    rows = []
    for curve, networks in _cells(table):
        its = attacks[attacks["trial_id"].isin(networks["trial_id"])]
        for epsilon, at_it in its.groupby("epsilon"):
            accuracies = {attack: 100 * of["accuracy"] for attack, of in at_it.groupby("attack")}
            spread = (_spread(accuracies.get(attack, pd.Series(dtype=float)), ".1f") for attack in ("fgsm", "pgd"))
            rows.append((*curve, f"{epsilon:g}", *spread))
    if rows:
        yield "At other ε:"
        yield ""
        yield from _markdown(("curve", "batch size", "ε", "FGSM", "PGD"), rows)


def _movement(networks: pd.DataFrame) -> float:
    """The learning rate summed over all steps and divided by 1 - momentum: how far a constant gradient would move."""
    network = networks.iloc[0]
    rates = [SCHEDULES[network["schedule"]](network["learning_rate"], epoch) for epoch in range(network["epochs"])]
    return float(network["steps"] / network["epochs"] * sum(rates) / (1 - network["momentum"]))


def _equal_movement(table: StudyTable) -> Iterator[str]:
    """Curves whose networks moved equally far at every batch size, side by side."""
    curves: dict[str, dict[str, pd.DataFrame]] = {}
    for (curve, size), networks in _cells(table):
        curves.setdefault(curve, {})[size] = networks
    rows = []
    for two in combinations(curves.items(), 2):
        (_, its), (_, others) = two
        sizes = [size for size in its if size in others]
        if len(sizes) > 2 and all(_moved_alike(its[size], others[size]) for size in sizes):
            rows += [(size, curve, *_side(of[size])) for size in sizes for curve, of in two]
    if not rows:
        return
    yield "## At equal training length"
    yield ""
    yield from _paragraph(
        "At a fixed number of epochs a larger batch takes fewer steps. These settings have the same summed rate at "
        "every batch size: momentum 0.9 multiplies it by ten, and halving the rate every 5 epochs divides it by ten. "
        "No paper makes this comparison, and it was not tested."
    )
    head = ("batch size", "curve", "training loss", "clean", "PGD", "λ₁, training set", "λ₁, test set")
    yield from _markdown(head, rows)


def _moved_alike(some: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Whether other networks of the same data set and model have the same summed rate."""
    same_setup = all(some[column].iloc[0] == others[column].iloc[0] for column in ("dataset", "model"))
    distinct = not some["trial_id"].isin(others["trial_id"]).any()
    return same_setup and distinct and bool(np.isclose(_movement(some), _movement(others), rtol=0.01))


def _side(networks: pd.DataFrame) -> tuple[str, ...]:
    accuracies = (f"{100 * networks[column].mean():.1f}" for column in ("test_acc", "pgd_acc_stable"))
    curvatures = (f"{_centre(networks[column], geometric=True):.3g}" for column in ("lambda1_train", "lambda1_test"))
    return (f"{_centre(networks['train_loss'], geometric=True):.2g}", *accuracies, *curvatures)


def _cells(table: StudyTable) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Curve and batch size in words, with the networks there."""
    points = table.points[table.points["status"] == "ok"]
    for key, networks in points.groupby(["dataset", "model", "epochs", "regime", "momentum", "batch_size"]):
        dataset, model, _, regime, momentum, size = cast(tuple[str, str, int, str, float, int], key)
        curve = f"{name(dataset)} {name(model)}, {curve_name(regime, momentum)}"
        yield (curve, f"{size:,}"), networks


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{one:g}" for one in sorted(values.dropna().unique()))


def _counted(networks: pd.DataFrame) -> str:
    """How many there are, and how many of them were attacked where these are fewer."""
    attacked = networks["fgsm_acc_stable"].count()
    return f"{len(networks)}" if attacked == len(networks) else f"{len(networks)}, {attacked} attacked"


def _spread(values: pd.Series, form: str, *, geometric: bool = False) -> str:
    values = values.dropna()
    if values.empty:
        return ""
    centre = _centre(values, geometric=geometric)
    mean, low, high = (f"{value:{form}}" for value in (centre, values.min(), values.max()))
    return f"{mean} ({low} to {high})" if len(values) > 1 else mean


def _centre(values: pd.Series, *, geometric: bool) -> float:
    return float(np.exp(np.log(values).mean()) if geometric else values.mean())


def _stable_loss(findings: Findings) -> Iterator[str]:
    yield "## What the stable loss changes"
    yield ""
    yield from _effects_by_loss(findings)
    attacks = findings.table.attacks
    attacks = attacks[(attacks["attack"] == "pgd") & (attacks["loss"] == "ce") & (attacks["split"] == "test")]
    rows = []
    for curve, networks in _cells(findings.table):
        both = networks.dropna(subset=["pgd_acc", "pgd_acc_stable"])
        if len(both):
            gaps = [100 * (both[f"{attack}_acc"] - both[f"{attack}_acc_stable"]) for attack in ("fgsm", "pgd")]
            lost = attacks[attacks["trial_id"].isin(both["trial_id"])]["saturated_fraction"].mean()
            if max(gap.abs().max() for gap in gaps) >= LEAST_GAP:
                rows.append((*curve, *(_spread(gap, "+z.1f") for gap in gaps), f"{100 * lost:.0f}"))
    yield from _paragraph(
        "Accuracy under the published float32 loss minus that under the stable one, in points. Saturated images are "
        "the share of test images, in per cent, whose published loss is saturated: the probability of the true class "
        "rounds to 1, and the gradient is mostly rounding. Networks on which the losses agree within "
        f"{LEAST_GAP:g} points are left out."
    )
    yield from _markdown(("curve", "batch size", "FGSM", "PGD", "saturated images"), rows)
    differ = to_frame(v for v in findings.verdicts if v.differs)
    if differ.empty:
        yield "No claim is decided in opposite ways under the two losses."
        yield ""
        return
    for claim, both in differ.groupby("claim"):
        said = ", ".join(f"{v} under the {name(loss)}" for loss, v in zip(both["loss"], both["verdict"], strict=True))
        yield f"- {claim}: {said} ({both['losses'].iloc[0]})."
    yield ""


def _effects_by_loss(findings: Findings) -> Iterator[str]:
    """Effects on accuracy under attack that differ between the losses by the least change that counts, or more."""
    effects: dict[tuple[str, str], dict[str, float]] = {}
    for verdict in findings.verdicts:
        for one in verdict.strata:
            if one.counted and verdict.loss and one.unit == "points" and np.isfinite(one.effect):
                effects.setdefault((verdict.claim, one.name), {})[verdict.loss] = one.effect
    rows: dict[tuple[str, ...], list[str]] = {}
    for (claim, where), of_loss in effects.items():
        if len(of_loss) == 2 and abs(of_loss["ce"] - of_loss["stable"]) >= ROBUST_DELTA:
            rows.setdefault((where, f"{of_loss['ce']:+.1f}", f"{of_loss['stable']:+.1f}"), []).append(claim)
    if rows:
        yield from _paragraph(
            f"Effects on accuracy under attack, in points, that differ by {ROBUST_DELTA:g} points or more between the "
            "losses:"
        )
        yield from _markdown(
            ("setting", "published loss", "stable loss", "claims"),
            [(*key, ", ".join(claims)) for key, claims in rows.items()],
        )


def _printed(findings: Findings) -> Iterator[str]:
    yield "## The papers' printed values beside ours"
    yield ""
    yield from _paragraph(
        "Paper A prints no number for these networks: it shows them as curves, which the report draws in its layout. "
        "The nearest printed numbers are in paper C's Table 7, and claim A16 is about them. They are no replication: "
        "C's M1 is a wider network, trained at a constant rate that C does not print to a loss of 0.001. Ours have "
        "momentum 0.9. Means over seeds (geometric ones of λ₁); accuracies in per cent, under the published loss."
    )
    printed = published()
    printed = printed[(printed["table"] == "Yao-T7") & (printed["variant"] == "natural")]
    points = findings.table.points
    points = points[(points["dataset"] == "mnist") & (points["model"] == "m1_20") & (points["momentum"] == 0.9)]
    points = points[(points["status"] == "ok") & (points["headline_epsilon"] == 0.1)]
    rows = []
    for size in sorted(set(printed["batch_size"]) & set(points["batch_size"])):
        row = [f"{int(size):,}"]
        for metric, split, epsilon, column, scale in PRINTED_BESIDE:
            is_it = (printed["batch_size"] == size) & (printed["metric"] == metric) & (printed["split"] == split)
            is_it &= printed["eps"].isna() if epsilon is None else printed["eps"] == epsilon
            row += [f"{printed.loc[is_it, 'value_std'].iloc[0]:.4g}"]
            for regime in ("lr", "benchmark"):
                ours = points[(points["batch_size"] == size) & (points["regime"] == regime)]
                centre = _centre(ours[column], geometric=column.startswith("lambda1"))
                row += ["" if ours[column].isna().all() else f"{scale * centre:.3g}"]
        rows.append(row)
    head = [
        f"{what}: {whose}"
        for what in ("clean", "λ₁", "FGSM at 0.1")
        for whose in ("C prints", "our LR", "our benchmark")
    ]
    yield from _markdown(("batch size", *head), rows)


def _undecided(findings: Findings) -> Iterator[str]:
    yield "## What is undecided"
    yield ""
    judged = {verdict.claim for verdict in findings.verdicts if verdict.verdict != "not run"}
    whole = {v.claim for v in findings.verdicts} - {v.claim for v in findings.verdicts if v.verdict not in DECIDED}
    yield from _paragraph(
        "Tests of claims that are not decided as a whole, and what kept them from a decision."
        + (f" Undecided tests of {', '.join(sorted(whole, key=_number))} are left out." if whole else "")
    )
    rows = _strata(findings, ("inconclusive",), without=whole)
    if not rows:
        yield from _paragraph("No test that could be made is undecided.")
    yield from _markdown(("claim", "the paper says", "setting", "reason"), [(*row[:3], row[4]) for row in rows])
    planned = {claim for plan_ in findings.table.plans for claim in plan_["claims"]} & {*claims_about(findings.table)}
    if waiting := [one for one in dict.fromkeys(v.claim for v in findings.verdicts) if one in planned - judged]:
        yield from _paragraph(f"Waiting for curves that were not trained in full yet: {', '.join(waiting)}.")


def _number(claim: str) -> tuple[str, int]:
    return claim[0], int(claim[1:])


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
        f"for its time comes first. A curve stops when its claims are decided, at {schedule.most} seeds, or when its "
        "chance to decide more is small. The last column has, for each claim, the share of its undecided tests here "
        "that the stage is expected to decide; the claim as a whole may need other networks."
    )
    stages = [
        (stage.name, str(stage.seeds), str(len(stage.work)), f"{stage.seconds / 3600:.1f}", _gains(stage.gains))
        for stage in schedule.stages(table, work, costs)
    ]
    hours = f"{sum(map(costs.seconds, work)) / 3600:.1f}"
    all_ = ("all of them, at most", str(schedule.most), str(len(work)), hours, "")
    yield from _markdown(
        ("curve", "seeds", "networks", "hours", "expected share of undecided tests that it decides"),
        [*stages, all_],
    )
    yield "```sh"
    yield "python -m study.pack docs/reference/rows.parquet results/reference"
    yield f"python -m study.run {_options(asked)} --results results/reference"
    yield "python -m study.pack results/reference docs/reference/rows.parquet"
    yield "python -m benchmarks.reference --picture docs/report.png > docs/reference.md"
    yield "```"


def _gains(gains: Mapping[str, float]) -> str:
    most = sorted(gains.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{claim} {chance:.2f}" for claim, chance in most)


def _options(asked: Mapping[str, Any]) -> str:
    """The options of the request, without the folder that it was made in."""
    options = shlex.split(asked["command"].partition("study.run ")[2])
    return shlex.join(without(options, "--results"))


def picture(table: StudyTable) -> Image.Image:
    """The report's first picture in one row."""
    data = FigureData(table)
    first = lead(data, study_figures(data))
    row = [_drawn(figure) for figure in (first.figures if first else ())]
    width, height = (max(image.size[k] for image in row) for k in (0, 1))
    whole = Image.new("RGB", (width * len(row), height), "white")
    for column, image in enumerate(row):
        whole.paste(image, (column * width, 0))
    return whole


def _drawn(figure: Figure) -> Image.Image:
    config = theme.config() | {"background": "#ffffff", "font": "DejaVu Sans", "padding": 12}  # it has "λ₁"
    title = {"text": figure.title, "fontSize": 15}
    return Image.open(BytesIO(export.picture(figure.spec() | {"width": WIDTH, "title": title, "config": config})))


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
    """Print the page, and draw its picture if that is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("--picture", metavar="FILE", help="write the picture there, as PNG")
    if file := parser.parse_args().picture:
        picture(load(ROWS)).quantize(128).save(file, optimize=True)
    for line in page(ROWS):
        print(line)


if __name__ == "__main__":
    main()
