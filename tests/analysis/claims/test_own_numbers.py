"""The papers' claims on the numbers that the papers print themselves."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.claims import CLAIMS
from analysis.claims.curves import Evidence
from analysis.claims.own_numbers import NOT_PRINTED, by_its_own_numbers
from analysis.published import published
from analysis.published.replay import ATTACK_NOISE, CLEAN_NOISE, CURVATURE_NOISE, printed_study

OWN = {
    "B4": "inconclusive",
    "B6": "inconclusive",
    "B7": "inconclusive",
    "B9": "inconclusive",
    "B10": "inconclusive",
    "B11": "inconclusive",
    "B19": "inconclusive",
    "B20": "supported",
    "B21": "inconclusive",
    "B22": "refuted",
    "B25": "inconclusive",
    "C1": "supported",
    "C3": "inconclusive",
    "C4": "supported",
    "C5": "supported",
    "C6": "inconclusive",
    "C8": "inconclusive",
    "C10": "supported",
    "C11": "supported",
    "C14": "supported",
    "C15": "refuted",
    "C17": "refuted",
}
"""Claim -> its verdict on its paper's numbers; the other claims have none. Three of them fail there: B22 (momentum .9
with decay), C15 (FHSM leaves more images right than FGSM) and C17 (the ratio of curvatures shrinks)."""


def test_by_its_own_numbers() -> None:
    expected = dict.fromkeys(CLAIMS, NOT_PRINTED) | OWN
    assert {name: by_its_own_numbers(claim) for name, claim in CLAIMS.items()} == expected


def test_no_delta_exceeds_what_the_paper_itself_prints() -> None:
    """Where a paper prints a smaller effect in the claimed direction than delta, the direction must decide."""
    evidence = Evidence(printed_study())
    for claim, test in ((CLAIMS[name], test) for name in OWN for test in CLAIMS[name].tests):
        for s in test.strata(evidence, claim.scope, claim.losses[0]):
            as_claimed = s.p_supported < 1.0
            too_small = "the claimed sign" in s.reason or "either way" in s.reason or "ends do not" in s.reason
            assert not (as_claimed and too_small), f"{claim.name}: {s.name}: {s.text}; {s.reason}"


def test_every_printed_network_is_there_with_the_printed_mean_and_the_stated_noise() -> None:
    trials = printed_study().trials
    tables = published()[["table", "model", "variant", "batch_size"]]
    labels = tables.assign(variant=tables["variant"].str.split(" | ", regex=False).str[-1])  # one row is printed twice
    assert len(trials) == 3 * len(labels.drop_duplicates())
    cell = trials.query("model == 'c1' and batch_size == 512").sort_values("seed")
    assert cell["test_acc"].mean() == pytest.approx(0.7925)
    assert 100 * cell["test_acc"].std() == pytest.approx(CLEAN_NOISE)
    log = np.log(cell["lambda1_test"].astype(float))
    assert (np.exp(log.mean()), log.std()) == (pytest.approx(885.6), pytest.approx(CURVATURE_NOISE))
    attacks = printed_study().attacks
    asked = attacks["trial_id"].isin(cell["trial_id"]) & (attacks["epsilon"] == 0.02) & (attacks["split"] == "test")
    assert 100 * attacks.loc[asked, "accuracy"].mean() == pytest.approx(12.94, abs=0.01)
    assert 100 * attacks.loc[asked, "accuracy"].std() == pytest.approx(ATTACK_NOISE, abs=0.01)
