"""Probes of a trained network: from a plan's questions to the entries, columns and arrays of a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Probe,
    SharpnessProbe,
    SpectrumProbe,
)
from study.attacks.evaluate import CleanGradient, attack_split, measure_clean_gradient
from study.attacks.minimal_epsilon import minimal_epsilon
from study.curvature import (
    SharpnessSettings,
    check_input_hessian,
    draw_subset,
    input_curvature,
    measure_sharpness,
    top_eigenvalues,
)
from study.curvature.landscape import INTERPOLATION_FRACTIONS, LINE_OFFSETS, PLANE_OFFSETS, interpolation, line, plane
from study.training import streams
from study.training.gpu_memory import forget, out_of_gpu_memory

LANDSCAPE_DIRECTIONS = 2
"""Eigenvectors that are computed for a Hessian: a line needs the first, a plane both."""

DIRECTION_TOLERANCE = 2e-3
"""Relative residual of these eigenvectors: smaller than that of lambda1, because a direction's error is larger."""

Split = tuple[Tensor, Tensor]


@dataclass
class ProbedNetwork:
    """A trained network in eval mode, the data to probe it on, and intermediate results that probes share.

    `memory_fraction` is the trial's share of the device's free memory, for the Hessian's products.
    """

    model: nn.Module
    splits: Mapping[str, Split]
    seed: int
    parent: nn.Module | None = None
    memory_fraction: float = 1.0
    clean_gradients: dict[tuple[str, str, str], CleanGradient] = field(default_factory=dict)
    eigenvectors: dict[int, Sequence[Tensor]] = field(default_factory=dict)

    def source(self, name: str) -> nn.Module:
        """The network "self" or "parent".

        Raises:
            ValueError: the trial has no parent.
        """
        if name == "self":
            return self.model
        if self.parent is None:
            raise ValueError("a probe asks for the parent's weights, but this trial has no parent")
        return self.parent


@dataclass
class ProbeResults:
    """Answers of one trial's probes: entries of list columns, scalar columns, and arrays stored beside the row.

    `failures` holds the probes that could not be answered, with their errors.
    """

    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    columns: dict[str, float | int | list[float]] = field(default_factory=dict)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    failures: list[tuple[Probe, Exception]] = field(default_factory=list)

    def add(self, column: str, entry: dict[str, Any]) -> None:
        """Append an entry to a list column."""
        self.lists.setdefault(column, []).append(entry)


def run_probes(network: ProbedNetwork, probes: Iterable[Probe], results: ProbeResults) -> Iterator[int]:
    """Answer the probes in a fixed order, into `results`; yields the number of answers after each.

    Every probe draws from a random stream named by its settings, so its answer does not depend on the other probes.
    Both losses of an attack share one random start: they differ by the loss alone. Random starts are drawn on the
    attacking device, so CPU and GPU starts differ. If a probe fails, its error is added to `failures` and the others
    still run. Errors that a retry may mend are raised: those of the storage, and of the memory of a shared GPU.
    """
    for number, probe in enumerate(sorted(probes, key=lambda probe: tuple(map(str, probe.key))), 1):
        try:
            PROBES[type(probe)](network, probe, results)
        except Exception as error:
            if isinstance(error, OSError) or (out_of_gpu_memory(error) and network.memory_fraction < 1):
                raise
            forget(error)
            results.failures.append((probe, error))
        yield number


def _attack(network: ProbedNetwork, probe: AttackProbe, results: ProbeResults) -> None:
    x, y = network.splits[probe.split]
    source = network.source(probe.source)
    shared = (probe.source, probe.split, probe.loss)
    if shared not in network.clean_gradients:
        network.clean_gradients[shared] = measure_clean_gradient(source, x, y, loss=probe.loss)
    result = attack_split(
        network.model,
        x,
        y,
        attack=probe.attack,
        loss=probe.loss,
        epsilon=probe.epsilon,
        generator=streams.generator(network.seed, "attack", probe.attack, probe.split, probe.epsilon, device=x.device),
        clean_gradient=network.clean_gradients[shared],
        source=None if source is network.model else source,
        settings=probe.settings,
    )
    results.add("attacks", {"split": probe.split, "source": probe.source, **asdict(result)})


