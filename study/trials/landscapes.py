"""The loss around trained weights, as a probe: directions, images and the arrays that are stored beside the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from search_spaces import LandscapeProbe
from study.curvature import draw_subset, top_eigenvectors
from study.curvature.landscape import INTERPOLATION_FRACTIONS, LINE_OFFSETS, PLANE_OFFSETS, interpolation, line, plane
from study.training import streams
from study.trials.probed_network import Asked

DIRECTIONS = 2
"""Eigenvectors that a line and a plane of one Hessian share."""

Measured = tuple[Sequence[float], Tensor]
"""Offsets or fractions (k,), and losses (k,) or (k, k)."""


def measure(asked: Asked, probe: LandscapeProbe) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The row's entry of a landscape and its named arrays, float64.

    Raises:
        ValueError: an interpolation is asked of a trial without a parent, or the weights are too far gone for
            eigenvectors.
    """
    started = time.perf_counter()
    x, y = _images(asked, probe)
    offsets, losses = LANDSCAPES[probe.kind](asked, probe, x, y)
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
    return entry, {entry["offsets"]: np.asarray(offsets, dtype=np.float64), entry["losses"]: losses.numpy()}


def _images(asked: Asked, probe: LandscapeProbe) -> tuple[Tensor, Tensor]:
    """The whole split, or the subset on which a spectrum of that size is taken."""
    x, y = asked.splits[probe.split]
    if probe.subset_size == len(y):
        return x, y
    stream = streams.generator(asked.seed, "spectrum", probe.split, probe.subset_size)
    return draw_subset(x, y, probe.subset_size, stream)


def _directions(asked: Asked, hessian_size: int) -> Sequence[Tensor]:
    """The first eigenvectors of the Hessian on `hessian_size` training images, computed once a network."""
    if hessian_size not in asked.directions:
        x, y = asked.splits["train"]
        _, vectors = top_eigenvectors(
            asked.model,
            x,
            y,
            count=DIRECTIONS,
            subset_size=None if hessian_size == len(y) else hessian_size,
            generator=streams.generator(asked.seed, "spectrum", "train", hessian_size),
        )
        if len(vectors) < DIRECTIONS:
            raise ValueError("no eigenvectors of this Hessian: the network's output is not finite")
        asked.directions[hessian_size] = tuple(vectors)
    return asked.directions[hessian_size]


def _line(asked: Asked, probe: LandscapeProbe, x: Tensor, y: Tensor) -> Measured:
    first, _ = _directions(asked, probe.hessian_size)
    return LINE_OFFSETS, line(asked.model, first, LINE_OFFSETS, x, y)


def _plane(asked: Asked, probe: LandscapeProbe, x: Tensor, y: Tensor) -> Measured:
    first, second = _directions(asked, probe.hessian_size)
    return PLANE_OFFSETS, plane(asked.model, first, second, PLANE_OFFSETS, x, y)


def _interpolation(asked: Asked, probe: LandscapeProbe, x: Tensor, y: Tensor) -> Measured:
    parent: nn.Module = asked.source("parent")
    return INTERPOLATION_FRACTIONS, interpolation(parent, asked.model.state_dict(), INTERPOLATION_FRACTIONS, x, y)


LANDSCAPES: Mapping[str, Callable[[Asked, LandscapeProbe, Tensor, Tensor], Measured]] = {
    "line": _line,
    "plane": _plane,
    "interpolation": _interpolation,
}
