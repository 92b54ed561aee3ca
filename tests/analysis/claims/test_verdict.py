"""From strata to verdicts, and from verdicts to tidy tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.claims.claim import (
    DISAGREE,
    ON_SATURATION,
    ONE_LOSS,
    Coverage,
    Source,
    Verdict,
    outcome,
    prefer_papers_protocol,
    relate_losses,
    to_frame,
)
from analysis.claims.large_batch import EVERY
from analysis.claims.measures import with_units
from analysis.claims.rules import Rule, by_part, existential, most, universal, where_run
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Decision, amount
from analysis.statistics.multiplicity import most_hold


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


def test_a_universal_claim_needs_every_stratum() -> None:
    """Before, one that was run of many was enough: the smoke study supported A3 with 1 of 7."""
    assert universal([stratum("supported"), stratum("supported")]).verdict == "supported"
    partly = universal([stratum("supported"), stratum("not run")])
    assert (partly.verdict, partly.reason[:44]) == ("inconclusive", "Supported in 1 of 2 tests; not run in 1 of 2")
    mixed = universal([stratum("supported"), stratum("inconclusive")])
    assert (mixed.verdict, mixed.reason[:46]) == ("inconclusive", "Supported in 1 of 2 tests; undecided in 1 of 2")
    assert universal([stratum("inconclusive")]).reason.startswith("Undecided in 1 of 1: ")


def test_a_universal_claim_falls_with_one_refutation_that_survives_holm() -> None:
    others = [stratum("supported")] * 9
    assert universal([*others, stratum("refuted", 0.004)]).verdict == "refuted"
    assert universal([*others, stratum("refuted", 0.006)]).verdict == "inconclusive"
    assert universal([stratum("refuted", 0.006)]).verdict == "refuted"
    assert universal([*others, stratum("refuted", 0.006)]).why == (
        "refuted by this test alone (why), but not after Holm's adjustment for 10 tests"
    )
    # one that nothing can be said of has no p-value, and is one of the tested all the same
    unclear = replace(stratum("inconclusive"), p_supported=float("nan"), p_refuted=float("nan"))
    assert universal([*[unclear] * 9, stratum("refuted", 0.006)]).verdict == "inconclusive"


def test_a_second_reading_that_agrees_does_not_undo_a_refutation() -> None:
    """Holm's adjustment was over the strata of all readings together."""
    others = [stratum("inconclusive", dataset=f"data {k}") for k in range(6)]
    one = [stratum("refuted", 0.006), *others, replace(stratum("inconclusive"), model="m1")]
    assert EVERY(one).verdict == "refuted"
    assert EVERY([*one, replace(stratum("inconclusive"), model="m1_lenet")]).verdict == "refuted"


def test_what_holds_where_a_claim_was_run_is_decided_by_its_rule() -> None:
    assert where_run(universal, [stratum("supported"), stratum("not run")]) == "supported"
    assert where_run(universal, [stratum("supported"), stratum("inconclusive"), stratum("not run")]) is None
    assert where_run(universal, [stratum("supported")]) is None  # it is supported as a whole
    weak = [stratum("refuted", 0.03), stratum("refuted", 0.04)]
    assert where_run(universal, [*weak, stratum("not run")]) is None  # as the two alone, by Holm
    assert where_run(existential, [stratum("refuted"), stratum("not run")]) == "refuted"
    assert where_run(existential, [stratum("supported", 0.04), stratum("supported", 0.04), stratum("not run")]) is None


def test_every_part_of_a_universal_claim_must_have_been_run() -> None:
    half = [stratum("supported", part="flat"), stratum("not run", part="flatter")]
    assert universal(half).verdict == "inconclusive"
    assert "flatter" in universal(half).reason


def test_an_existential_claim_needs_one_confirmed_stratum() -> None:
    others = [stratum("inconclusive", 0.5)] * 9
    assert existential([*others, stratum("supported", 0.004)]).verdict == "supported"
    assert existential([*others, stratum("supported", 0.04)]).verdict == "inconclusive"
    # Holm over all parts together: .03 is the least of two, whatever their parts; part by part it was confirmed
    parts = [stratum("supported", 0.03, part="pair"), stratum("inconclusive", 0.5, part="sign-error")]
    assert existential(parts).verdict == "inconclusive"
    assert existential([stratum("refuted"), stratum("refuted")]).verdict == "refuted"
    assert existential([stratum("refuted"), stratum("not run")]).verdict == "inconclusive"
    assert existential([stratum("refuted"), stratum("inconclusive")]).verdict == "inconclusive"


def test_most_of_the_settings_must_be_sure() -> None:
    def settings(*ps: float) -> list[Stratum]:
        return [
            replace(stratum("supported" if p < 0.05 else "inconclusive", p), keys={"setting": f"rate {k}"})
            for k, p in enumerate(ps)
        ]

    assert most(settings(0.001, 0.001, 0.001, 0.5)).verdict == "supported"
    assert most(settings(0.001, 0.001, 0.5, 0.5)).verdict == "inconclusive"
    unsure = most(settings(0.001, 0.001, 0.03, 0.5))
    assert unsure.verdict == "inconclusive"
    assert unsure.reason == "3 of 4 settings support it, 0 refute it, not surely most (p = 0.06; needs 0.05)."
    assert "3 of 4 settings" in most(settings(0.001, 0.001, 0.001, 0.5) * 2).reason