def _spectrum(network: ProbedNetwork, probe: SpectrumProbe, results: ProbeResults) -> None:
    x, y = network.splits[probe.split]
    draw = (probe.draw,) if probe.draw else ()
    started = time.perf_counter()
    found = top_eigenvalues(
        network.model,
        x,
        y,
        count=probe.count,
        tolerance=probe.tolerance,
        subset_size=None if probe.subset_size == len(y) else probe.subset_size,
        generator=streams.generator(network.seed, "spectrum", probe.split, probe.subset_size, *draw),
        memory_fraction=network.memory_fraction,
    )
    entry = {
        "split": probe.split,
        "draw": probe.draw,
        "subset_size": probe.subset_size,
        "eigenvalues": found.eigenvalues,
        "residuals": found.residuals,
        "method": "lanczos",
        "tolerance": found.tolerance,
        "matvecs": found.matvecs,
        "converged": found.converged,
        "converged_each": found.converged_each,
        "seconds": time.perf_counter() - started,
    }
    results.add("spectra", entry)


def _input_curvature(network: ProbedNetwork, probe: InputCurvatureProbe, results: ProbeResults) -> None:
    found = input_curvature(network.model, *network.splits[probe.split])
    results.columns[f"lambda1_x_{probe.split}"] = found.mean_lambda1
    results.columns[f"grad_x_norm_{probe.split}"] = found.mean_gradient_norm
    results.arrays[f"lambda1_x_{probe.split}"] = found.lambda1.cpu().numpy().astype(np.float32)
    results.arrays[f"grad_x_norm_{probe.split}"] = found.gradient_norm.cpu().numpy().astype(np.float32)


def _input_hessian(network: ProbedNetwork, probe: InputHessianProbe, results: ProbeResults) -> None:
    x, y = network.splits["test"]
    found = check_input_hessian(network.model, x[: probe.samples], y[: probe.samples])
    results.columns |= {"psd_violation": found.psd_violation, "rank_max": found.rank_max}


def _minimal_epsilon(network: ProbedNetwork, probe: MinimalEpsilonProbe, results: ProbeResults) -> None:
    found = minimal_epsilon(network.model, *network.splits["test"]).numpy()
    results.columns |= {
        "minimal_epsilon_area": float(np.minimum(found, 1.0).mean(dtype=np.float64)),
        "minimal_epsilon_quantiles": np.quantile(found, np.linspace(0, 1, 101), method="inverted_cdf").tolist(),
    }
    results.arrays["minimal_epsilon"] = found


def _landscape(network: ProbedNetwork, probe: LandscapeProbe, results: ProbeResults) -> None:
    """Losses around the weights; raises ValueError without a parent to interpolate from, or converged eigenvectors."""
    started = time.perf_counter()
    x, y = _subset(network, probe.split, probe.subset_size)
    offsets, losses = LANDSCAPES[probe.kind](network, probe, x, y)
    name = f"{probe.kind}_{probe.split}_{probe.subset_size}_{probe.hessian_size}"
    entry: dict[str, Any] = {
        "kind": probe.kind,
        "split": probe.split,
        "subset_size": probe.subset_size,
        "hessian_size": probe.hessian_size,
        "offsets": f"{name}_offsets",
        "losses": f"{name}_losses",
        "seconds": time.perf_counter() - started,
    }
    results.add("landscapes", entry)
    results.arrays[entry["offsets"]] = np.asarray(offsets, dtype=np.float64)
    results.arrays[entry["losses"]] = losses.numpy()


