"""Tests on the signs of eigenvalues (Yao et al. 2018, sections 2 and 3.3): counts over spectra and input Hessians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.claim_tests import OverNetworks
from analysis.claims.curves import Evidence, Scope
from analysis.claims.measures import converged, training_spectra
from analysis.claims.networks import Record, papers_networks
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Decision
from analysis.statistics.thresholds import MIN_SEEDS, PSD_TOLERANCE, SIGNIFICANCE, few_diverged
from analysis.tables.robust_networks import ORIGINAL, Network, networks
from search_spaces.large_batch import COUNT

RELU_ONLY = ("m1", "m1_lenet", "c3")
"""Networks of convolutions, fully connected layers and ReLUs (Assumption 1; pooling is linear almost everywhere).
The others have batch normalisation, which the paper excludes (section 1, "Limitations")."""


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
        for network in papers_networks(evidence, scope):
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
    """Do most single samples give spectra with negative eigenvalues beside positive ones?

    One stratum a data set and model. The networks of a seed see the same images (`study.trials.probes` draws them by
    seed), so a seed has one value: whether most of its spectra are so. "Most" is an exact binomial test over seeds of
    their share against one half, with its exact interval beside it, which takes six seeds that agree; a seed whose
    spectra are divided equally counts for neither side.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        places: dict[tuple[str, str], list[Network]] = {}
        for network in papers_networks(evidence, scope):
            places.setdefault((network.dataset, network.model), []).append(network)
        for members in places.values():
            run = [network for network in members if network.runs]
            spectra = [s for network in run for s in _spectra(evidence, network) if s["subset_size"] == 1]
            seed_of = {str(row["trial_id"]): seed for network in run for seed, row in network.runs.items()}
            most: dict[int, int] = {}  # of each seed: how many more spectra are as claimed than are not
            for s in spectra:
                both = _has_negative(s) and max(s["eigenvalues"]) > 0
                seed = seed_of[str(s["trial_id"])]
                most[seed] = most.get(seed, 0) + (1 if both else -1)
            found = replace(_most_are_mixed(list(most.values())), part=part)
            yield _with_enough_seeds(max(run or members, key=lambda n: len(n.runs)), spectra, found)

    return OverNetworks(walk)


def _most_are_mixed(most: Sequence[int]) -> Stratum:
    """What the seeds say, each by how many more of its spectra have both signs than have not."""
    mixed, alike = sum(one > 0 for one in most), sum(one < 0 for one in most)
    low, high, support, refute = 0.0, 1.0, 1.0, 1.0
    if most:
        low, high = stats.binomtest(mixed, len(most)).proportion_ci()
        support, refute = (
            min(1.0, 2 * float(stats.binomtest(count, len(most), 0.5, alternative="greater").pvalue))
            for count in (mixed, alike)
        )
    verdict: Decision = "inconclusive"
    if min(support, refute) <= SIGNIFICANCE:
        verdict = "supported" if support < refute else "refuted"
    text = (
        f"in {mixed} of {len(most)} seeds most spectra of single samples have negative eigenvalues "
        f"(interval {low:.2f} to {high:.2f})"
    )
    return Stratum(verdict, text, float(mixed), p_supported=support, p_refuted=refute, text=text)


def _with_enough_seeds(network: Network, spectra: Sequence[Record], found: Stratum) -> Stratum:
    """A count over the spectra of a network, undecided where its seeds are too few."""
    run, seeds = len(network.runs), len({s["trial_id"] for s in spectra})
    diverged = sum(one["status"] != "ok" for one in network.runs.values())
    if run >= MIN_SEEDS and not few_diverged(run - diverged, diverged):
        found = found.undecided(f"{diverged} of {run} seeds diverged")
    elif min(run, seeds) < MIN_SEEDS:
        few: Decision = "inconclusive" if diverged and run >= MIN_SEEDS else "not run"
        found = found.undecided(f"spectra of {min(run, seeds)} seeds; needs {MIN_SEEDS}", few)
    return replace(
        found,
        effect=found.effect if spectra else float("nan"),
        dataset=network.dataset,
        model=network.model,
        unit="spectra",
        protocol=network.protocol,
        closeness=network.closeness,
    )


def _spectra(evidence: Evidence, network: Network) -> list[Record]:
    """Its spectra of 20 eigenvalues and more on training images."""
    spectra = training_spectra(evidence.table)
    mine = (spectra.get(str(run["trial_id"]), {}).values() for run in network.runs.values())
    return [spectrum for of_run in mine for spectrum in of_run if len(spectrum["eigenvalues"]) >= COUNT]


def _signed(spectrum: Record) -> Iterator[tuple[float, float, bool]]:
    """(eigenvalue, its error, whether it converged), largest first."""
    values = np.asarray(spectrum["eigenvalues"], dtype=float)
    error = np.abs(np.asarray(spectrum["residuals"], dtype=float))
    scale = float(np.abs(values).max())
    for rank, k in enumerate(np.argsort(-values, kind="stable")):
        yield float(values[k]), float(error[k]) * scale, converged(spectrum, rank)


def _has_negative(spectrum: Record) -> bool:
    return any(value < -error and sure for value, error, sure in _signed(spectrum))


def _all_positive(spectrum: Record) -> bool:
    return all(value > error and sure for value, error, sure in _signed(spectrum))


def input_hessians() -> OverNetworks:
    """Is every ReLU network's input Hessian positive semidefinite to rounding, and its rank at most the number of
    classes?

    A numeric check of a theorem: each network is one, so a single seed counts; one failure refutes it.
    """

    def walk(evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Stratum]:
        trials = evidence.table.trials
        for study in scope.studies:
            if study.model in RELU_ONLY:
                asked = (trials["dataset"] == study.dataset) & (trials["model"] == study.model)
                yield replace(_input_hessian(trials[asked]), dataset=study.dataset, model=study.model)

    return OverNetworks(walk)


def _input_hessian(trials: pd.DataFrame) -> Stratum:
    checked = trials[trials["psd_violation"].notna() & trials["rank_max"].notna()]
    if not len(checked):
        return Stratum("not run", "no network's input Hessian was checked")
    worst, rank = float(checked["psd_violation"].max()), int(checked["rank_max"].max())
    classes = checked["num_classes"]
    failing = int(((checked["psd_violation"] > PSD_TOLERANCE) | (checked["rank_max"] > classes)).sum())
    text = (
        f"{len(checked) - failing} of {len(checked)} networks: largest −λmin / λmax {worst:.1g} "
        f"(at most {PSD_TOLERANCE:g} is rounding), largest rank {rank} of at most {classes.max()}"
    )
    return Stratum(
        "refuted" if failing else "supported",
        text,
        effect=worst,
        p_supported=0.0,
        p_refuted=0.0 if failing else 1.0,
        unit="relative eigenvalue",
        text=text,
        protocol=f"{len(checked)} networks, epochs {', '.join(sorted({f'{e:,}' for e in checked['epochs']}))}",
    )
