"""Tests on the networks of Yao et al. 2018, sections 2, 3.3 and 3.4: M_ORI, what adversarial training makes of it, and
the signs of their Hessians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.curves import Evidence, Scope
from analysis.claims.measures import LEFT_OUT, NOT_CONVERGED, clean_delta, converged
from analysis.claims.tests import OverNetworks, Stratum, worded
from analysis.statistics.estimates import AT_ONE_SIZE, Decision, Sample
from analysis.statistics.intervals import clopper_pearson, logit_accuracy
from analysis.statistics.sample_tests import difference_by_seed, no_difference
from analysis.statistics.thresholds import (
    CURVATURE_DELTA,
    FLOOR,
    MIN_FINITE_SHARE,
    MIN_SEEDS,
    PSD_TOLERANCE,
    ROBUST_DELTA,
    SIGNIFICANCE,
    UNTRAINED,
    ZERO_GRADIENT,
)
from analysis.tables.lookup import of_trials
from analysis.tables.robust_networks import ORIGINAL, Network, answers, networks
from search_spaces.large_batch import COUNT, METHODS, SUBSET

Record = Mapping[Any, Any]

SECOND_ORDER = {"fhsm": "fgsm", "l2hess": "l2grad"}
"""Second-order attack -> the first-order one in the same norm (Table 5)."""

CLASSES = {"cifar100": 100}
"""Data set -> classes, where they are not ten."""

RELU_ONLY = ("m1", "m1_lenet", "c3")
"""Networks of convolutions, fully connected layers and ReLUs (Assumption 1; pooling is linear almost everywhere).
The others have batch normalisation, which the paper excludes (section 1, "Limitations")."""


# A network against another, seed by seed


class Reading(NamedTuple):
    """A measurement in the unit of the effect and on the linear scale; the attack's record, where it is of one."""

    value: float
    linear: float
    answer: Record | None = None
    converged: bool = True


Read = Callable[[Evidence, str | None, Record, Record], Reading | None]
"""(evidence, attack loss, a network's row, its M_ORI's row) -> what was measured; None where it was not asked."""


class SeedContrast(NamedTuple):
    """Is the `first` reading higher (`claimed` +1) or lower (-1) than the `second`?"""

    measure: str
    first: Read
    second: Read
    claimed: int
    delta: float
    unit: str = "points"
    part: str = ""
    images: str = ""
    uncounted: str = ""


def by_seed(contrasts: Callable[[Network], Iterable[SeedContrast]], *, attacked: bool) -> OverNetworks:
    """On every network of section 3.3: its contrasts, each decided by the differences of seeds."""

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in _networks(evidence, scope):
            for one in contrasts(network):
                yield _contrast(evidence, loss, network, one)

    return OverNetworks(walk, attacked)


def _networks(evidence: Evidence, scope: Scope) -> list[Network]:
    """The networks of section 3.3 on the data sets and models of the claim."""
    return [one for one in networks(evidence.table) if scope.study(one.dataset, one.model)]


def _contrast(evidence: Evidence, loss: str | None, network: Network, one: SeedContrast) -> Stratum:
    pairs = []
    for seed, run in network.runs.items():
        parent = network.parents.get(seed)
        if parent is None:
            continue
        if run["status"] != "ok" or parent["status"] != "ok":
            pairs.append((Reading(np.nan, np.nan), Reading(np.nan, np.nan)))
            continue
        first, second = one.first(evidence, loss, run, parent), one.second(evidence, loss, run, parent)
        pairs += [(first, second)] if first and second else []
    differences = np.array([(a.value - b.value, a.linear - b.linear) for a, b in pairs], dtype=float).reshape(-1, 2)
    finding = difference_by_seed(differences[:, 0], differences[:, 1], claimed=one.claimed, delta=one.delta)
    flags = [LEFT_OUT.get(flag, flag) for flag in _flags(network, pairs)]
    if flags and finding.verdict != "not run":
        finding = finding.undecided(f"{', '.join(flags)}; with them: {finding.verdict}")
    uncounted = f"; not counted: {one.uncounted}" if one.uncounted else ""
    return replace(
        worded(finding, "mean difference", one.unit),
        dataset=network.dataset,
        model=network.model,
        keys={"network": network.name},
        measure=one.measure,
        details={"images": one.images},
        part=one.part,
        reason=finding.reason + uncounted,
        protocol=network.protocol,
        closeness=network.closeness,
        counted=not one.uncounted,
    )


