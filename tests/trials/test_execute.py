"""One trial from its plan to its row: complete, repeatable, resumable, and extended by new probes."""

import io
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import safetensors
import torch

from search_spaces import (
    MEASURES,
    AttackProbe,
    InputCurvatureProbe,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Probe,
    SpectrumProbe,
)
from study.attacks import ATTACKS
from study.results import checkpoints, digests
from study.results.answers import answered
from study.results.folder import Results
from study.trials import pending
from study.trials.execute import ProbeError, execute
from study.trials.train import TrialSettings, build_model
from tests.stored import results_in
from tests.trials.small import KilledError, interrupted, planned, probes, tensors, timeless, trial


def test_the_row_answers_everything(results: Results) -> None:
    one = planned()
    execute(one, tensors(), results)
    row = results.read_row(one.trial.trial_id)
    assert row is not None
    assert row["status"] == "ok"
    assert answered(row) == {p.key for p in one.probes}
    assert (row["steps"], row["epochs_done"], row["n_params"]) == (16, 4, 5_746)
    for attack in row["attacks"]:
        bits = np.unpackbits(np.frombuffer(attack["correct_bits"], np.uint8), count=attack["n"])
        assert bits.sum() == attack["correct"] == round(attack["accuracy"] * 50)
    by_loss = {(a["attack"], a["loss"]): a["accuracy"] for a in row["attacks"]}
    assert row["fgsm_acc"] == by_loss["fgsm", "ce"]
    assert row["pgd_acc_stable"] == by_loss["pgd", "stable"]
    assert {s["split"]: s["eigenvalues"][0] for s in row["spectra"]} == {
        "train": row["lambda1_train"],
        "test": row["lambda1_test"],
    }
    assert all(s["converged"] for s in row["spectra"])
    assert results.read_checkpoint(one.trial.trial_id) is None


def test_pgd_of_other_steps_is_another_probe(results: Results) -> None:
    published = AttackProbe("pgd", 0.1, "stable")
    crossing = replace(published, steps=3)
    execute(planned(asked=frozenset({published})), tensors(), results)
    row = execute(planned(asked=frozenset({published, crossing})), tensors(), results)
    assert answered(row) == {published.key, crossing.key}
    assert [(a["steps"], a["step_size"]) for a in row["attacks"]] == [(40, 0.1 / 30), (3, 2.5 * 0.1 / 3)]


def test_the_headline_column_is_of_the_published_number_of_steps_whatever_was_asked_last(results: Results) -> None:
    published = AttackProbe("pgd", 0.1, "ce")
    for probe in (replace(published, steps=60), published, replace(published, steps=1), replace(published, loss="dlr")):
        row = execute(planned(asked=frozenset({probe})), tensors(), results)
        found = {(attack["loss"], attack["steps"]): attack["accuracy"] for attack in row["attacks"]}
        assert row["pgd_acc"] == found.get(("ce", 40), found["ce", 60])
    assert row["pgd_acc_stable"] is None


def test_the_headline_columns_are_of_one_epsilon(results: Results) -> None:
    small, usual = 0.05, 0.1
    execute(planned(asked=frozenset(AttackProbe(name, small, "ce") for name in ("fgsm", "pgd"))), tensors(), results)
    row = execute(planned(asked=frozenset({AttackProbe("fgsm", usual, "ce")})), tensors(), results)
    assert row["headline_epsilon"] == usual and row["fgsm_acc"] is not None
    assert row["pgd_acc"] is None


def test_an_attack_of_a_study_file_keeps_its_own_steps_and_is_answered_once(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ATTACKS, "mine", replace(ATTACKS["pgd"], settings={"steps": 3}))
    mine = AttackProbe("mine", 0.1, "ce")
    row = execute(planned(asked=frozenset({mine})), tensors(), results)
    assert answered(row) == {mine.key} and row["attacks"][0]["steps"] == 3
    with pytest.raises(ValueError, match="a probe of the attack mine cannot state steps"):
        replace(mine, steps=7)


@pytest.mark.parametrize(
    ("model", "asked"), [("m1_8", probes()), ("stdcnn", frozenset([AttackProbe("fgsm", 0.1, "ce")]))]
)
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(
    results: Results, tmp_path: Path, model: str, asked: frozenset[Probe]
) -> None:
    one = planned(trial(model=model, momentum=0.9, augmentation="crop_flip"), asked)

    interrupted(one, tensors(), results, after=3)
    assert results.read_checkpoint(one.trial.trial_id) is not None
    reported: list[Mapping[str, Any]] = []
    resumed = execute(one, tensors(), results, report=reported.append)

    other = results_in(tmp_path / "other")
    undisturbed = execute(one, tensors(), other)
    assert [metrics["epoch"] for metrics in reported if "epoch" in metrics] == [4]
    answered = [metrics["probes_answered"] for metrics in reported if "epoch" not in metrics]
    assert answered == list(range(1, 1 + len(one.probes)))
    assert timeless(resumed) == timeless(undisturbed)
    assert results.read_weights(one.trial.trial_id) == other.read_weights(one.trial.trial_id)


