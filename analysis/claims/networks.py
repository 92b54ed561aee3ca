"""Tests on the networks of Yao et al. 2018, sections 3.3 and 3.4: M_ORI, and what adversarial training makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from analysis.claims.claim_tests import OverNetworks, no_losses, worded
from analysis.claims.curves import Evidence, Scope
from analysis.claims.measures import LEFT_OUT, NOT_CONVERGED, NOT_POSITIVE, clean_delta, training_spectra
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import AT_ONE_SIZE, Decision, Sample
from analysis.statistics.intervals import at_floor, logit_accuracy
from analysis.statistics.multiplicity import simes
from analysis.statistics.sample_tests import contrast, no_difference, paired_difference
from analysis.statistics.thresholds import (
    CURVATURE_DELTA,
    CURVATURE_STEP,
    ROBUST_DELTA,
    SIGNIFICANCE,
    ZERO_GRADIENT,
    untrained_accuracy,
)
from analysis.tables.robust_networks import ORIGINAL, Network, answers, networks, printed_name
from search_spaces.large_batch import COUNT, METHODS, SUBSET
from search_spaces.probe import LOSSES

Record = Mapping[Any, Any]

SECOND_ORDER = {"fhsm": "fgsm", "l2hess": "l2grad"}
"""Second-order attack -> the first-order one in the same norm (Table 5)."""


class Reading(NamedTuple):
    """A measurement in the unit of the effect and on the linear scale, with the least `step` between two of them; the
    attack's record, where it is of one; why it cannot be used, where it cannot.
    """

    value: float
    linear: float
    step: float = 0.0
    answer: Record | None = None
    flag: str = ""


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


Pairs = Callable[[Evidence, Scope], Iterable[tuple[Network, SeedContrast]]]
"""The networks to compare, each with a contrast."""


def by_seed(contrasts: Callable[[Network], Iterable[SeedContrast]], *, attacked: bool) -> OverNetworks:
    """On every network of section 3.3: its contrasts, each decided by the differences of seeds."""

    def pairs(evidence: Evidence, scope: Scope) -> Iterator[tuple[Network, SeedContrast]]:
        for network in papers_networks(evidence, scope):
            for one in contrasts(network):
                yield network, one

    return decided_by_seed(pairs, attacked=attacked)


def decided_by_seed(pairs: Pairs, *, attacked: bool) -> OverNetworks:
    """These contrasts; the two losses are compared on what is attacked in them."""

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network, one in pairs(evidence, scope):
            yield _contrast(evidence, loss, network, one)

    def losses(evidence: Evidence, scope: Scope) -> Iterator[Stratum]:
        for network, one in pairs(evidence, scope):
            for read in (one.first, one.second):
                first, second = (_on(loss, read) for loss in LOSSES)
                between = one._replace(first=first, second=second, claimed=1, delta=ROBUST_DELTA)
                yield _contrast(evidence, None, network, between)

    return OverNetworks(walk, attacked, losses if attacked else no_losses)


def _on(fixed: str, read: Read) -> Read:
    """`read` on this attack loss, whichever is asked for."""
    return lambda evidence, loss, run, parent: read(evidence, fixed, run, parent)


def papers_networks(evidence: Evidence, scope: Scope) -> list[Network]:
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
    arms = (_sample([pair[place] for pair in pairs], one.unit) for place in (1, 0))
    finding = contrast(paired_difference(*arms), claimed=one.claimed, delta=one.delta, reach=AT_ONE_SIZE)
    flags = [LEFT_OUT.get(flag, flag) for flag in _flags(network, pairs)]
    if flags and finding.verdict != "not run":
        finding = finding.undecided(f"{', '.join(flags)}; with them: {finding.verdict}")
    return replace(
        worded(finding, "mean difference", one.unit),
        dataset=network.dataset,
        model=network.model,
        keys={"network": network.name},
        measure=one.measure,
        part=one.part,
        protocol=network.protocol,
        closeness=network.closeness,
        study=network.family,
    )


def _sample(readings: Sequence[Reading], unit: str) -> Sample:
    """The readings as those of one batch size, in the order of the seeds."""
    return Sample.of(
        np.ones(len(readings)),
        np.arange(len(readings)),
        [reading.value for reading in readings],
        [reading.linear for reading in readings],
        percent=unit == "points",
        rounding=max((reading.step for reading in readings), default=0.0),
    )


def _flags(network: Network, pairs: list[tuple[Reading, Reading]]) -> Iterator[str]:
    yield from dict.fromkeys(reading.flag for pair in pairs for reading in pair if reading.flag)
    arms = [[reading.answer for reading in arm if reading.answer] for arm in zip(*pairs, strict=True)]
    if arms and all(arm and _at_floor(arm) for arm in arms):
        yield "floor"  # two accuracies of nothing do not differ, whatever the networks learned
    shares = [answer["zero_grad_fraction"] for arm in arms for answer in arm]
    if any(share is not None and float(share) > ZERO_GRADIENT for share in shares):
        yield "suspect"
    trained = [run for run in network.runs.values() if run["status"] == "ok"]
    if trained and np.mean([run["test_acc"] for run in trained]) <= untrained_accuracy(trained[0]["num_classes"]):
        yield "untrained"


def _at_floor(arm: list[Record]) -> bool:
    correct, n = (sum(float(answer[name]) for answer in arm) for name in ("correct", "n"))
    return bool(at_floor(correct, n))


def _clean(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
    accuracy, n = float(run["test_acc"]), float(run["test_size"])
    if not np.isfinite(accuracy):
        return None
    return Reading(100 * accuracy, float(logit_accuracy(round(accuracy * n), n)), 100 / n)


def _under(attack: str, images: str = "attacks") -> Read:
    """Accuracy under `attack`, its images made by the network's own weights, or by its M_ORI's ("transfers")."""

    def read(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
        frame: Any = images
        answer = answers(evidence.table, frame, loss=loss).get((run["trial_id"], attack))
        if answer is None:
            return None
        correct, n = float(answer["correct"]), float(answer["n"])
        return Reading(100 * correct / n, float(logit_accuracy(correct, n)), 100 / n, answer)

    return read


def _log2_eigenvalue(sample: str, rank: int = 1) -> Read:
    """log2 of the `rank`-th largest eigenvalue on the `sample` of training images, "whole" or "subset"."""

    def read(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
        size = SUBSET if sample == "subset" else int(run["train_size"])
        found = training_spectra(evidence.table).get(str(run["trial_id"]), {})
        spectrum = found.get((size, 0), {"ordered": []})["ordered"]
        if len(spectrum) < rank:
            return None
        value, sure = spectrum[rank - 1]
        if not value > 0:
            return Reading(float("nan"), float("nan"), flag=NOT_POSITIVE)
        log2 = float(np.log2(value))
        return Reading(log2, log2, CURVATURE_STEP, flag="" if sure else NOT_CONVERGED)

    return read


def _of_parent(read: Read) -> Read:
    return lambda evidence, loss, run, parent: read(evidence, loss, parent, parent)


def helps_against_every_attack(*, part: str) -> OverNetworks:
    """On the images that each attack made of M_ORI (Tables 3 and 4), is the child right more often than M_ORI?"""

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        for attack in METHODS if network.method != ORIGINAL else ():
            first, second = _under(attack, "transfers"), _of_parent(_under(attack))
            yield SeedContrast(f"against {attack}", first, second, 1, ROBUST_DELTA, part=part)

    return by_seed(contrasts, attacked=True)


def costs_clean_accuracy(*, part: str) -> OverNetworks:
    """Is the child right less often than M_ORI on the clean test set?"""

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        if network.method != ORIGINAL:
            # Table 3 prints losses of .4 and .6 points on MNIST: the direction decides there
            delta = 0.0 if network.dataset == "mnist" else clean_delta(network.dataset)
            yield SeedContrast("clean", _clean, _of_parent(_clean), -1, delta, part=part)

    return by_seed(contrasts, attacked=False)


def flattens() -> OverNetworks:
    """Is each of the top 20 eigenvalues of the training Hessian lower than M_ORI's?

    On the whole training set, and on the 320 images of B_H = 320 (the same ones for both networks). A network is one
    stratum: supported where each of its eigenvalues is lower (p: the largest of 20), refuted by Simes' p of the 20,
    which rise and fall together.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in papers_networks(evidence, scope):
            for sample, name in (("whole", "spectrum"), ("subset", f"spectrum of {SUBSET} images")):
                if network.method != ORIGINAL:
                    yield _of_each([_lower(evidence, network, sample, rank) for rank in range(1, COUNT + 1)], name)

    return OverNetworks(walk)