def _flags(network: Network, pairs: list[tuple[Reading, Reading]]) -> Iterator[str]:
    if not all(reading.converged for pair in pairs for reading in pair):
        yield NOT_CONVERGED
    arms = [[reading.answer for reading in arm if reading.answer] for arm in zip(*pairs, strict=True)]
    if arms and all(arm and _at_floor(arm) for arm in arms):
        yield "floor"  # two accuracies of nothing do not differ, whatever the networks learned
    shares = [answer["zero_grad_fraction"] for arm in arms for answer in arm]
    if any(share is not None and float(share) > ZERO_GRADIENT for share in shares):
        yield "suspect"
    clean = [float(run["test_acc"]) for run in network.runs.values() if run["status"] == "ok"]
    if clean and np.mean(clean) <= UNTRAINED:
        yield "untrained"


def _at_floor(arm: list[Record]) -> bool:
    correct, n = (sum(float(answer[name]) for answer in arm) for name in ("correct", "n"))
    return bool(clopper_pearson(correct, n).high < FLOOR)


def _clean(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
    accuracy, n = float(run["test_acc"]), float(run["test_size"])
    if not np.isfinite(accuracy):
        return None
    return Reading(100 * accuracy, float(logit_accuracy(round(accuracy * n), n)))


def _under(attack: str, images: str = "attacks") -> Read:
    """Accuracy under `attack`, its images made by the network's own weights, or by its M_ORI's ("transfers")."""

    def read(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
        frame: Any = images
        answer = answers(evidence.table, frame, loss=loss).get((run["trial_id"], attack))
        if answer is None:
            return None
        correct, n = float(answer["correct"]), float(answer["n"])
        return Reading(100 * correct / n, float(logit_accuracy(correct, n)), answer)

    return read


def _log2_lambda1(sample: str) -> Read:
    def read(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
        tops = evidence.table.once("top eigenvalues on training images", lambda: _top_eigenvalues(evidence))
        if (run["trial_id"], sample) not in tops:
            return None
        value, sure = tops[run["trial_id"], sample]
        log2 = float(np.log2(value)) if value > 0 else float("nan")
        return Reading(log2, log2, converged=sure)

    return read


def _of_parent(read: Read) -> Read:
    return lambda evidence, loss, run, parent: read(evidence, loss, parent, parent)


def _top_eigenvalues(evidence: Evidence) -> dict[tuple[str, str], tuple[float, bool]]:
    """(trial id, sample) -> largest eigenvalue of the training Hessian there, and whether it converged."""
    spectra = evidence.table.spectra
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    columns = ["trial_id", "train_size", "subset_size", "eigenvalues", "converged", "converged_each"]
    for entry in spectra.loc[spectra["split"] == "train", columns].to_dict("records"):
        sample = {int(entry["train_size"]): "whole", SUBSET: "subset"}.get(int(entry["subset_size"]))
        if sample and len(entry["eigenvalues"]):
            key = (str(entry["trial_id"]), sample)
            each = entry["converged_each"]
            sure = bool(entry["converged"]) or (each is not None and len(each) > 0 and bool(each[0]))
            found[key] = (float(max(entry["eigenvalues"])), sure or found.get(key, (0.0, False))[1])
    return found


def helps_against_every_attack(*, part: str) -> OverNetworks:
    """On the images that each attack made of M_ORI (Tables 3 and 4), is the child right more often than M_ORI?

    The same attacks on the child's own weights are shown, not counted: the tables transfer.
    """

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        for attack in METHODS if network.method != ORIGINAL else ():
            transfer = SeedContrast(
                f"against {attack}", _under(attack, "transfers"), _of_parent(_under(attack)), 1, ROBUST_DELTA, part=part
            )
            yield transfer
            why = "white-box, Tables 3 and 4 transfer"
            yield transfer._replace(first=_under(attack), images="white-box", uncounted=why)

    return by_seed(contrasts, attacked=True)


def costs_clean_accuracy(*, part: str) -> OverNetworks:
    """Is the child right less often than M_ORI on the clean test set?"""

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        if network.method != ORIGINAL:
            yield SeedContrast("clean", _clean, _of_parent(_clean), -1, clean_delta(network.dataset), part=part)

    return by_seed(contrasts, attacked=False)


def flattens() -> OverNetworks:
    """Is the training Hessian's top eigenvalue lower than M_ORI's?

    On the whole training set, and on the 320 images of B_H = 320 (the same ones for both networks).
    """

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        for sample, name in (("whole", "lambda1"), ("subset", f"lambda1 of {SUBSET} images")):
            if network.method != ORIGINAL:
                read = _log2_lambda1(sample)
                yield SeedContrast(name, read, _of_parent(read), -1, CURVATURE_DELTA, "doublings")

    return by_seed(contrasts, attacked=False)


def second_order_is_weaker() -> OverNetworks:
    """On one network of CIFAR-10, does it stay right more often under the second-order attack of a norm?

    Table 4: of children on the images made of M_ORI, of M_ORI on its own. "Weaker" is a direction and decides alone
    (delta 0): the table's own gaps go down to 1.1 points. White-box attacks on the children are shown, not counted.
    """

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        for second, first in SECOND_ORDER.items() if network.dataset == "cifar10" else ():
            images = "attacks" if network.method == ORIGINAL else "transfers"
            table = SeedContrast(f"{second} against {first}", _under(second, images), _under(first, images), 1, 0.0)
            yield table
            if network.method != ORIGINAL:
                yield table._replace(
                    first=_under(second), second=_under(first), images="white-box", uncounted="white-box"
                )

    return by_seed(contrasts, attacked=True)


FIRST_ORDER = ("fgsm", "fgsm10", "l2grad")
"""Adversarial trainings with an attack by the gradient alone."""


def _over_all_attacks(images: str) -> Read:
    """Mean accuracy under the five attacks ("MEAN of Adv" of Tables 3 and 4)."""

    def read(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
        found = [_under(attack, images)(evidence, loss, run, parent) for attack in METHODS]
        records = [one.answer for one in found if one and one.answer]
        if len(records) < len(METHODS):
            return None
        correct, n = (sum(float(record[name]) for record in records) for name in ("correct", "n"))
        blind = max((record["zero_grad_fraction"] or 0.0 for record in records), default=0.0)
        together = {"correct": correct, "n": n, "zero_grad_fraction": blind}
        return Reading(100 * correct / n, float(logit_accuracy(correct, n)), together)

    return read


def second_order_models_are_weaker() -> OverNetworks:
    """On CIFAR-10, is M_FHSM, and M_L2HESS, right less often than each child of a first-order attack, seed by seed?

    Mean accuracy over the five attacks on the images made of M_ORI (Table 4, "MEAN of Adv"); attacks on the networks'
    own weights are shown, not counted.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        here = [network for network in networks(evidence.table) if network.dataset == "cifar10"]
        pairs = [
            (one, other)
            for one in here
            for other in here
            if one.method in SECOND_ORDER and other.method in FIRST_ORDER
            if (one.model, one.closeness) == (other.model, other.closeness)
        ]
        for one, other in pairs:
            for images in ("transfers", "attacks"):
                read = _over_all_attacks(images)
                compared = SeedContrast(
                    f"mean over attacks, against {other.name}", read, _of_parent(read), -1, ROBUST_DELTA
                )
                if images == "attacks":
                    compared = compared._replace(images="white-box", uncounted="white-box, Table 4 transfers")
                yield _contrast(evidence, loss, replace(one, parents=other.runs), compared)

    return OverNetworks(walk, attacked=True)


def second_order_looks_well() -> OverNetworks:
    """On one network of MNIST, does FHSM leave fewer images right than FGSM?

    Our reading of "looks well": the paper gives no measure. The direction decides, on the images of Table 3.
    """

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        if network.dataset == "mnist":
            images = "attacks" if network.method == ORIGINAL else "transfers"
            yield SeedContrast("fhsm against fgsm", _under("fhsm", images), _under("fgsm", images), -1, 0.0)

    return by_seed(contrasts, attacked=True)


def close_on_a_subset(*, part: str) -> OverNetworks:
    """On MNIST, is the top eigenvalue of 320 training images within a factor of 2 of that of all of them?

    On every network of section 3.3, by two one-sided tests over seeds.
    """
    subset, whole = _log2_lambda1("subset"), _log2_lambda1("whole")

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in networks(evidence.table):
            if network.dataset != "mnist":
                continue
            ratios = []
            for run in network.runs.values():
                pair = subset(evidence, loss, run, run), whole(evidence, loss, run, run)
                if run["status"] != "ok":
                    ratios.append(float("nan"))
                elif pair[0] and pair[1]:
                    sure = pair[0].converged and pair[1].converged
                    ratios.append(pair[0].value - pair[1].value if sure else float("nan"))
            sample = Sample.of(np.ones(len(ratios)), np.arange(len(ratios)), ratios)
            found = no_difference(sample, delta=CURVATURE_DELTA, reach=AT_ONE_SIZE)
            yield replace(
                worded(found, f"{SUBSET} images against all", "doublings"),
                dataset=network.dataset,
                model=network.model,
                keys={"network": network.name},
                measure="lambda1",
                part=part,
                protocol=network.protocol,
                closeness=network.closeness,
            )

    return OverNetworks(walk)


# Counts


def saddle(*, part: str) -> OverNetworks:
    """Has M_ORI on MNIST converged to a saddle point: has each seed's spectrum on the whole training set a negative
    value among its top 20?

    Refuted where the top 20 of every seed are positive by more than their residuals.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in networks(evidence.table):
            if network.dataset != "mnist" or network.method != ORIGINAL:
                continue
            spectra = [s for s in _spectra(evidence, network) if s["subset_size"] == s["train_size"]]
            negative, positive = sum(map(_has_negative, spectra)), sum(map(_all_positive, spectra))
            verdict: Decision = "inconclusive"
            if spectra and len(spectra) in (negative, positive):
                verdict = "supported" if negative else "refuted"
            text = f"{negative} of {len(spectra)} full-data spectra with a negative eigenvalue, {positive} positive"
            p_supported, p_refuted = (float(verdict != wanted) for wanted in ("supported", "refuted"))
            found = Stratum(verdict, text, float(negative), p_supported=p_supported, p_refuted=p_refuted, text=text)
            yield replace(_with_enough_seeds(network, spectra, found), keys={"network": network.name}, part=part)

    return OverNetworks(walk)


def positive_spectrum(*, part: str) -> OverNetworks:
    """Are the top 20 eigenvalues of the whole training set's Hessian positive, of every network of section 3.3?

    One eigenvalue below zero by more than its residual refutes it.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in _networks(evidence, scope):
            spectra = [s for s in _spectra(evidence, network) if s["subset_size"] == s["train_size"]]
            negative = sum(_has_negative(s) for s in spectra)
            sure = sum(_all_positive(s) for s in spectra)
            verdict: Decision = "refuted" if negative else "inconclusive"
            if sure == len(spectra) and not negative:
                verdict = "supported"
            text = f"{sure} of {len(spectra)} full-data spectra positive, {negative} with a negative eigenvalue"
            against = float("nan") if verdict == "inconclusive" else float(not negative)
            found = Stratum(
                verdict, text, float(sure), p_supported=1 - against, p_refuted=against, part=part, text=text
            )
            yield replace(_with_enough_seeds(network, spectra, found), keys={"network": network.name})

    return OverNetworks(walk)


def negative_samples(*, part: str) -> OverNetworks:
    """Do most spectra of single samples have negative eigenvalues beside positive ones?

    One stratum a data set and model, over its networks, seeds and draws: "most" is an exact binomial test of their
    share against one half, with the Wilson interval beside it.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        places: dict[tuple[str, str], list[Network]] = {}
        for network in _networks(evidence, scope):
            places.setdefault((network.dataset, network.model), []).append(network)
        for members in places.values():
            run = [network for network in members if network.runs]
            spectra = [s for network in run for s in _spectra(evidence, network) if s["subset_size"] == 1]
            both = sum(_has_negative(s) and max(s["eigenvalues"]) > 0 for s in spectra)
            low, high, support, refute = 0.0, 1.0, 1.0, 1.0
            if spectra:
                low, high = stats.binomtest(both, len(spectra)).proportion_ci(method="wilson")
                support, refute = (
                    min(1.0, 2 * float(stats.binomtest(both, len(spectra), 0.5, alternative=side).pvalue))
                    for side in ("greater", "less")
                )
            verdict: Decision = "inconclusive"
            if min(support, refute) <= SIGNIFICANCE:
                verdict = "supported" if support < refute else "refuted"
            share = f"interval {low:.2f} to {high:.2f}"
            text = (
                f"{both} of {len(spectra)} single-sample spectra of {len(run)} networks have negative values ({share})"
            )
            found = Stratum(verdict, text, float(both), p_supported=support, p_refuted=refute, part=part, text=text)
            yield _with_enough_seeds(max(run or members, key=lambda n: len(n.runs)), spectra, found)

    return OverNetworks(walk)


def _with_enough_seeds(network: Network, spectra: Sequence[Record], found: Stratum) -> Stratum:
    """A count over the spectra of a network, undecided where its seeds are too few."""
    finished = [run for run in network.runs.values() if run["status"] == "ok"]
    seeds = {s["trial_id"] for s in spectra}
    if len(network.runs) < MIN_SEEDS or (len(finished) == len(network.runs) and len(seeds) < MIN_SEEDS):
        found = found.undecided(f"spectra of {len(seeds)} seeds; needs {MIN_SEEDS}", "not run")
    elif len(finished) < MIN_FINITE_SHARE * len(network.runs) - 1e-12 or len(seeds) < MIN_FINITE_SHARE * len(finished):
        found = found.undecided(f"{len(network.runs) - len(finished)} of {len(network.runs)} seeds diverged")
    return replace(
        found,
        effect=found.effect if spectra else float("nan"),
        dataset=network.dataset,
        model=network.model,
        unit="spectra",
        protocol=network.protocol,
        closeness=network.closeness,
    )


def _spectra(evidence: Evidence, network: Network) -> list[dict[Any, Any]]:
    """Its spectra of 20 eigenvalues (fewer where the sample has no more) on training images."""
    if not network.runs:
        return []
    columns = ("trial_id", "split", "subset_size", "train_size", "draw", "eigenvalues", "residuals", "tolerance",
               "converged", "converged_each")  # fmt: skip
    trials = (str(run["trial_id"]) for run in network.runs.values())
    found = of_trials(evidence.table, "spectra", *trials, columns=columns)
    draws = found[found["split"] == "train"].assign(draw=found["draw"].fillna(0))
    records = [s for s in draws.to_dict("records") if len(s["eigenvalues"]) >= COUNT]
    return list({(s["trial_id"], s["subset_size"], s["draw"]): s for s in records}.values())


def _signed(spectrum: Record) -> Iterator[tuple[float, float, bool]]:
    """(eigenvalue, its error, whether it converged), largest first."""
    values = np.asarray(spectrum["eigenvalues"], dtype=float)
    residuals = spectrum["residuals"]
    known = isinstance(residuals, list | np.ndarray) and len(residuals) == len(values)
    error = np.abs(np.asarray(residuals, dtype=float) if known else np.full(len(values), float(spectrum["tolerance"])))
    scale = float(np.abs(values).max())
    for rank, k in enumerate(np.argsort(-values, kind="stable")):
        yield float(values[k]), float(error[k]) * scale, converged(spectrum, rank)


def _has_negative(spectrum: Record) -> bool:
    return any(value < -error and sure for value, error, sure in _signed(spectrum))


def _all_positive(spectrum: Record) -> bool:
    return all(value > error and sure for value, error, sure in _signed(spectrum))


def input_hessians() -> OverNetworks:
    """Is every input Hessian positive semidefinite to rounding, and its rank at most the number of classes?

    A numeric check of a theorem: each network is one, so a single seed counts; one failure refutes it.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        trials = evidence.table.trials
        for study in scope.studies:
            asked = (trials["dataset"] == study.dataset) & (trials["model"] == study.model)
            relu = study.model in RELU_ONLY
            found = _input_hessian(study.dataset, trials[asked], relu=relu)
            yield replace(found, dataset=study.dataset, model=study.model, counted=relu)

    return OverNetworks(walk)


def _input_hessian(dataset: str, trials: pd.DataFrame, *, relu: bool) -> Stratum:
    classes = CLASSES.get(dataset, 10)
    checked = trials[trials["psd_violation"].notna() & trials["rank_max"].notna()]
    if not len(checked):
        return Stratum("not run", "no network's input Hessian was checked")
    worst, rank = float(checked["psd_violation"].max()), int(checked["rank_max"].max())
    failing = int(((checked["psd_violation"] > PSD_TOLERANCE) | (checked["rank_max"] > classes)).sum())
    text = (
        f"{len(checked) - failing} of {len(checked)} networks: largest −λmin / λmax {worst:.1g} "
        f"(at most {PSD_TOLERANCE:g} is rounding), largest rank {rank} of at most {classes}"
    )
    return Stratum(
        "refuted" if failing else "supported",
        text if relu else f"{text}; not counted: batch normalisation is outside Assumption 1",
        effect=worst,
        p_supported=0.0,
        p_refuted=0.0 if failing else 1.0,
        unit="relative eigenvalue",
        text=text,
        protocol=f"{len(checked)} networks, epochs {', '.join(sorted({f'{e:,}' for e in checked['epochs']}))}",
    )
