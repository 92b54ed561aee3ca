"""From strata to verdicts, and from verdicts to tidy tables."""

from __future__ import annotations

import pytest

from analysis.claims.claim import (
    Coverage,
    Source,
    Verdict,
    existential,
    mark_differing,
    most,
    prefer_papers_protocol,
    strata_frame,
    to_frame,
    universal,
)
from analysis.claims.tests import Stratum
from analysis.statistics.estimates import Decision


def stratum(
    verdict: Decision, p: float = 0.001, *, closeness: int = 0, part: str = "", dataset: str = "mnist"
) -> Stratum:
    refuted = p if verdict == "refuted" else (float("nan") if verdict == "not run" else 1.0)
    return Stratum(
        verdict, "why", 1.0, p_supported=p, p_refuted=refuted, dataset=dataset, model="m1_20", part=part,
        closeness=closeness,
    )  # fmt: skip


def verdict(claim: str, reached: Decision, loss: str | None = None, **changes: object) -> Verdict:
    return Verdict(claim, "it rises", Source("a paper", "3.1", ("1L",)), reached, "Because.", loss, **changes)  # type: ignore[arg-type]


def test_a_universal_claim_needs_every_stratum_that_was_run() -> None:
    assert universal([stratum("supported"), stratum("supported")]).verdict == "supported"
    assert universal([stratum("supported"), stratum("not run")]).verdict == "supported"
    mixed = universal([stratum("supported"), stratum("inconclusive")])
    assert mixed.verdict == "inconclusive"
    assert "1 of 2 strata" in mixed.reason


def test_a_universal_claim_falls_with_one_refutation_that_survives_holm() -> None:
    others = [stratum("supported")] * 9
    assert universal([*others, stratum("refuted", 0.004)]).verdict == "refuted"
    assert universal([*others, stratum("refuted", 0.006)]).verdict == "inconclusive"
    assert universal([stratum("refuted", 0.006)]).verdict == "refuted"


def test_every_part_of_a_universal_claim_must_have_been_run() -> None:
    half = [stratum("supported", part="flat"), stratum("not run", part="flatter")]
    assert universal(half).verdict == "inconclusive"
    assert "flatter" in universal(half).reason


def test_an_existential_claim_needs_one_confirmed_stratum() -> None:
    others = [stratum("inconclusive", 0.5)] * 9
    assert existential([*others, stratum("supported", 0.004)]).verdict == "supported"
    assert existential([*others, stratum("supported", 0.04)]).verdict == "inconclusive"
    assert existential([stratum("refuted"), stratum("refuted")]).verdict == "refuted"
    assert existential([stratum("refuted"), stratum("inconclusive")]).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("supported", "refuted", "undecided", "expected"),
    [(4, 0, 0, "supported"), (3, 0, 0, "inconclusive"), (14, 4, 0, "supported"), (13, 5, 0, "inconclusive"),
     (4, 0, 4, "inconclusive"), (0, 4, 0, "refuted"), (0, 0, 0, "not run")],
)  # fmt: skip
def test_most_means_a_wilson_interval_above_one_half(
    supported: int, refuted: int, undecided: int, expected: str
) -> None:
    strata = [stratum("supported")] * supported + [stratum("refuted")] * refuted
    assert most(strata + [stratum("inconclusive")] * undecided).verdict == expected


@pytest.mark.parametrize("rule", [universal, existential, most])
def test_nothing_run_is_not_run(rule: object) -> None:
    assert callable(rule)
    assert rule([]).verdict == "not run"
    assert rule([stratum("not run")]).verdict == "not run"


def test_a_cheap_run_does_not_outvote_the_papers_protocol() -> None:
    cheap, full = stratum("refuted", closeness=1), stratum("supported", closeness=0)
    cast = prefer_papers_protocol([cheap, full])
    assert [s.counted for s in cast] == [False, True]
    assert universal(cast).verdict == "supported"
    assert "not counted" in cast[0].reason


def test_a_cheap_run_speaks_where_the_papers_protocol_was_not_run() -> None:
    cheap, missing = stratum("refuted", closeness=1), stratum("not run", closeness=0)
    assert universal(prefer_papers_protocol([cheap, missing])).verdict == "refuted"


def test_a_rehearsal_speaks_only_where_nothing_of_the_paper_was_run() -> None:
    rehearsal = stratum("refuted", dataset="digits", closeness=2)
    assert universal(prefer_papers_protocol([rehearsal])).verdict == "refuted"
    assert universal(prefer_papers_protocol([rehearsal, stratum("supported")])).verdict == "supported"
    assert universal(prefer_papers_protocol([rehearsal, stratum("not run")])).verdict == "refuted"


def test_a_claim_whose_losses_disagree_is_marked() -> None:
    marked = mark_differing(
        [
            verdict("A2", "supported", "ce"),
            verdict("A2", "inconclusive", "stable"),
            verdict("A6", "refuted", "ce"),
            verdict("A6", "refuted", "stable"),
            verdict("A7", "refuted", "ce"),
            verdict("A7", "not run", "stable"),
        ]
    )
    assert [v.differs for v in marked] == [True, True, False, False, False, False]
    assert "float32 saturation" in marked[0].reason


def test_the_claims_table_has_one_tidy_row_per_claim_and_loss() -> None:
    full = verdict(
        "A2",
        "supported",
        "ce",
        shown=Stratum("supported", "", -5.0, -6.0, -4.0, unit="points", text="falls by 5 points"),
        coverage=Coverage(21, 20, 1, 0, 1, 6),
    )
    frame = to_frame([full, verdict("A1", "not run")])
    assert frame["claim"].tolist() == ["A2", "A1"]
    assert not frame.duplicated(["claim", "loss"]).any()
    row = frame.iloc[0]
    assert (row["effect"], row["low"], row["high"], row["unit"]) == (-5.0, -6.0, -4.0, "points")
    assert (row["planned"], row["ok"], row["diverged"], row["strata_decided"], row["strata"]) == (
        21,
        20,
        1,
        1,
        6,
    )
    assert frame.columns.tolist() == to_frame([]).columns.tolist()


def test_the_strata_table_names_each_stratum_of_each_claim() -> None:
    frame = strata_frame([verdict("A1", "supported", strata=(stratum("supported"), stratum("refuted")))])
    assert frame["verdict"].tolist() == ["supported", "refuted"]
    assert frame["dataset"].tolist() == ["mnist", "mnist"]
    assert strata_frame([]).columns.tolist() == frame.columns.tolist()
