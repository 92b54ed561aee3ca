"""From strata to a claim: every stratum, at least one, or most of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import Decision
from analysis.statistics.intervals import wilson
from analysis.statistics.multiplicity import holm
from analysis.statistics.thresholds import SIGNIFICANCE


@dataclass(frozen=True)
class Ruling:
    """A claim's verdict, why, and the stratum whose effect speaks for it (None: no stratum was run)."""

    verdict: Decision
    reason: str
    spokesman: StratumResult | None = None


def cast_votes(strata: Sequence[StratumResult]) -> tuple[StratumResult, ...]:
    """The strata, with those not counted for which one closer to the paper was run.

    A cheap run never outvotes the paper's protocol on the same data set and model, and a data set that the
    paper does not have speaks only where none of the paper's does.
    """
    run = [s for s in strata if s.verdict != "not run" and s.counted]
    of_paper = {part for s in run if s.closeness < 2 for part in [s.keys.get("part")]}
    closest: dict[tuple[object, ...], int] = {}
    for s in run:
        closest[_place(s)] = min(s.closeness, closest.get(_place(s), s.closeness))
    return tuple(_voting(s, s.keys.get("part") in of_paper, closest.get(_place(s), 2)) for s in strata)


def _place(stratum: StratumResult) -> tuple[object, ...]:
    return tuple(stratum.keys.get(name) for name in ("part", "dataset", "model"))


def _voting(stratum: StratumResult, paper_was_run: bool, closest: int) -> StratumResult:
    if stratum.counted and stratum.closeness == 2 and paper_was_run:
        return replace(stratum, counted=False, note=_joined(stratum.note, "not counted: not in the paper"))
    if stratum.counted and stratum.verdict != "not run" and stratum.closeness > closest:
        note = "not counted: the paper's own protocol was run too"
        return replace(stratum, counted=False, note=_joined(stratum.note, note))
    return stratum


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def universal(strata: Sequence[StratumResult]) -> Ruling:
    """Refuted by one Holm-refuted stratum; supported where every one that was run supports it, in every part."""
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    adjusted = holm([s.p_refuted for s in run])
    refuting = [s for s, p in zip(run, adjusted, strict=True) if s.verdict == "refuted" and p <= SIGNIFICANCE]
    if refuting:
        return Ruling(
            "refuted",
            f"Refuted in {len(refuting)} of {len(run)} strata run (Holm-adjusted): {_names(refuting)}.",
            min(refuting, key=lambda s: s.p_refuted),
        )
    supporting = [s for s in run if s.verdict == "supported"]
    missing = sorted({str(s.keys["part"]) for s in counted if "part" in s.keys} - _parts(run))
    share = f"{len(supporting)} of {len(run)} strata run"
    if len(supporting) == len(run) and not missing:
        rest = [s for s in counted if s.verdict == "not run"]
        unrun = f"; {len(rest)} more were not run in full: {_reasons(rest)}" if rest else ""
        return Ruling("supported", f"Supported in {share}{unrun}.", max(run, key=lambda s: s.p))
    undecided = [s for s in run if s.verdict != "supported"]
    why = f": {_reasons(undecided)}" if undecided else f": no run of {', '.join(missing)}"
    return Ruling("inconclusive", f"Supported in only {share}{why}.", (undecided or run)[0])


def existential(strata: Sequence[StratumResult]) -> Ruling:
    """Supported by one confirmed stratum (Holm within its part); refuted only where every stratum refutes it."""
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    confirmed: list[StratumResult] = []
    for part in sorted({str(s.keys.get("part")) for s in run}):
        of_part = [s for s in run if str(s.keys.get("part")) == part]
        adjusted = holm([s.p if s.verdict == "supported" else 1.0 for s in of_part])
        confirmed += [
            s for s, p in zip(of_part, adjusted, strict=True) if s.verdict == "supported" and p <= SIGNIFICANCE
        ]
    if confirmed:
        reason = f"Confirmed in {len(confirmed)} of {len(run)} strata run: {_names(confirmed)}."
        return Ruling("supported", reason, min(confirmed, key=lambda s: s.p))
    if all(s.verdict == "refuted" for s in run):
        return Ruling("refuted", f"Every one of {len(run)} strata run contradicts it.", run[0])
    spoken = next((s for s in run if s.text), run[0])
    return Ruling("inconclusive", f"Confirmed in 0 of {len(run)} strata run.", spoken)


def most(strata: Sequence[StratumResult]) -> Ruling:
    """Supported where the Wilson interval of the share of supporting strata lies above one half.

    Refuted where that of the refuting ones does. An undecided stratum counts for neither.
    """
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    supporting = [s for s in run if s.verdict == "supported"]
    refuting = [s for s in run if s.verdict == "refuted"]
    low, high = wilson(len(supporting), len(run))
    share = f"{len(supporting)} of {len(run)} strata run support it (Wilson interval {low:.2f} to {high:.2f})"
    if low > 0.5:
        return Ruling("supported", f"{share}.", supporting[0])
    low, high = wilson(len(refuting), len(run))
    if low > 0.5:
        reason = f"{len(refuting)} of {len(run)} strata run refute it (Wilson interval {low:.2f} to {high:.2f})"
        return Ruling("refuted", f"{reason}.", refuting[0])
    return Ruling("inconclusive", f"{share}, {len(refuting)} refute it.", run[0])


def by_part(rules: Mapping[str, Callable[[Sequence[StratumResult]], Ruling]]) -> Callable[..., Ruling]:
    """Each part of a claim by its own rule; supported where all of them are, refuted where one of them is."""

    def rule(strata: Sequence[StratumResult]) -> Ruling:
        rulings = {part: of([s for s in strata if s.keys.get("part") == part]) for part, of in rules.items()}
        reached = {ruling.verdict for ruling in rulings.values()}
        verdict: Decision = "inconclusive"
        if len(reached) == 1:
            verdict = reached.pop()
        elif "refuted" in reached:
            verdict = "refuted"
        reason = " ".join(f"{part[0].upper()}{part[1:]}: {ruling.reason}" for part, ruling in rulings.items())
        spoken = sorted(rulings.values(), key=lambda r: (r.verdict != verdict, r.spokesman is None))
        return Ruling(verdict, reason, spoken[0].spokesman)

    return rule


def _counted(strata: Sequence[StratumResult]) -> tuple[list[StratumResult], list[StratumResult]]:
    counted = [s for s in strata if s.counted]
    return counted, [s for s in counted if s.verdict != "not run"]


def _not_run(counted: Sequence[StratumResult]) -> Ruling:
    if not counted:
        return Ruling("not run", "No run of this kind is planned or stored.")
    notes = list(dict.fromkeys(s.note for s in counted if s.note))
    return Ruling("not run", f"None of {len(counted)} strata was run in full: {'; '.join(notes[:2])}.")


def _parts(strata: Sequence[StratumResult]) -> set[str]:
    return {str(s.keys["part"]) for s in strata if "part" in s.keys}


def _names(strata: Sequence[StratumResult], at_most: int = 3) -> str:
    names = [s.name for s in strata]
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _reasons(strata: Sequence[StratumResult], at_most: int = 3) -> str:
    reasons = [f"{s.name} ({s.note})" if s.note else s.name for s in strata]
    more = f" and {len(reasons) - at_most} more" if len(reasons) > at_most else ""
    return "; ".join(reasons[:at_most]) + more
