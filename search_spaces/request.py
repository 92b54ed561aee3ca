"""A request: which grid the user asked for, and which part of it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from search_spaces.measures import MEASURES
from search_spaces.probe import HEADLINE_EPSILON, AttackProbe, Probe, headline_epsilon, headline_probes
from search_spaces.trial import Trial


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The end of an error message: `; did you mean 'smoke'?`, or nothing where no valid word is close."""
    close = difflib.get_close_matches(word, list(valid), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


PROBES = ("all", "headline", *MEASURES)
"""What `Request.probes` may list."""


class GridError(ValueError):
    """A choice that the grid does not offer; the message names the choices that it offers."""


@dataclass(frozen=True)
class Request:
    """A grid's name and how to narrow it. It is stored in study.json, so that a report can plan the same grid again.

    `model` (`package.module:function`) and `dataset` (a path) stand in for those of the grid.
    `probes` lists, separated by commas, what is asked of each network: "all" of the grid's own probes, the "headline"
    ones, and any of `MEASURES`.
    """

    grid: str
    select: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    epochs: int | None = None
    train_size: int | None = None
    test_size: int | None = None
    probes: str = "all"
    epsilons: tuple[float, ...] | None = None
    precision: str | None = None
    val_size: int | None = None
    model: str | None = None
    dataset: str | None = None

    @staticmethod
    def split_dataset(dataset: str) -> tuple[str, tuple[int, int, int] | None]:
        """The path and the image shape (C, H, W) of `DIR@3x64x64`; no shape without an @ in the last part of the path.

        Raises:
            GridError: what follows the @ is no shape of images with 1 or 3 colours.
        """
        path, at, text = dataset.rpartition("@")
        if not at or "/" in text:
            return dataset, None
        shape = re.fullmatch(r"([13])x([1-9]\d{0,3})x([1-9]\d{0,3})", text)
        if not (path and shape):
            raise GridError(f"--dataset {dataset!r}: {text!r} is no shape of images such as 3x64x64")
        return path, (int(shape[1]), int(shape[2]), int(shape[3]))

    @staticmethod
    def dataset_name(dataset: str) -> str:
        """What the data set of `--dataset` is called: `cats` for `images/cats` and `images/cats.npz@3x64x64`.

        Raises:
            GridError: the path has no name.
        """
        name = PurePath(Request.split_dataset(dataset)[0]).name.removesuffix(".npz")
        if name in ("", ".."):
            raise GridError(f"--dataset {dataset!r} has no name: name the folder itself")
        return name

    def to_dict(self) -> dict[str, Any]:
        """The request as it is read back from JSON: with lists for tuples."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """The request that `to_dict` wrote; unknown keys are ignored.

        Raises:
            GridError: no grid is named.
        """
        if not isinstance(values.get("grid"), str):
            raise GridError("a study request names no grid")
        known = {one.name: values[one.name] for one in fields(cls) if values.get(one.name) is not None}
        known["select"] = {key: tuple(chosen) for key, chosen in known.get("select", {}).items()}
        return cls(**known | {name: tuple(known[name]) for name in ("seeds", "epsilons") if name in known})

    def check(self) -> None:
        """Raises GridError for a size below 1, an epsilon outside (0, 1], an empty list of seeds, or unknown probes."""
        for option in ("epochs", "train_size", "test_size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise GridError(f"--{option.replace('_', '-')} must be at least 1, got {value}")
        for epsilon in self.epsilons or ():
            if not 0 < epsilon <= 1:
                raise GridError(f"--epsilons {epsilon:g} is not in (0, 1]: pixels are in [0, 1]")
        if self.seeds is not None and not self.seeds:
            raise GridError("--seeds names no seed; give whole numbers such as 0,1,2")
        for name in self.probes.split(","):
            if name not in PROBES:
                raise GridError(f"--probes {name!r} is not one of {', '.join(PROBES)}{did_you_mean(name, PROBES)}")

    def narrowed(
        self, probes: frozenset[Probe], trial: Trial, epsilons: Collection[float] | None = None
    ) -> frozenset[Probe]:
        """What the request asks of a trial, which has these `probes` in its grid; its attacks at these `epsilons`.

        Raises:
            GridError: an attack at no epsilon.
        """
        attacks = [p for p in probes if isinstance(p, AttackProbe)]
        if epsilons is not None:
            probes = probes - set(attacks) | {replace(p, epsilon=epsilon) for p in attacks for epsilon in epsilons}
        else:
            usual = headline_epsilon(trial.dataset, (p.epsilon for p in attacks)) or HEADLINE_EPSILON.get(trial.dataset)
            epsilons = () if usual is None else (usual,)
        asked: frozenset[Probe] = frozenset()
        for name in self.probes.split(","):
            if name in MEASURES:
                measured = MEASURES[name].ask(trial, epsilons)
                if not measured:
                    raise GridError(f"--probes {name} needs --epsilons: this grid does not attack {trial.dataset}")
                asked |= measured
            else:
                asked |= headline_probes(probes, trial.dataset) if name == "headline" else probes
        return asked
