"""The two lines at the end of a run: what is found and what is undecided, by claim and not by loss."""

from dataclasses import replace

from analysis.claims.claim import Source, Verdict, to_frame
from analysis.output.conclusion import conclude
from analysis.statistics.estimates import Decision


def verdicts(**reached: tuple[Decision, ...]) -> list[Verdict]:
    return [Verdict(claim, "", Source("", ""), one, "") for claim, both in reached.items() for one in both]


def test_a_claim_counts_once_whatever_its_losses() -> None:
    found = conclude(
        verdicts(
            A1=("supported",), A2=("supported", "refuted"), A3=("refuted", "refuted"), A4=("inconclusive",),
            A5=("supported", "inconclusive"), A6=("not run", "not run"), A7=("supported", "not run"),
        )
    )  # fmt: skip
    assert found.found == "supported: A1 and A7; refuted: A3; depending on the attack's loss: A2"
    assert found.undecided == "2 of 6 testable claims (A4 and A5)"


def test_a_claim_that_waits_only_for_networks_that_were_not_run_holds_where_it_was_run() -> None:
    def where_run(claim: str, reached: Decision | None) -> Verdict:
        return replace(verdicts(**{claim: ("inconclusive",)})[0], where_run=reached)

    held, missing = where_run("A1", "supported"), where_run("A2", "refuted")
    open_ = [where_run("A3", None), where_run("A4", None)]
    found = conclude([held, missing, *open_])
    assert found.found == "supported where run: A1; refuted where run: A2"
    assert found.undecided == "2 of 4 testable claims (A3 and A4)"
    assert list(to_frame([held, missing, *open_])["where_run"].fillna("")) == ["supported", "refuted", "", ""]


def test_a_study_that_decides_nothing_says_so() -> None:
    assert conclude(verdicts(A1=("inconclusive",))).found == "no claim is decided"
    nothing = conclude(verdicts(A1=("not run",)))
    assert nothing.undecided == "no claim could be judged: each needs several batch sizes, seeds or settings"


def test_many_claims_are_counted_not_listed() -> None:
    found = conclude(verdicts(**{f"A{i}": ("inconclusive",) for i in range(1, 21)}))
    assert found.undecided == ("20 of 20 testable claims (A1, A2, A3, A4, A5, A6, A7, A8 and 12 more)")
