"""Probes asked of a trained model: from the questions of a plan to the entries of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from search_spaces import (
    HEADLINE_ATTACKS,
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Probe,
    SpectrumProbe,
    headline_epsilon,
)
from study.attacks import ATTACKS
from study.attacks.evaluate import attack_split, measure_clean_gradient
from study.curvature import check_input_hessian, input_curvature, top_eigenvalues
from study.results.schema import Row
from study.training import streams
from study.trials import landscapes
from study.trials.probed_network import Answers, Asked


def answer(asked: Asked, probes: Iterable[Probe], on_answer: Callable[[int], None] = lambda number: None) -> Answers:
    """Answer `probes` in a fixed order; `on_answer` is told how many are answered, after each.

    Every probe draws from a stream named by what it asks, so an answer does not depend on the others asked with it.
    Both losses of an attack share one random start: they differ by the loss alone.
    """
    answers = Answers()
    for number, probe in enumerate(sorted(probes, key=lambda probe: tuple(map(str, probe.key))), 1):
        ANSWERS[type(probe)](asked, probe, answers)
        on_answer(number)
    return answers


def _attack(asked: Asked, probe: AttackProbe, answers: Answers) -> None:
    x, y = asked.splits[probe.split]
    source = asked.source(probe.source)
    shared = (probe.source, probe.split, probe.loss)
    if shared not in asked.clean:
        asked.clean[shared] = measure_clean_gradient(source, x, y, loss=probe.loss)
    result = attack_split(
        asked.model,
        x,
        y,
        attack=probe.attack,
        loss=probe.loss,
        epsilon=probe.epsilon,
        generator=streams.generator(asked.seed, "attack", probe.attack, probe.split, probe.epsilon),
        clean_gradient=asked.clean[shared],
        source=None if source is asked.model else source,
        settings=_settings(probe),
    )
    answers.add("attacks", {"split": probe.split, "source": probe.source, **asdict(result)})


def _settings(probe: AttackProbe) -> dict[str, float]:
    """Those of the probe's settings that its attack takes."""
    attack = ATTACKS.get(probe.attack)
    return {name: getattr(probe, name) for name in attack.settings} if attack else {}


def _spectrum(asked: Asked, probe: SpectrumProbe, answers: Answers) -> None:
    x, y = asked.splits[probe.split]
    draw = (probe.draw,) if probe.draw else ()
    result = top_eigenvalues(
        asked.model,
        x,
        y,
        count=probe.count,
        method=probe.method,
        tolerance=probe.tolerance,
        subset_size=None if probe.subset_size == len(y) else probe.subset_size,
        generator=streams.generator(asked.seed, "spectrum", probe.split, probe.subset_size, *draw),
    )
    answers.add("spectra", {"split": probe.split, "draw": probe.draw, **asdict(result)})


def _input_curvature(asked: Asked, probe: InputCurvatureProbe, answers: Answers) -> None:
    found = input_curvature(asked.model, *asked.splits[probe.split])
    answers.columns[f"lambda1_x_{probe.split}"] = found.mean_lambda1
    answers.columns[f"grad_x_norm_{probe.split}"] = found.mean_gradient_norm
    answers.arrays[f"lambda1_x_{probe.split}"] = found.lambda1.cpu().numpy().astype(np.float32)
    answers.arrays[f"grad_x_norm_{probe.split}"] = found.gradient_norm.cpu().numpy().astype(np.float32)


def _input_hessian(asked: Asked, probe: InputHessianProbe, answers: Answers) -> None:
    x, y = asked.splits["test"]
    found = check_input_hessian(asked.model, x[: probe.samples], y[: probe.samples])
    answers.columns |= {"psd_violation": found.psd_violation, "rank_max": found.rank_max}


def _landscape(asked: Asked, probe: LandscapeProbe, answers: Answers) -> None:
    entry, arrays = landscapes.measure(asked, probe)
    answers.add("landscapes", entry)
    answers.arrays |= arrays


ANSWERS: Mapping[type, Callable[[Asked, Any, Answers], None]] = {
    AttackProbe: _attack,
    SpectrumProbe: _spectrum,
    InputCurvatureProbe: _input_curvature,
    InputHessianProbe: _input_hessian,
    LandscapeProbe: _landscape,
}
"""What answers each kind of probe. A new kind is one class in search_spaces, one function and one line here."""


def headline(row: Row) -> dict[str, float]:
    """The headline columns that a row's attacks and spectra give, at the headline epsilon of those asked."""
    own = [a for a in row["attacks"] or () if a["split"] == "test" and (a.get("source") or "self") == "self"]
    attacks = [attack for attack in own if attack["attack"] in HEADLINE_ATTACKS]
    epsilon = headline_epsilon(row["dataset"], (attack["epsilon"] for attack in attacks))
    columns: dict[str, float] = {} if epsilon is None else {"headline_epsilon": epsilon}
    for attack in attacks:
        if attack["epsilon"] == epsilon:
            suffix = "_stable" if attack["loss"] == "stable" else ""
            columns[f"{attack['attack']}_acc{suffix}"] = attack["accuracy"]
    for spectrum in sorted(row["spectra"] or (), key=lambda spectrum: -len(spectrum["eigenvalues"])):
        if spectrum["subset_size"] == row[f"{spectrum['split']}_size"] and spectrum["method"] == "lanczos":
            columns[f"lambda1_{spectrum['split']}"] = spectrum["eigenvalues"][0]
    return columns
