"""A stratum: what a test of a claim found in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from analysis.statistics.estimates import Finding
from analysis.tables.words import phrase

Margin = tuple[float, float, float]
"""An effect and the limits of its interval over delta, the least effect that counts; above 0: as claimed."""

NO_MARGIN: Margin = (float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Stratum(Finding):
    """What a test found in one place: a data set, a model, a setting and a measure.

    `keys` name the setting, `details` say more of the measure, both in words. `part` tells apart what must hold
    together for the claim to hold. `text` is the effect in words. `remarks` are added to the reason of the finding.
    `closeness` to the paper: 0 its own protocol, 1 its data set and model at other sizes, 2 another data set. It is
    not `counted` where one closer was run (`claim.prefer_papers_protocol`). `margin` is the effect with its interval
    over the least effect that counts, signed so that the claim points right (NaN where the test has no such scale).
    `flagged`: some of its cells are left out of tests. `study` tells apart networks of one name by their protocol.
    Where seeds are added until claims are decided, `awaited` marks one whose curves are planned and have no look yet,
    and `looks_allowed` one whose support allows for several looks already.
    """

    dataset: str = ""
    model: str = ""
    keys: Mapping[str, object] = field(default_factory=dict)
    measure: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    part: str = ""
    unit: str = ""
    text: str = ""
    remarks: str = ""
    protocol: str = ""
    closeness: int = 0
    counted: bool = True
    margin: Margin = NO_MARGIN
    flagged: bool = False
    study: tuple[object, ...] = ()
    awaited: bool = False
    looks_allowed: bool = False

    @classmethod
    def of(cls, finding: Finding, **more: Any) -> Stratum:
        """A stratum with this finding."""
        return cls(**{f.name: getattr(finding, f.name) for f in fields(Finding)}, **more)

    @property
    def told(self) -> str:
        """The reason with its remarks."""
        return "; ".join(filter(None, (self.reason, self.remarks)))

    def remarked(self, *remarks: str) -> Stratum:
        """The same with more remarks; empty ones are none."""
        return replace(self, remarks="; ".join(filter(None, (self.remarks, *remarks))))

    @property
    def name(self) -> str:
        """The stratum in words, for sentences and tables."""
        values = (self.dataset, self.model, *self.keys.values(), self.measure, *self.details.values(), self.part)
        return ", ".join(dict.fromkeys(phrase(str(value)) for value in values if value != ""))