def _sharpness(network: ProbedNetwork, probe: SharpnessProbe, results: ProbeResults) -> None:
    started = time.perf_counter()
    stream = streams.generator(network.seed, "sharpness", *probe.key[1:])
    settings = SharpnessSettings(stream, radius=probe.radius, memory_fraction=network.memory_fraction)
    x, y = _subset(network, probe.split, probe.subset_size)
    found = measure_sharpness(probe.measure, network.model, x, y, settings)
    results.add("sharpness", asdict(probe) | asdict(found) | {"seconds": time.perf_counter() - started})


def _subset(network: ProbedNetwork, split: str, size: int) -> Split:
    """The whole split, or the subset of the spectrum probe of this size."""
    x, y = network.splits[split]
    if size == len(y):
        return x, y
    return draw_subset(x, y, size, streams.generator(network.seed, "spectrum", split, size))


def _line(network: ProbedNetwork, probe: LandscapeProbe, x: Tensor, y: Tensor) -> tuple[Sequence[float], Tensor]:
    first, _ = _eigenvectors(network, probe.hessian_size)
    return LINE_OFFSETS, line(network.model, first, LINE_OFFSETS, x, y)


def _plane(network: ProbedNetwork, probe: LandscapeProbe, x: Tensor, y: Tensor) -> tuple[Sequence[float], Tensor]:
    first, second = _eigenvectors(network, probe.hessian_size)
    return PLANE_OFFSETS, plane(network.model, first, second, PLANE_OFFSETS, x, y)


def _interpolation(
    network: ProbedNetwork, probe: LandscapeProbe, x: Tensor, y: Tensor
) -> tuple[Sequence[float], Tensor]:
    weights = network.model.state_dict()
    return INTERPOLATION_FRACTIONS, interpolation(network.source("parent"), weights, INTERPOLATION_FRACTIONS, x, y)


def _eigenvectors(network: ProbedNetwork, hessian_size: int) -> Sequence[Tensor]:
    """The first eigenvectors of the Hessian on `hessian_size` training images, computed once for a network."""
    if hessian_size not in network.eigenvectors:
        x, y = network.splits["train"]
        found = top_eigenvalues(
            network.model,
            x,
            y,
            count=LANDSCAPE_DIRECTIONS,
            tolerance=DIRECTION_TOLERANCE,
            keep_vectors=True,
            subset_size=None if hessian_size == len(y) else hessian_size,
            generator=streams.generator(network.seed, "spectrum", "train", hessian_size),
            memory_fraction=network.memory_fraction,
        )
        if found.eigenvectors is None:
            raise ValueError("no eigenvectors of this Hessian: the network's output is not finite")
        if not found.converged or len(found.eigenvectors) < LANDSCAPE_DIRECTIONS:
            raise ValueError(
                f"the first {LANDSCAPE_DIRECTIONS} eigenvectors did not converge within {found.matvecs} products"
            )
        network.eigenvectors[hessian_size] = tuple(found.eigenvectors)
    return network.eigenvectors[hessian_size]


LANDSCAPES: Mapping[str, Callable[[ProbedNetwork, LandscapeProbe, Tensor, Tensor], tuple[Sequence[float], Tensor]]] = {
    "line": _line,
    "plane": _plane,
    "interpolation": _interpolation,
}
"""Kind of landscape -> offsets or fractions (k,), and losses (k,), for a plane (k, k)."""

PROBES: Mapping[type, Callable[[ProbedNetwork, Any, ProbeResults], None]] = {
    AttackProbe: _attack,
    SpectrumProbe: _spectrum,
    InputCurvatureProbe: _input_curvature,
    InputHessianProbe: _input_hessian,
    LandscapeProbe: _landscape,
    MinimalEpsilonProbe: _minimal_epsilon,
    SharpnessProbe: _sharpness,
}
"""The function that answers each kind of probe. A new kind is a class in search_spaces, a function and a line here."""