def test_half_of_the_strata_are_called_most_in_five_percent() -> None:
    """Two of four strata of a setting hold, of two nothing does: 9.7 % of such votes were won, 1 - .95^2."""
    null = [(k + 0.5) / 80 for k in range(80)]  # each as likely

    def voted(one: float, other: float) -> bool:
        case = [stratum("supported" if p <= 0.05 else "inconclusive", p) for p in (0.0, 0.0, one, other)]
        return most(case).verdict == "supported"

    share = sum(voted(one, other) for one in null for other in null) / 80**2
    assert share == pytest.approx(1 - 0.975**2 + 0.025**2) == pytest.approx(0.05)


def test_half_of_the_settings_are_called_most_in_five_percent() -> None:
    null = [(k + 0.5) / 80 for k in range(80)]
    share = sum(most_hold([0.0, 0.0, one, other]) <= 0.05 for one in null for other in null) / 80**2
    assert share == pytest.approx(0.05)
    assert most_hold([0.01]) == most_hold([0.0, 0.01]) == 0.01
    assert most_hold([0.001, 0.01, float("nan")]) == 0.02


def test_one_part_of_several_refutes_a_claim_at_its_share_of_the_level() -> None:
    """Parts were not adjusted for each other: of two that are never so, one refuted the claim in up to 10 %."""
    rule = by_part({"falls": universal, "mostly": most, "somewhere": existential})

    def reached(p: float, part: str) -> Decision:
        return rule(
            [
                stratum(*(("refuted", p) if one == part else ("supported", 0.001)), part=one)
                for one in ("falls", "mostly", "somewhere")
            ]
        ).verdict

    for part in ("falls", "mostly", "somewhere"):
        assert reached(0.05 / 3 - 1e-6, part) == "refuted"
        assert reached(0.05 / 3 + 1e-6, part) == "inconclusive"
    supported = [stratum("supported", 0.049, part=one) for one in ("falls", "mostly", "somewhere")]
    assert rule(supported).verdict == "supported"


