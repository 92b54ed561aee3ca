"""Lookups of trials and networks equal searches through all rows; text columns keep their values and nulls."""

import pandas as pd
import pyarrow as pa
import pytest

from analysis.tables.arrow import frame
from analysis.tables.lookup import of_network, of_trials
from analysis.tables.robust_networks import answers
from analysis.tables.table import StudyTable, from_rows
from tests.analysis.large_batch import robust
from tests.analysis.synthetic import curve_rows

COLUMNS = ["accuracy", "attack", "trial_id"]


@pytest.fixture
def table() -> StudyTable:
    return from_rows([*curve_rows(regime="lr"), *curve_rows(regime="lr_bs")])


def test_the_rows_of_trials_are_those_with_their_ids(table: StudyTable) -> None:
    first, second = table.trials["trial_id"].iloc[[3, 0]]
    found = of_trials(table, "attacks", first, second, columns=COLUMNS)
    searched = [table.attacks.loc[table.attacks["trial_id"] == trial_id, COLUMNS] for trial_id in (first, second)]
    pd.testing.assert_frame_equal(found, pd.concat(searched))


def test_nothing_is_found_of_an_unknown_trial_or_in_an_empty_table(table: StudyTable) -> None:
    assert of_trials(table, "attacks", "nobody", columns=COLUMNS).empty
    assert of_trials(table, "spectra", columns=["split", "trial_id"]).empty
    assert of_trials(from_rows([]), "attacks", "nobody", columns=COLUMNS).empty
    assert of_network(from_rows([]), "mnist", "m1").empty


def test_the_points_of_a_network_are_those_of_its_data_set_and_model(table: StudyTable) -> None:
    dataset, model = table.points[["dataset", "model"]].iloc[0]
    alike = (table.points["dataset"] == dataset) & (table.points["model"] == model)
    pd.testing.assert_frame_equal(of_network(table, dataset, model), table.points[alike])
    assert of_network(table, dataset, "nobody").empty


@pytest.mark.parametrize("words", [["a", None, "b", "a"], [None, None], [], ["a"]])
def test_text_keeps_its_values_and_nulls(words: list[str | None]) -> None:
    for column in (pa.array(words, pa.string()), pa.chunked_array([words[:1], words[1:]], pa.string())):
        found = frame(pa.table({"word": column}))["word"]
        assert found.dtype == object
        assert found.tolist() == words


def test_answers_of_section_3_3_are_those_of_its_networks_and_their_parents() -> None:
    table = from_rows([*robust(), *curve_rows(regime="lr")])
    found = answers(table, "transfers", loss="ce")
    asked = table.transfers[(table.transfers["loss"] == "ce") & (table.transfers["split"] == "test")]
    assert len(found) == len(asked)
    for (trial_id, attack), record in found.items():
        (one,) = asked[(asked["trial_id"] == trial_id) & (asked["attack"] == attack)].to_dict("records")
        assert (record["correct"], record["n"]) == (one["correct"], one["n"])
    children = set(table.trials[table.trials["adversarial_training"] != "none"]["trial_id"])
    assert {trial_id for trial_id, _ in found} == children
