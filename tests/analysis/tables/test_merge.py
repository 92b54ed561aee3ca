"""Several results folders as one study: the union by trial id, and conflicts that are listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import analysis
from analysis.figures.representatives import Representative, arrays
from analysis.report import main
from analysis.tables.table import StudyTable, load
from study.results.answers import ENTRIES, READERS
from study.results.folder import RecordsError, Results
from study.results.packed import read_packed
from study.results.schema import HEADLINE as HEADLINE_FIELDS
from study.results.schema import PROBES, Row
from tests.analysis.synthetic import curve_rows, row, trial
from tests.commands import refused
from tests.stored import results_in

EXAMPLE = Path(__file__).parents[3] / "docs/example/rows.parquet"
HEADLINE = tuple(field.name for field in HEADLINE_FIELDS)
FRAMES = ("trials", "points", "attacks", "transfers", "spectra", "landscapes")


def written(folder: str | Path, rows: Sequence[Row]) -> str:
    return results_in(folder, rows).location


@pytest.fixture(scope="module")
def example() -> list[Row]:
    rows: list[Row] = read_packed(EXAMPLE)[0].to_pylist()
    return rows


@pytest.fixture
def two(tmp_path: Path) -> Callable[[Sequence[Row], Sequence[Row]], StudyTable]:
    """Loads two sets of rows as the folders `one` and `two`."""

    def loaded(first: Sequence[Row], second: Sequence[Row]) -> StudyTable:
        return load(written(tmp_path / "one", first), written(tmp_path / "two", second))

    return loaded


def network(**columns: Any) -> Row:
    """The row of one small network."""
    return curve_rows(batch_sizes=(16,), seeds=(0,))[0] | {"device": "cpu", "weights_sha256": "a" * 64} | columns


def assert_same_tables(found: StudyTable, expected: StudyTable) -> None:
    for name in FRAMES:
        one, other = (getattr(table, name) for table in (found, expected))
        binary = [column for column in one if column == "correct_bits"]
        keys = [key for key in ("trial_id", "regime", "attack", "loss", "split", "epsilon", "kind") if key in one]
        one, other = (t.drop(columns=binary).sort_values(keys, ignore_index=True) for t in (one, other))
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("scheme", ["", "fsspec+memory://merged"])
def test_two_halves_of_a_study_are_the_study(scheme: str, tmp_path: Path, example: list[Row]) -> None:
    halves = [[one for one in example if (one["seed"] < 3) == first] for first in (True, False)]
    places = [f"{scheme or tmp_path}/{name}" for name in ("one", "two")]
    found = load(*(written(place, half) for place, half in zip(places, halves, strict=True)))
    assert (found.locations, found.conflicts) == (tuple(places), ())
    assert_same_tables(found, load(written(tmp_path / "whole", example)))


def test_what_two_folders_asked_of_the_same_weights_is_one_row(two: Any, tmp_path: Path, example: list[Row]) -> None:
    """One folder has FGSM and lambda1 on the training images, the other PGD and that on the test images."""

    def part(one: Row, attack: str, split: str) -> Row:
        entries = {
            "attacks": [entry for entry in one["attacks"] if entry["attack"] == attack],
            "spectra": [entry for entry in one["spectra"] if entry["split"] == split],
        }
        asked = (f"{attack}_", f"lambda1_{split}", "lambda1_x", "headline_epsilon")
        lost = {column: None for column in HEADLINE if not column.startswith(asked)}
        return (
            one
            | entries
            | lost
            | {"probe_seconds": sum(e["seconds"] for e in (*entries["attacks"], *entries["spectra"]))}
        )

    whole = [part(one, "fgsm", "train") for one in example], [part(one, "pgd", "test") for one in example]
    found = two(*whole)
    assert found.conflicts == ()
    assert set(found.sources.values()) == {found.locations}
    seconds = [first["probe_seconds"] + second["probe_seconds"] for first, second in zip(*whole, strict=True)]
    expected = [one | {"probe_seconds": total} for one, total in zip(example, seconds, strict=True)]
    assert_same_tables(found, load(written(tmp_path / "whole", expected)))


def test_the_time_of_answers_that_are_added_is_added(two: Any) -> None:
    """The second folder is a copy of the first one with one more attack."""
    first = network(probe_seconds=10.0)
    more = first["attacks"][0] | {"epsilon": 0.05, "seconds": 3.0}
    second = first | {"attacks": [*first["attacks"], more], "probe_seconds": 13.0}
    (found,) = two([first], [second]).trials.to_dict("records")
    assert found["probe_seconds"] == 13.0
    assert found["headline_epsilon"] == 0.3


@pytest.mark.parametrize("tracked", [0, 1])
def test_the_curvature_while_training_is_kept_from_either_folder(tracked: int, two: Any) -> None:
    epoch = {"epoch": 1, "lr": 0.1, "train_loss": 0.5, "val_acc": None, "lambda1": None}
    rows = [network(history=[epoch]), network(history=[epoch])]
    rows[tracked]["history"] = [epoch | {"lambda1": 7.0, "lambda1_images": 256}]
    table = two([rows[0]], [rows[1]])
    assert table.tracked["lambda1"].unique().tolist() == [7.0]
    assert (len(next(iter(table.sources.values()))), table.conflicts) == (1 + tracked, ())


def test_a_copy_of_a_folder_adds_nothing(two: Any, example: list[Row]) -> None:
    found = two(example[:6], example[:6])
    assert found.conflicts == ()
    assert set(found.sources.values()) == {found.locations[:1]}
    assert len(found.attacks) == sum(len(one["attacks"]) for one in example[:6])


def test_other_weights_are_a_conflict_and_the_first_folder_counts(two: Any) -> None:
    first, second = network(test_acc=0.9), network(test_acc=0.8, weights_sha256="b" * 64, device="NVIDIA H200")
    found = two([first], [second])
    (conflict,) = found.conflicts
    assert (conflict.about, conflict.kept, conflict.left_out) == ("weights", *found.locations)
    assert conflict.detail == "other weights, trained on cpu and on NVIDIA H200; test_acc 0.9 and 0.8"
    assert list(found.trials["test_acc"]) == [0.9]
    swapped = load(*reversed(found.locations))
    assert list(swapped.trials["test_acc"]) == [0.8]
    assert swapped.conflicts[0].kept == found.locations[1]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"n_params": None}, ""),
        ({"dataset_sha256": "c" * 64}, "other images: bbbbbbbbbbbb and cccccccccccc"),
        ({"parent_sha256": "c" * 64}, "other weights of its parent"),
        ({"status": "diverged"}, "ok and diverged"),
    ],
)
def test_networks_of_other_images_or_parents_or_outcomes_are_not_the_same(columns: Row, said: str, two: Any) -> None:
    first = network(dataset_sha256="b" * 64, parent_sha256="b" * 64)
    found = two([first], [first | columns]).conflicts
    assert [one.about for one in found] == (["weights"] if said else [])
    assert not said or found[0].detail.startswith(said)


def test_a_failed_trial_gives_way_to_a_network(two: Any) -> None:
    failed = network(status="failed", weights_sha256=None, attacks=None, test_acc=None)
    for rows in ([failed], [network()]), ([network()], [failed]):
        found = two(*rows)
        assert (list(found.trials["status"]), found.conflicts) == (["ok"], ())


def test_other_answers_of_the_same_weights_are_listed(two: Any) -> None:
    first = network()
    attacks = [entry | {"correct": entry["correct"] - 7} for entry in first["attacks"]]
    spectra = [entry | {"eigenvalues": [entry["eigenvalues"][0] * 1.001]} for entry in first["spectra"]]  # tolerance
    found = two([first], [first | {"attacks": attacks, "spectra": spectra}])
    (conflict,) = found.conflicts
    assert conflict.about == "answers"
    right = first["attacks"][0]["correct"]
    assert f": correct {right} and {right - 7}, and 3 more answers" in conflict.detail
    assert list(found.attacks["correct"]) == [entry["correct"] for entry in first["attacks"]]


def test_every_kind_of_entry_can_be_united() -> None:
    entries = {one.name for one in PROBES if pa.types.is_list(one.type) and pa.types.is_struct(one.type.value_type)}
    assert entries == set(READERS) == set(ENTRIES)


def test_the_child_of_another_parent_is_left_out(two: Any) -> None:
    parent = network()
    child_of = replace(trial(batch_size=16), parent=trial(batch_size=16), target_loss=None, learning_rate=0.02)
    child = row(child_of, clean=0.9, attacks={}, log2_lambda1=1.0, regimes=("robust",)) | {"parent_sha256": "b" * 64}
    other = parent | {"weights_sha256": "b" * 64}
    found = two([parent], [other, child])
    assert {one.about for one in found.conflicts} == {"weights", "parent"}
    assert list(found.trials["trial_id"]) == [parent["trial_id"]]
    reversed_order = load(*reversed(found.locations))
    assert [one.about for one in reversed_order.conflicts] == ["weights"]
    assert len(reversed_order.trials) == 2


def test_arrays_are_those_of_the_folders_whose_answers_count(two: Any) -> None:
    landscape = {"kind": "line", "split": "train", "subset_size": 5, "hessian_size": 5, "offsets": "o", "losses": "l"}
    first, second = network(), network(landscapes=[landscape])
    found = two([first], [second])
    one, other = (Results(location) for location in found.locations)
    one.write_arrays(first["trial_id"], {"mine": np.zeros(2)})
    other.write_arrays(first["trial_id"], {"o": np.ones(3), "mine": np.ones(2)})
    drawn = Representative("", found.trials.iloc[0].to_dict(), 1)
    assert {name: list(values) for name, values in arrays(found, drawn).items()} == {"mine": [0, 0], "o": [1, 1, 1]}
    conflicting = two([first], [second | {"weights_sha256": "b" * 64}])
    assert list(arrays(conflicting, drawn)) == ["mine"]


def test_a_report_of_two_folders_lists_their_conflicts(
    tmp_path: Path, example: list[Row], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    altered = example[3] | {"weights_sha256": "b" * 64}
    folders = written(tmp_path / "one", example[:6]), written(tmp_path / "two", [altered, *example[6:9]])
    monkeypatch.chdir(tmp_path)
    assert main(list(folders)) == 0
    printed = capsys.readouterr()
    assert printed.out == "report/report.html\n"
    assert printed.err.startswith(
        "1 network trained with other weights in another folder: the folder named first counts"
    )
    listed = pd.read_csv("report/conflicts.csv")
    assert list(listed["trial_id"]) == [altered["trial_id"]]
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert 'href="conflicts.csv"' in page
    assert "Folders that disagree" in page
    assert all(folder in page for folder in folders)
    study = analysis.load(folders)
    assert len(study.networks) == 9
    assert list(study.conflicts["trial_id"]) == [altered["trial_id"]]


def test_folders_that_cannot_be_united_get_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written("good", [network()])
    written("empty", [])
    written("newer", [])
    Path("link").symlink_to("good")
    content = Path("good/trials", f"{network()['trial_id']}.parquet").read_bytes()
    Path("newer/trials/x.parquet").write_bytes(content)
    for folders, said in (
        (["good", "good/"], "good is named twice"),
        (["good", "link"], "link is named twice"),
        (["good", "nowhere"], "nowhere holds no results"),
        (["good", "empty"], "no trial of"),
        (["good", "newer"], "copied from trial"),
    ):
        refused(capsys, main, [*folders, "--out", "out"], said)
    with pytest.raises(RecordsError, match="named twice"):
        analysis.load(["good", "./good"])