def test_a_rule_says_what_a_stratum_needs() -> None:
    six = [replace(stratum("inconclusive", 0.5), keys={"setting": k // 2}, measure=str(k)) for k in range(6)]
    assert universal.levels(six, six[0]) == {"supported": 0.05, "refuted": 0.05 / 6}
    assert existential.levels(six, six[0]) == {"supported": 0.05 / 6, "refuted": 0.05}
    assert most.levels(six, six[0]) == {"supported": 0.025, "refuted": 0.025}  # two of three settings, both attacks
    won = [replace(s, verdict="supported", p_supported=0.02) for s in six[:2]]
    assert most.levels([*won, *six[2:]], won[0]) == {}  # its vote is won
    two = by_part({"": universal, "other": existential})
    assert two.levels([*six, stratum("supported", part="other")], six[0]) == {"supported": 0.05, "refuted": 0.05 / 12}
    assert EVERY.levels(six, six[0]) == universal.levels(six, six[0])


@pytest.mark.parametrize("rule", [universal, existential, most])
def test_nothing_run_is_not_run(rule: Rule) -> None:
    assert rule([]).verdict == "not run"
    assert rule([stratum("not run")]).verdict == "not run"


def test_a_cheap_run_does_not_outvote_the_papers_protocol() -> None:
    cheap, full = stratum("refuted", closeness=1), stratum("supported", closeness=0)
    cast = prefer_papers_protocol([cheap, full])
    assert [s.counted for s in cast] == [False, True]
    assert universal(cast).verdict == "supported"
    # half of a cheap run took the verdict away: what it lacks was missing
    assert universal(prefer_papers_protocol([stratum("not run", closeness=1), full])).verdict == "supported"
    assert universal(prefer_papers_protocol([stratum("not run", closeness=0), full])).verdict == "inconclusive"


def test_attacks_at_another_epsilon_count_beside_clean_accuracy_at_the_papers_protocol() -> None:
    """They were left out: a claim about both was judged by clean accuracy alone."""
    clean = replace(stratum("inconclusive"), measure="clean")
    fgsm = replace(stratum("refuted", closeness=1), measure="fgsm")
    assert universal(prefer_papers_protocol([clean, fgsm])).verdict == "refuted"


def test_a_cheap_run_speaks_where_the_papers_protocol_was_not_run() -> None:
    cheap, missing = stratum("refuted", closeness=1), stratum("not run", closeness=0)
    assert universal(prefer_papers_protocol([cheap, missing])).verdict == "refuted"


def test_a_rehearsal_speaks_only_where_nothing_of_the_paper_was_run() -> None:
    rehearsal = stratum("refuted", dataset="digits", closeness=2)
    assert universal(prefer_papers_protocol([rehearsal])).verdict == "refuted"
    assert universal(prefer_papers_protocol([rehearsal, stratum("supported")])).verdict == "supported"
    assert universal(prefer_papers_protocol([rehearsal, stratum("not run")])).verdict == "refuted"


def test_a_rehearsal_is_judged_by_itself_and_a_part_of_the_paper_is_not() -> None:
    """Before, a rehearsal could refute a claim, but not support it: the paper's networks were missing from it."""
    rehearsal, missing = stratum("supported", dataset="digits", closeness=2), stratum("not run")
    cast = prefer_papers_protocol([rehearsal, missing])
    assert [s.counted for s in cast] == [True, False]
    assert universal(cast).verdict == "supported"
    half_run = stratum("inconclusive", dataset="digits", closeness=2, part="flat")
    assert universal(prefer_papers_protocol([rehearsal, half_run, missing])).verdict == "inconclusive"
    assert universal(prefer_papers_protocol([stratum("supported", closeness=1), missing])).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("on_ce", "on_stable", "shown", "losses"),
    [
        ("supported", "refuted", "On the same networks ...", ON_SATURATION),
        ("supported", "refuted", "", DISAGREE),
        ("inconclusive", "refuted", "On the same networks ...", ONE_LOSS),
        ("supported", "inconclusive", "", ONE_LOSS),
        ("refuted", "refuted", "On the same networks ...", ""),
        ("supported", "not run", "On the same networks ...", ""),
    ],
)
def test_saturation_is_named_only_where_two_decisions_disagree_and_a_contrast_shows_it(
    on_ce: Decision, on_stable: Decision, shown: str, losses: str
) -> None:
    """Before, every two verdicts that differed "rested on float32 saturation", inconclusive and refuted too."""
    both = relate_losses([verdict("A2", on_ce, "ce"), verdict("A2", on_stable, "stable")], lambda: shown)
    assert {v.losses for v in both} == {losses}
    assert {v.differs for v in both} == {bool(losses)}
    assert ("float32 saturation" in both[0].reason) == (losses == ON_SATURATION)
    contrasts = ("On the same networks ...", "The same networks are not shown")
    assert [c for c in contrasts if c in both[0].reason] == ([shown or contrasts[1]] if losses else [])


def test_the_effect_shown_is_named_by_its_place() -> None:
    two = [stratum("supported", 0.02), stratum("supported", 0.001, dataset="cifar10")]
    found = universal(two)
    assert (found.shown.dataset, found.place) == ("mnist", "weakest of 2")
    assert universal(two[:1]).place == "only one"
    refuted = universal([*two, stratum("refuted", 0.001), stratum("refuted", 0.002)])
    assert (refuted.shown.p_refuted, refuted.place) == (0.001, "strongest of 2 refuting of 4")
    assert universal([*two, stratum("inconclusive")]).place == "only one undecided of 3"
    assert existential([*two, stratum("inconclusive")]).place == "strongest of 2 confirmed of 3"
    told = verdict("A2", "supported", shown=found.shown, place=found.place)
    assert told.effect_text == "MNIST, M1 (20-20) (weakest of 2): not measured"


def test_what_decided_is_said_in_short_without_the_remarks() -> None:
    remarked = stratum("inconclusive").remarked("a long remark on the paper's table")
    found = universal([remarked])
    assert found.why == "why"
    assert found.shown.told == "why; a long remark on the paper's table"
    assert universal([stratum("supported"), stratum("not run")]).why == (
        "not run in 1 of 2 tests, as MNIST, M1 (20-20) (why)"
    )
    assert universal([stratum("not run")]).why == "why"


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


@pytest.mark.parametrize(
    ("unit", "said"),
    [("points", "less than 1.5 points"), ("doublings", "less than a factor of 2.8"), ("tau", "less than 1.5")],
)
def test_sizes_in_a_reason_have_the_unit_of_the_measure(unit: str, said: str) -> None:
    assert with_units(f"it is less than {amount(1.5)}", unit) == f"it is {said}"
    assert with_units(amount(1.0), "points") == "1 point"


@pytest.mark.parametrize(
    ("ce", "stable", "becomes"),
    [
        (("supported", None), ("supported", None), "supported"),
        (("supported", None), ("inconclusive", "supported"), "supported where run"),
        (("inconclusive", "refuted"), ("refuted", None), "refuted where run"),
        (("supported", None), ("refuted", None), "differs"),
        (("supported", None), ("inconclusive", None), "inconclusive"),
        (("supported", None), ("not run", None), "supported"),
    ],
)
def test_a_claim_becomes_what_both_losses_say(
    ce: tuple[Decision, Decision | None], stable: tuple[Decision, Decision | None], becomes: str
) -> None:
    both = ((loss, *said) for loss, said in (("ce", ce), ("stable", stable)))
    assert outcome(verdict("A1", reached, loss, where_run=where) for loss, reached, where in both) == becomes