def test_killed_between_probes_a_trial_is_asked_only_what_is_missing_and_its_row_is_the_same(
    results: Results, tmp_path: Path
) -> None:
    arrays = frozenset({InputCurvatureProbe("train"), LandscapeProbe("line", "train", 50, hessian_size=50)})
    one = planned(asked=probes() | arrays)

    def killed_in_probe(metrics: Mapping[str, Any], number: int) -> None:
        if metrics.get("probes_answered") == number:
            raise KilledError

    reported: list[Mapping[str, Any]] = []
    for number in (2, 3):
        with pytest.raises(KilledError):
            execute(
                one,
                tensors(),
                results,
                report=partial(killed_in_probe, number=number),
                settings=TrialSettings(checkpoint_seconds=0.0),
            )
        row = results.read_row(one.trial.trial_id)
        assert row is not None and row["status"] == "ok"
        assert len(answered(row)) == {2: 2, 3: 2 + 3}[number]
    resumed = execute(one, tensors(), results, report=reported.append)
    assert reported == [{"probes_answered": 1}, {"probes_answered": 2}, {"probes_answered": 3}]

    other = results_in(tmp_path / "other")
    undisturbed = execute(one, tensors(), other)
    assert timeless(resumed) == timeless(undisturbed)
    ours, theirs = (folder.read_arrays(one.trial.trial_id) for folder in (results, other))
    assert {name: a.tolist() for name, a in ours.items()} == {name: a.tolist() for name, a in theirs.items()}


def test_what_was_answered_before_an_error_is_stored(results: Results) -> None:
    """As when a shared GPU has no memory left for the next probe."""

    def out_of_memory(metrics: Mapping[str, Any]) -> None:
        if metrics.get("probes_answered") == 2:
            raise KilledError

    one = planned()
    with pytest.raises(KilledError):
        execute(one, tensors(), results, report=out_of_memory)
    row = results.read_row(one.trial.trial_id)
    assert row is not None and len(answered(row)) == 2


def test_answers_whose_arrays_are_lost_are_given_again_with_the_next(results: Results) -> None:
    line = LandscapeProbe("line", "train", 50, hessian_size=50)
    first = execute(planned(asked=frozenset({line, InputCurvatureProbe("train")})), tensors(), results)
    (Path(results.location) / f"arrays/{first['trial_id']}.npz").unlink()
    row = execute(planned(asked=frozenset({InputCurvatureProbe("test")})), tensors(), results)
    assert answered(row) == answered(first) | {InputCurvatureProbe("test").key}
    assert row["landscapes"] == [one | {"seconds": ANY} for one in first["landscapes"]]
    (entry,) = row["landscapes"]
    arrays = {"lambda1_x_train", "grad_x_norm_train", "lambda1_x_test", "grad_x_norm_test"}
    assert results.read_arrays(row["trial_id"]).keys() == arrays | {entry["offsets"], entry["losses"]}


def test_a_new_probe_is_answered_from_stored_weights_without_training(results: Results) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    asked = one.probes | {AttackProbe("fgsm", 0.05, "ce"), SpectrumProbe("train", 120, count=3)}
    grid = {one.trial.trial_id: planned(asked=asked)}
    work = pending.pending(grid, results.read_rows()[0])
    assert work[0].probes == asked - one.probes

    reported: list[Mapping[str, Any]] = []
    second = execute(work[0], tensors(), results, report=reported.append)
    assert reported == [{"probes_answered": 1}, {"probes_answered": 2}]  # and no epoch
    assert second["started_at"] == first["started_at"].replace(tzinfo=second["started_at"].tzinfo)
    assert len(second["attacks"]) == len(first["attacks"]) + 1
    assert second["test_acc"] == first["test_acc"]
    assert pending.pending(grid, results.read_rows()[0]) == []


