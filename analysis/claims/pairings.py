"""How curves are paired: the curves of each measure -> the arms of each stratum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from analysis.claims.curves import Curve, Setting, by_study


class Arms(NamedTuple):
    """The curves that a stratum compares and what names it; `measure` is that of the first curve unless given."""

    keys: Mapping[str, object]
    curves: tuple[Curve, ...]
    measure: str | None = None
    details: Mapping[str, object] = {}
    note: str = ""
    protocol_note: str = ""

    @property
    def tested(self) -> str:
        """The name of what is measured."""
        return self.curves[0].measure.name if self.measure is None else self.measure


def each(*measured: list[Curve]) -> Iterator[Arms]:
    """Every curve by itself, with all its measures, named by its regime and momentum."""
    for arms in zip(*measured, strict=True):
        keys = arms[0].keys
        yield Arms({"regime": keys["regime"], "momentum": f"momentum {keys['momentum']:g}"}, arms)


def each_setting(*measured: list[Curve]) -> Iterator[Arms]:
    """Every curve by itself, with all its measures, named by its setting."""
    for arms in zip(*measured, strict=True):
        yield Arms({"setting": arms[0].setting.name}, arms)


def against(base: Setting, other: Setting) -> Callable[[list[Curve]], Iterator[Arms]]:
    """In each study the curve of `base`, then that of `other`; one that was not run is empty."""

    def pair(curves: list[Curve]) -> Iterator[Arms]:
        for study in by_study(curves):
            found = {curve.setting: curve for curve in study}
            arms = tuple(found.get(s) or Curve(study[0].keys | vars(s), study[0].measure) for s in (base, other))
            yield Arms({"setting": f"{other.name} against {base.name}"}, arms)

    return pair


def two_regimes(steep: str, level: str) -> Callable[[list[Curve]], Iterator[Arms]]:
    """In each study the curve under regime `steep`, then that under `level`; one that was not run is empty."""

    def pair(curves: list[Curve]) -> Iterator[Arms]:
        for study in by_study(curves):
            by_regime = {curve.keys["regime"]: curve for curve in study}
            arms = tuple(
                by_regime.get(regime) or Curve(study[0].keys | {"regime": regime}, study[0].measure)
                for regime in (steep, level)
            )
            yield Arms({"regime": f"{level} against {steep}"}, arms)

    return pair


def against_no_momentum(curves: list[Curve], *, every: bool = False) -> Iterator[Arms]:
    """In each study the curve without momentum, then that with the largest one, or with `every` one.

    The largest of the paper's, or for another network of those planned or run: which one is tested depends neither on
    what diverged nor on what was trained first.
    """
    for none, *more in _by_momentum(curves):
        for curve in more if every else more[-1:]:
            yield _more_momentum(none, curve)


def against_the_next_smaller(curves: list[Curve]) -> Iterator[Arms]:
    """In each study every momentum's curve, after that of the next smaller one; none where there are only two."""
    for study in _by_momentum(curves):
        for fewer, more in pairwise(study) if len(study) > 2 else ():
            yield _more_momentum(fewer, more)


def _by_momentum(curves: list[Curve]) -> Iterator[list[Curve]]:
    """The curves of each study that has one without momentum, that one first, the larger momenta after it."""
    for study in by_study(curves):
        ordered = sorted(study, key=lambda curve: float(curve.keys["momentum"]))
        if ordered[0].keys["momentum"] == 0.0:
            yield ordered


def _more_momentum(fewer: Curve, more: Curve) -> Arms:
    momentum = f"momentum {more.keys['momentum']:g} against {fewer.keys['momentum']:g}"
    return Arms({"regime": more.keys["regime"], "momentum": momentum}, (fewer, more))


def momentum_in_two_regimes(steep: str, level: str) -> Callable[[list[Curve]], Iterator[Arms]]:
    """In each study no momentum and the largest under regime `steep`, then both under `level`.

    The runs that belong to both regimes are left out: they would add the same difference to both sides.
    """

    def pair(curves: list[Curve]) -> Iterator[Arms]:
        for study in by_study(curves):
            of = {regime: [c for c in study if c.keys["regime"] == regime] for regime in (steep, level)}
            ids = [{str(i) for c in of[regime] for i in c.trial_id} for regime in (steep, level)]
            shared = sorted(ids[0] & ids[1])
            found = [
                {
                    arms.keys["momentum"]: arms
                    for arms in against_no_momentum(
                        [c.where(~np.isin(c.trial_id.astype(str), shared)) for c in of[regime]]
                    )
                }
                for regime in (steep, level)
            ]
            note = "left out: the runs that belong to both regimes" if shared else ""
            for momentum, arms in found[1].items():
                if momentum in found[0]:
                    keys = {**arms.keys, "regime": f"{level} against {steep}"}
                    yield Arms(keys, found[0][momentum].curves + arms.curves, note=note)

    return pair