def _lower(evidence: Evidence, network: Network, sample: str, rank: int) -> Stratum:
    read = _log2_eigenvalue(sample, rank)
    contrast = SeedContrast(f"eigenvalue {rank}", read, _of_parent(read), -1, CURVATURE_DELTA, "doublings")
    return _contrast(evidence, None, network, contrast)


def _of_each(strata: Sequence[Stratum], measure: str) -> Stratum:
    """One stratum of these, which must all hold."""
    refuting = [s for s in strata if s.verdict == "refuted"]
    undecided = [s for s in strata if s.verdict != "supported"]
    p = max(s.p_supported for s in strata) if not undecided else float("nan")
    against = simes([s.p_refuted if s in refuting else 1.0 for s in strata])
    verdict: Decision = "inconclusive"
    if against <= SIGNIFICANCE:
        shown, verdict = min(refuting, key=lambda s: s.p_refuted), "refuted"
    elif not undecided:
        shown, verdict = max(strata, key=lambda s: s.p), "supported"
    else:
        shown = next((s for s in strata if s.verdict == "not run"), undecided[0])
        verdict = "not run" if shown.verdict == "not run" else verdict
    return replace(
        shown,
        verdict=verdict,
        reason=f"{shown.measure}: {shown.reason}",
        text=f"{shown.measure}, {shown.text}",
        measure=measure,
        p_supported=p,
        p_refuted=against,
    )