def test_measures_of_an_old_row_are_answered_from_its_weights(results: Results) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    asked = frozenset({AttackProbe("apgd_ce", 0.1, "stable"), AttackProbe("apgd_t", 0.1, "dlr"), MinimalEpsilonProbe()})
    grid = {one.trial.trial_id: planned(asked=asked)}
    row = execute(pending.pending(grid, results.read_rows()[0])[0], tensors(), results)
    assert answered(row) == {probe.key for probe in one.probes | asked}
    assert row["weights_sha256"] == first["weights_sha256"]

    smallest = results.read_arrays(one.trial.trial_id)["minimal_epsilon"]
    assert (smallest.dtype, smallest.shape) == (np.float32, (50,))
    assert row["minimal_epsilon_area"] == pytest.approx(np.minimum(smallest, 1).mean())
    assert (smallest == 0).mean() == pytest.approx(1 - row["test_acc"])
    quantiles = row["minimal_epsilon_quantiles"]
    assert len(quantiles) == 101 and quantiles == sorted(quantiles)
    assert [quantiles[0], quantiles[50], quantiles[100]] == [min(smallest), sorted(smallest)[24], max(smallest)]
    robust = {a["attack"]: a["accuracy"] for a in row["attacks"] if a["loss"] != "ce"}
    assert robust["apgd_ce"] <= robust["pgd"] + 0.02
    assert (smallest > 0.1).mean() <= robust["pgd"] + 0.02  # both are upper bounds, this one at every epsilon


def test_every_measure_of_sharpness_is_answered_once(results: Results) -> None:
    measures = ("adaptive_sharpness", "relative_flatness", "trace", "density")
    asked = frozenset(probe for name in measures for probe in MEASURES[name].ask(trial(), ()))
    execute(planned(asked=asked), tensors(), results)
    row = results.read_row(trial().trial_id)
    assert row is not None and answered(row) == {probe.key for probe in asked}
    assert 0.1 < row["train_confidence"] < 1 and 0.1 < row["test_confidence"] < 1
    found = {entry["measure"]: entry for entry in row["sharpness"]}
    assert found["adaptive_sharpness"]["radius"] == 0.01 and found["adaptive_sharpness"]["value"] > 0
    assert found["relative_flatness"]["value"] > 0 and found["trace"]["standard_error"] > 0
    assert sum(found["density"]["weights"]) == pytest.approx(1) and found["density"]["value"] is None
    execute(planned(asked=asked), tensors(), results)
    assert results.read_row(trial().trial_id)["sharpness"] == row["sharpness"]  # type: ignore[index]


def test_a_finished_trial_that_is_restarted_answers_no_probe_twice(results: Results) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    again = execute(one, tensors(), results)
    assert timeless(again) == timeless(first)
    assert len(again["attacks"]) == len({(a["attack"], a["loss"], a["epsilon"]) for a in again["attacks"]})


def test_an_answer_does_not_depend_on_the_other_probes(results: Results, tmp_path: Path) -> None:
    one = AttackProbe("pgd", 0.1, "ce")
    alone = execute(planned(asked=frozenset([one])), tensors(), results)
    other = results_in(tmp_path / "other")
    together = execute(planned(), tensors(), other)
    pgd = next(a for a in together["attacks"] if (a["attack"], a["loss"]) == ("pgd", "ce"))
    assert pgd["correct_bits"] == alone["attacks"][0]["correct_bits"]


def test_a_diverged_trial_has_a_row_that_says_so_and_is_not_pending(results: Results) -> None:
    one = planned(trial(learning_rate=1e6))
    row = execute(one, tensors(), results)
    assert row["status"] == "diverged"
    assert "epoch" in row["status_reason"]
    assert row["fgsm_acc"] is None
    assert pending.pending({one.trial.trial_id: one}, results.read_rows()[0]) == []


def test_a_trial_whose_row_is_torn_is_pending_with_all_probes(results: Results, tmp_path: Path) -> None:
    one = planned()
    execute(one, tensors(), results)
    grid = {one.trial.trial_id: one}
    path = tmp_path / f"results/trials/{one.trial.trial_id}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert pending.pending(grid, results.read_rows()[0]) == [one]
    assert execute(one, tensors(), results)["status"] == "ok"
    assert pending.pending(grid, results.read_rows()[0]) == []


def test_lost_weights_are_trained_again_to_the_same_bits(results: Results, tmp_path: Path) -> None:
    one = planned()
    execute(one, tensors(), results)
    weights = tmp_path / f"results/weights/{one.trial.trial_id}.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    execute(one, tensors(), results)
    assert weights.read_bytes() == before


