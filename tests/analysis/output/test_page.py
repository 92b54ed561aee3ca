"""The page: complete, honest, self-contained, and safe against the text it is given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from analysis.claims import CLAIMS
from analysis.claims.claim import Coverage, Source, Verdict, relate_losses
from analysis.claims.stratum import Stratum
from analysis.figures.curve_sets import setups
from analysis.findings import Findings, find
from analysis.output.conclusion import by_claim, conclude
from analysis.output.page import render
from analysis.output.page.charts import Charts, split_captions
from analysis.output.page.claims import Axis, claim_section, papers_outside, tally
from analysis.output.page.finding import PLAIN, finding
from analysis.output.page.header import coverage, deviations, header, reliability
from analysis.output.page.missing import missing_section
from analysis.statistics.estimates import Decision
from analysis.tables.table import StudyTable, from_rows
from search_spaces import Request
from study.results.folder import Unreadable
from tests.analysis.output.page_data import charts
from tests.analysis.synthetic import curve_rows, line, planned, trial

SIZES = (16, 32, 64, 128, 256)
EVIL = "</script><img src=x onerror=alert(1)>"


def study() -> StudyTable:
    """Benchmark and LR curves with a diverged cell, a missing cell, a torn file and hostile text."""
    rows = curve_rows(regime="lr", batch_sizes=SIZES, fgsm=line(0.3, 0.1), log2_lambda1=line(1, 1), noise=0.002)
    rows += curve_rows(regime="benchmark", batch_sizes=SIZES, diverged=(256,))
    for row in rows:
        if row["status"] == "diverged":
            row["status_reason"] = EVIL
    trials = [trial(regime=r, batch_size=b, seed=s) for r in ("lr", "benchmark") for b in SIZES for s in (0, 1, 2)]
    grid = planned(rows, [*trials, *(trial(batch_size=512, seed=s) for s in (0, 1, 2))])
    table = from_rows(
        rows,
        grid=grid,
        requests=[Request("natural_training", {"dataset": ("mnist",), "model": ("m1_20",), "momentum": ("0", "0.9")})],
        location="/results/<i>study</i>",
    )
    return replace(table, unreadable=(Unreadable("trials/<b>torn</b>.parquet", "incomplete or damaged"),))


@pytest.fixture(scope="module")
def findings() -> Findings:
    return find(study())


@pytest.fixture(scope="module")
def page(findings: Findings) -> str:
    return render(findings, ["claims.csv", "correlations.csv", "counterexamples.csv"])


class Elements(HTMLParser):
    """All start tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._code = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_nothing_on_the_page_points_outside(page: str) -> None:
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "srcset", "action", "data"):
            target = attributes.get(name)
            assert target is None or not re.match(r"\s*(https?:)?//", target), (tag, target)
        assert tag not in ("link", "iframe", "base")
    policy = next(a["content"] for t, a in Elements(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_the_library_is_inlined_once_and_the_page_stays_small(page: str) -> None:
    assert page.count("window.vegaEmbed=") == 1
    assert len(page.encode()) < 3_000_000


def test_text_from_rows_stays_text(page: str) -> None:
    parsed = Elements(page)
    assert EVIL in parsed.text
    assert "/results/<i>study</i>" in parsed.text
    assert not any(tag in ("img", "b") and attributes.get("src") == "x" for tag, attributes in parsed.found)
    assert [tag for tag, _ in parsed.found].count("script") == 3


def test_every_figure_has_a_place_a_label_and_a_specification(page: str) -> None:
    places = [a for _, a in Elements(page).found if "data-chart" in a]
    specs = charts(page)
    assert len(places) >= 10
    assert {a["data-chart"] for a in places} == set(specs)
    labelled = [a for _, a in Elements(page).found if a.get("class") == "frame"]
    assert len(labelled) == len(places)
    assert all(a["aria-label"] for a in labelled)


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(page: str) -> None:
    found = Elements(page).found
    ids = [a["id"] for _, a in found if a.get("id")]
    assert len(ids) == len(set(ids))
    inner = {str(a["href"])[1:] for t, a in found if t == "a" and str(a.get("href", "")).startswith("#")}
    assert inner <= set(ids)


def test_coverage_counts_the_plan_and_says_when_it_was_run_in_part(page: str) -> None:
    text = Elements(page).text
    assert "27 of the 33 requested networks are trained (3 diverged)" in text


def test_missing_diverged_and_excluded_are_named_with_what_to_do(page: str) -> None:
    text = Elements(page).text
    command = r"python -m study.run --grid natural_training --select dataset=mnist model=m1_20 regime=lr momentum=0"
    assert f"{command} batch_size=512" in text
    assert "--results '/results/<i>study</i>'" in text
    assert "trials/<b>torn</b>.parquet" in text
    assert "incomplete or damaged" in text


def test_counterexamples_are_stated_for_both_losses(page: str, findings: Findings) -> None:
    text = Elements(page).text
    for loss in ("ce", "stable"):
        said = findings.counterexamples.summary("lambda1_test", loss)
        assert not said.startswith("0 confirmed")
        assert said in text
    assert "python -m study.run" in text.split("To train the first pair again", 1)[1][:200]


def test_signs_that_no_test_could_compare_are_not_said_to_agree() -> None:
    text = Elements(render(find(from_rows(curve_rows(regime="lr"))), [])).text
    assert "the one within curves cannot be compared: 2 curves only" in text
    assert "the same sign" not in text


def test_the_papers_panels_are_drawn_or_named_with_their_command(page: str) -> None:
    ids = {a.get("id") for _, a in Elements(page).found}
    assert {"figure-A-1L", "panel-A-1L", "panel-A-4L", "panel-B-5"} <= ids
    assert "figure-A-4L" not in ids


def test_an_empty_study_still_says_what_it_is() -> None:
    trials = [trial(batch_size=size, seed=seed) for size in (16, 64) for seed in (0, 1)]
    request = Request("natural_training", {"dataset": ("mnist",), "model": ("m1_20",)})
    text = Elements(render(find(from_rows([], grid=planned([], trials), requests=[request])), [])).text
    assert "0 of the 4 requested networks are trained: nothing to measure yet" in text
    assert "No claim can be judged from these results" in text


def test_a_study_in_which_everything_diverged_still_makes_a_page() -> None:
    rows = curve_rows(regime="lr", batch_sizes=(16, 64), diverged=(16, 64))
    text = Elements(render(find(from_rows(rows)), [])).text
    assert "0 networks are trained (6 diverged); what was requested is not known" in text
    trials = [trial(batch_size=size, seed=seed) for size in (16, 64) for seed in (0, 1, 2)]
    table = from_rows(rows, grid=planned(rows, trials))
    assert coverage(table) == "0 of the 6 requested networks are trained (6 diverged): nothing to measure"


def verdict(claim: str, word: Any, loss: str | None = None) -> Verdict:
    source = Source("natural-training paper (2020)", "3", ("1L",))
    return Verdict(claim, f"statement of {claim}", source, word, "reason", loss)


def test_the_title_says_what_the_foremost_decided_claims_say() -> None:
    decided = [verdict("A7", "refuted", "ce"), verdict("A7", "refuted", "stable"), verdict("A8", "supported")]
    said = finding([*decided, verdict("A3", "inconclusive")])
    assert said.lower() == f"{PLAIN['A7'][1]}; {PLAIN['A8'][0]}".lower()
    rehearsed = [replace(one, rehearsal=True, strata=(Stratum(one.verdict, "", dataset="digits"),)) for one in decided]
    assert finding(rehearsed) == f"On networks in none of the papers (Digits), {PLAIN['A7'][1]}; {PLAIN['A8'][0]}"
    assert finding([*rehearsed[:2], decided[2]]).lower() == PLAIN["A8"][0].lower()


def test_title_tally_and_conclusion_agree_on_a_claim_that_was_run_on_one_loss() -> None:
    both = [verdict("A7", "refuted", "ce"), verdict("A7", "not run", "stable")]
    assert finding(both).lower() == PLAIN["A7"][1].lower()
    assert [(one["text"], one["count"]) for one in tally(by_claim(both))] == [("refuted", 1)]
    assert conclude(both).refuted == ["A7"]


def test_the_title_names_the_data_sets_that_bear_it_out_where_the_others_say_the_opposite() -> None:
    def of(claim: str, word: Decision, **found: Decision) -> Verdict:
        strata = tuple(Stratum(reached, "", dataset=data) for data, reached in found.items())
        return replace(verdict(claim, word), strata=strata)

    apart = of("A7", "refuted", mnist="supported", digits="refuted")
    assert finding([apart]) == f"On Digits, unlike MNIST, {PLAIN['A7'][1]}"
    same = of("A8", "supported", mnist="refuted", digits="supported")
    assert finding([apart, same]) == f"On Digits, unlike MNIST, {PLAIN['A7'][1]}; {PLAIN['A8'][0]}"
    other = of("A8", "supported", mnist="supported", digits="refuted")
    assert finding([apart, other]).endswith(f"; on MNIST, unlike Digits, {PLAIN['A8'][0]}")
    open_ = of("A7", "refuted", mnist="inconclusive", digits="refuted")
    assert finding([open_]) == f"On some curves {PLAIN['A7'][1]}"


def test_a_refutation_in_the_title_says_whether_any_curve_agrees_with_the_claim() -> None:
    """ "Does not fall on every curve" was read as "falls on some" where it falls on none."""

    def of(*found: Stratum) -> str:
        return finding([replace(verdict("A7", "refuted"), strata=found)])

    level = Stratum("refuted", "", dataset="mnist")
    rising = replace(level, margin=(-2.0, -3.0, -1.0))
    falling = Stratum("supported", "", dataset="mnist")
    assert of(level, rising) == "Adversarial accuracy does not fall as the batch grows"
    assert of(rising, rising) == "Adversarial accuracy rises as the batch grows"
    undecided = replace(rising, verdict="inconclusive", measure="fgsm")
    assert of(rising, undecided) == "Adversarial accuracy rises as the batch grows"
    other = replace(undecided, model="m1")
    assert of(rising, other) == "On some curves adversarial accuracy does not fall as the batch grows"
    fashion = replace(rising, dataset="fashion-mnist")
    open_on_mnist = replace(undecided, dataset="mnist")
    assert (
        of(fashion, falling, open_on_mnist)
        == "On Fashion-MNIST, unlike MNIST, adversarial accuracy rises as the batch grows"
    )
    assert of(level, falling) == "Adversarial accuracy falls on some curves and not on others as the batch grows"


@pytest.mark.parametrize("words", [("supported", "refuted"), ("supported", "inconclusive")])
def test_the_title_says_nothing_of_a_claim_on_which_the_losses_differ(words: tuple[Any, Any]) -> None:
    both = [verdict("A7", words[0], "ce"), verdict("A7", words[1], "stable")]
    assert finding(both) == "No claim is decided yet: 1 claim could be judged"


def test_the_title_counts_where_it_has_no_words_for_what_is_decided() -> None:
    claims = [verdict("A1", "supported"), verdict("A5", "refuted"), verdict("A3", "inconclusive")]
    assert finding(claims) == "Of 3 claims that could be judged: 1 supported, 1 refuted"


def test_without_a_decided_claim_the_title_says_what_holds_of_the_networks_that_were_run() -> None:
    def stratum(reached: Decision, model: str) -> Stratum:
        return Stratum(reached, "", dataset="mnist", model=model)

    held, missing = stratum("supported", "m1_20"), stratum("not run", "stdcnn")
    claims = [replace(verdict(claim, "inconclusive"), strata=(held, missing)) for claim in ("A2", "A3")]
    assert finding(claims) == f"On MNIST with M1 (20-20), {PLAIN['A2'][0]}; {PLAIN['A3'][0]}"
    for other in (stratum("inconclusive", "m1_20"), stratum("not run", "m1_20"), stratum("inconclusive", "stdcnn")):
        open_ = [replace(one, strata=(held, other)) for one in claims]
        assert finding(open_) == "No claim is decided yet: 2 claims could be judged"


def test_every_claim_of_the_title_is_a_claim() -> None:
    assert set(PLAIN) <= set(CLAIMS)


def test_claims_of_papers_outside_the_study_are_not_counted() -> None:
    asked = replace(verdict("A1", "not run"), coverage=Coverage(planned=3))
    elsewhere = replace(verdict("C1", "not run"), source=Source("Yao et al. (2018)", "3"))
    both = [asked, elsewhere, verdict("A7", "refuted")]
    assert [(one["text"], one["count"]) for one in tally(by_claim(both))] == [("refuted", 1), ("not run", 1)]
    assert papers_outside(both) == ["Yao et al. (2018)"]


def test_pgd_is_said_to_be_no_weaker_than_fgsm_only_where_both_were_asked() -> None:
    def trust(attacks: set[str]) -> str:
        rows = curve_rows(regime="lr", batch_sizes=(16, 64))
        for row in rows:
            row["attacks"] = [one for one in row["attacks"] if one["attack"] in attacks]
        return " ".join(reliability(from_rows(rows)))

    assert trust({"fgsm", "pgd"}).endswith("PGD is nowhere weaker than FGSM, and every attack had non-zero gradients")
    assert trust({"pgd"}) == "no attack looks unreliable: every attack had non-zero gradients"


def test_where_nothing_is_missing_no_section_says_so() -> None:
    rows = curve_rows(regime="lr", batch_sizes=(16, 64))
    trials = [trial(regime="lr", batch_size=size, seed=seed) for size in (16, 64) for seed in (0, 1, 2)]
    assert missing_section(from_rows(rows, grid=planned(rows, trials))) is None
    more = [*trials, trial(regime="lr", batch_size=128, seed=0)]
    assert missing_section(from_rows(rows, grid=planned(rows, more))) is not None


def test_claims_that_contradict_each_other_are_named_beside_each_other(page: str) -> None:
    text = Elements(page).text
    assert "Another sentence of the paper says otherwise: A21 (" in text
    assert "Another sentence of the paper says otherwise: A15 (" in text
    assert "Applied to the numbers that the paper prints, our test says: supported." in text
    assert "no printed numbers" not in text


def test_a_claim_whose_losses_disagree_is_not_counted_as_supported() -> None:
    apart = [verdict("A6", "supported", "ce"), verdict("A6", "refuted", "stable")]
    both = relate_losses(apart, lambda: "More images stay right.")
    assert [(one["text"], one["count"]) for one in tally(by_claim(both))] == [("losses differ", 1)]


def test_each_claim_is_listed_once(page: str, findings: Findings) -> None:
    ids = [a["id"] for _, a in Elements(page).found if (a.get("id") or "").startswith("claim-")]
    assert ids.count("claim-A7") == 1
    assert {f"claim-{verdict.claim}" for verdict in findings.verdicts} == set(ids)
    assert Elements(page).text.count(CLAIMS["A3"].statement) == 1


def test_a_claim_shows_its_strata_on_the_side_for_which_they_speak(findings: Findings) -> None:
    """In the planted study accuracy rises and curvature rises under LR: against A7, and for A20's second part."""
    margins = {
        claim: [s.margin for v in findings.verdicts if v.claim == claim for s in v.strata if s.verdict != "not run"]
        for claim in ("A7", "A20")
    }
    assert all(value < 0 for value, _, _ in margins["A7"] if value == value)
    assert any(low > 1 for _, low, _ in margins["A20"])


def test_the_axis_keeps_order_and_ends() -> None:
    axis = Axis(-10.0, 20.0)
    places = [axis.percent(value) for value in (-50.0, -10.0, -1.0, 0.0, 1.0, 20.0, 99.0)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0.0, 100.0)
    assert [text for text, _ in axis.ticks] == ["−3", "−1", "0", "1", "3", "10"]


def test_what_all_captions_say_is_said_once() -> None:
    shared, own = split_captions(["FGSM. Means of 3 seeds.", "PGD. Means of 3 seeds."])
    assert (shared, own) == ("Means of 3 seeds.", ["FGSM.", "PGD."])
    assert split_captions(["Alone. Whole."]) == ("", ["Alone. Whole."])


def test_where_no_claim_can_be_judged_the_figures_come_first() -> None:
    one_seed = curve_rows(regime="lr", batch_sizes=(16, 64), seeds=(0,))
    shown = Elements(render(find(from_rows(one_seed)), []))
    sections = [attributes["id"] for tag, attributes in shown.found if tag == "section"]
    assert sections.index("figures") < sections.index("claims")
    assert "too few to decide a claim, 3 are needed" in shown.text


def test_a_few_settings_with_more_seeds_do_not_make_a_study_that_decides() -> None:
    few = curve_rows(batch_sizes=(16, 64), seeds=(0,)) + curve_rows(batch_sizes=(256,))
    trust = header(find(from_rows(few)), Charts())["trust"]
    assert "1 to 3 seeds per setting: fewer than 3 decide no claim" in trust


def test_a_claims_line_says_what_decided_and_counts_the_strata_of_each_loss(findings: Findings) -> None:
    """The counts of one loss were printed for both: "0 of 7 strata decided" beside "refuted"."""
    why = "untrained at batch 256; with it: supported"
    strata = tuple(Stratum("inconclusive", "open", dataset="mnist", model=f"m{n}") for n in range(7))
    on_ce = replace(verdict("A2", "inconclusive", "ce"), why=why, strata=strata)
    refuted = replace(strata[0], verdict="refuted")
    on_stable = replace(verdict("A2", "refuted", "stable"), strata=(refuted, *strata[1:]), rehearsal=True)
    section = str(claim_section(replace(findings, verdicts=relate_losses([on_ce, on_stable], lambda: ""))).body)
    text = Elements(section).text
    assert "Untrained at batch 256; with it: supported" in text
    assert "7 inconclusive · published loss" in text
    assert "1 against, 6 inconclusive · stable loss" in text
    assert "decided on one loss only" in text
    assert 'class="word refuted rehearsal"' in section
    assert 'class="word inconclusive"' in section
    assert "Each of 1 claim is tested at 5 %" in text


def test_sign_errors_have_an_axis_of_their_own_and_the_extreme_ones_name_their_data_set(findings: Findings) -> None:
    found: tuple[tuple[str, Decision, float], ...] = (
        ("mnist", "refuted", 0.1),
        ("digits", "supported", 0.9),
        ("mnist", "inconclusive", float("nan")),
    )
    strata = tuple(Stratum(word, "", effect=effect, dataset=data, part="sign-error") for data, word, effect in found)
    one = replace(verdict("A8", "supported", "ce"), strata=strata)
    html = str(claim_section(replace(findings, verdicts=[one])).body)
    assert re.findall(r'<circle cx="([^"]+)%"', html) == ["90.0", "10.0"]
    assert re.findall(r"<text[^>]*>([^<]*)</text>", html) == ["Digits", "MNIST"]
    assert "0.5 (chance)" in html
    assert "λ₁ explains this curve" in html
    assert "1 of 3 run support it" in html


def test_sizes_that_depart_from_the_paper_are_stated() -> None:
    short = from_rows(curve_rows(regime="lr", batch_sizes=(16,), epochs=2))
    assert deviations(setups(short)) == ["MNIST · M1 (20-20) departs from the paper: 2 instead of 100 epochs."]
    assert deviations(setups(from_rows(curve_rows(regime="lr", batch_sizes=(16,))))) == []
    half = from_rows([row | {"precision": "bf16"} for row in curve_rows(regime="lr", batch_sizes=(16,))])
    assert deviations(setups(half)) == ["MNIST · M1 (20-20) departs from the paper: bf16 instead of float32 precision."]


def test_rows_outside_the_plan_are_counted_apart() -> None:
    full = study()
    fewer = replace(full, planned=full.planned[full.planned["batch_size"] != 16])
    assert coverage(fewer).endswith(", 6 more were not requested")