def second_order_is_weaker() -> OverNetworks:
    """On one network of CIFAR-10, does it stay right more often under the second-order attack of a norm?

    Table 4: of children on the images made of M_ORI, of M_ORI on its own. "Weaker" is a direction and decides alone
    (delta 0): the table's own gaps go down to 1.1 points.
    """

    def contrasts(network: Network) -> Iterator[SeedContrast]:
        for second, first in SECOND_ORDER.items() if network.dataset == "cifar10" else ():
            images = "attacks" if network.method == ORIGINAL else "transfers"
            yield SeedContrast(f"{second} against {first}", _under(second, images), _under(first, images), 1, 0.0)

    return by_seed(contrasts, attacked=True)


FIRST_ORDER = ("fgsm", "fgsm10", "l2grad")
"""Adversarial trainings with an attack by the gradient alone."""


def _over_all_attacks(evidence: Evidence, loss: str | None, run: Record, parent: Record) -> Reading | None:
    """Mean accuracy on the images that the five attacks made of M_ORI ("MEAN of Adv" of Tables 3 and 4)."""
    found = [_under(attack, "transfers")(evidence, loss, run, parent) for attack in METHODS]
    records = [one.answer for one in found if one and one.answer]
    if len(records) < len(METHODS):
        return None
    correct, n = (sum(float(record[name]) for record in records) for name in ("correct", "n"))
    blind = max(record["zero_grad_fraction"] or 0.0 for record in records)
    together = {"correct": correct, "n": n, "zero_grad_fraction": blind}
    return Reading(100 * correct / n, float(logit_accuracy(correct, n)), 100 / n, together)


def second_order_models_are_weaker() -> OverNetworks:
    """On CIFAR-10, is M_FHSM, and M_L2HESS, right less often than each child of a first-order attack, seed by seed?

    Mean accuracy over the five attacks on the images made of M_ORI (Table 4, "MEAN of Adv").
    """

    def pairs(evidence: Evidence, scope: Scope) -> Iterator[tuple[Network, SeedContrast]]:
        here = [network for network in networks(evidence.table) if network.dataset == "cifar10"]
        runs = {(network.method, network.family): network.runs for network in here}
        first, second = _over_all_attacks, _of_parent(_over_all_attacks)
        for one, method in product(here, FIRST_ORDER):
            if one.method in SECOND_ORDER:
                against = f"mean over attacks, against {printed_name(method)}"
                compared = SeedContrast(against, first, second, -1, ROBUST_DELTA)
                yield replace(one, parents=runs.get((method, one.family), {})), compared

    return decided_by_seed(pairs, attacked=True)


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
    subset, whole = _log2_eigenvalue("subset"), _log2_eigenvalue("whole")

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        for network in networks(evidence.table):
            if network.dataset != "mnist":
                continue
            ratios, flags = [], []
            for run in network.runs.values():
                pair = subset(evidence, loss, run, run), whole(evidence, loss, run, run)
                if run["status"] != "ok":
                    ratios.append(float("nan"))
                elif pair[0] and pair[1]:
                    flag = pair[0].flag or pair[1].flag
                    flags += [flag] if flag else []
                    ratios += [] if flag else [pair[0].value - pair[1].value]
            sample = Sample.of(np.ones(len(ratios)), np.arange(len(ratios)), ratios, rounding=CURVATURE_STEP)
            found = no_difference(sample, delta=CURVATURE_DELTA, reach=AT_ONE_SIZE)
            if flags:
                reason = f"{', '.join(dict.fromkeys(flags))}: {len(flags)} of {len(network.runs)} seeds left out"
                few = found.verdict == "not run"
                found = found.undecided(reason) if few else replace(found, reason=f"{found.reason}; {reason}")
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