class _Touches:
    """An object whose unpickling makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


def test_checkpoints_are_read_without_executing_code(results: Results, tmp_path: Path) -> None:
    one, stored, made = planned(), io.BytesIO(), tmp_path / "made"
    torch.save(_Touches(made), stored)
    results.write_checkpoint(one.trial.trial_id, digests.add_to_zip(stored.getvalue()))
    assert execute(one, tensors(), results)["epochs_done"] == 4
    assert not made.exists()


def test_other_weights_than_the_rows_are_set_aside_and_trained_again(results: Results, tmp_path: Path) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    name = one.trial.trial_id
    model = build_model(replace(one.trial, seed=1), tensors())
    other = checkpoints.weights_to_bytes(model)  # sound, but not those of the row
    results.write_weights(name, other)
    again = execute(planned(asked=one.probes | {AttackProbe("fgsm", 0.05, "ce")}), tensors(), results)
    assert again["weights_sha256"] == first["weights_sha256"] == checkpoints.state_sha256(
        checkpoints.read_weights(results.read_weights(name) or b"")
    )  # fmt: skip
    assert [file.read_bytes() for file in (tmp_path / "results/weights").glob("*.damaged-*")] == [other]


def test_weights_open_anywhere_with_their_digest(results: Results, tmp_path: Path) -> None:
    row = execute(planned(), tensors(), results)
    file = tmp_path / f"results/weights/{row['trial_id']}.safetensors"
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == {"sha256": row["weights_sha256"]}


def test_a_damaged_row_and_checkpoint_are_set_aside_and_never_overwritten(results: Results, tmp_path: Path) -> None:
    one = planned()
    folder, name = tmp_path / "results", one.trial.trial_id
    for file in (f"trials/{name}.parquet", f"checkpoints/{name}.pt"):
        (folder / file).write_bytes(b"garbage")
    assert execute(one, tensors(), results)["epochs_done"] == 4
    aside = sorted(file.read_bytes() for file in folder.glob("*/*.damaged-*"))
    assert aside == [b"garbage", b"garbage"]


def test_lost_weights_have_every_old_probe_answered_again(results: Results, tmp_path: Path) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    old = [attack | {"seconds": -1.0} for attack in first["attacks"]]
    results.write_row(first | {"weights_sha256": "of another machine", "attacks": old})
    (tmp_path / f"results/weights/{one.trial.trial_id}.safetensors").write_bytes(b"damaged")
    new = AttackProbe("fgsm", 0.05, "ce")
    row = execute(planned(asked=frozenset([new])), tensors(), results)
    assert answered(row) == {p.key for p in one.probes | {new}}
    assert all(attack["seconds"] > 0 for attack in row["attacks"])


def test_answers_of_lost_weights_stay_where_training_gives_the_same_ones_again(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = planned()
    first = execute(one, tensors(), results)
    (tmp_path / f"results/weights/{one.trial.trial_id}.safetensors").unlink()
    asked: list[frozenset[object]] = []

    def interrupted(network: object, probes: frozenset[object], *_: object) -> None:
        asked.append(probes)
        raise KeyboardInterrupt

    monkeypatch.setattr("study.trials.execute.run_probes", interrupted)
    new = AttackProbe("fgsm", 0.05, "ce")
    with pytest.raises(KeyboardInterrupt):
        execute(planned(asked=frozenset([new])), tensors(), results)
    assert asked == [frozenset([new])]
    kept = results.read_row(one.trial.trial_id)
    assert kept is not None
    assert (kept["attacks"], kept["spectra"]) == (first["attacks"], first["spectra"])


def test_other_data_than_a_trial_was_trained_on_are_refused(results: Results) -> None:
    execute(planned(), tensors(), results)
    with pytest.raises(ValueError, match="not the data that this trial was trained on"):
        execute(planned(), replace(tensors(), sha256="other"), results)


def test_a_probe_that_a_whole_gpu_is_too_small_for_costs_no_other_its_answer_and_holds_no_memory(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def full(*_: object, **__: object) -> None:
        on_the_gpu = torch.zeros(9)
        held.append(weakref.ref(on_the_gpu))
        raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    monkeypatch.setattr("study.trials.probes.top_eigenvalues", full)
    with pytest.raises(torch.OutOfMemoryError):
        execute(planned(), tensors(), results, settings=TrialSettings(memory_fraction=0.25))
    held.clear()
    with pytest.raises(ProbeError, match="OutOfMemoryError in probe spectrum") as raised:
        execute(planned(), tensors(), results)
    assert len(held) == 2 and not any(tensor() is not None for tensor in held)
    assert "in full" in "".join(traceback.format_exception(raised.value))  # it still says where
    row = results.read_row(planned().trial.trial_id)
    assert row is not None and row["status"] == "ok"
    assert answered(row) == {probe.key for probe in probes() if isinstance(probe, AttackProbe)}


def test_the_hessian_uses_the_trials_share_of_the_memory(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    fractions = []

    def budget(device: object, fraction: float) -> int:
        fractions.append(fraction)
        return 2**30

    monkeypatch.setattr("study.curvature.operator.memory_budget", budget)
    execute(planned(), tensors(), results, settings=TrialSettings(memory_fraction=0.25))
    assert fractions == [0.25, 0.25]  # lambda1 of both splits
