"""A trial that starts from another's weights: robust training, transfer, and retraining after its parent's."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Planned,
    Probe,
    SpectrumProbe,
    Trial,
)
from study.curvature import top_eigenvalues
from study.models import MODELS
from study.results import checkpoints
from study.results.answers import answered
from study.results.folder import Results
from study.trials import pending
from study.trials.execute import ProbeError, execute
from study.trials.train import TrialSettings
from tests.stored import results_in
from tests.trials.small import planned, tensors, timeless, trial

PARENT = trial(momentum=0.9, learning_rate=0.01, epochs=15)
CHILD = replace(PARENT, parent=PARENT, epochs=8, adversarial_training="fgsm", adversarial_epsilon=0.1)

EVERY_KIND: frozenset[Probe] = frozenset(
    {
        AttackProbe("fhsm", 0.1, "stable"),
        AttackProbe("fgsm", 0.1, "stable"),
        AttackProbe("fgsm", 0.1, "stable", source="parent"),
        SpectrumProbe("train", 120, 5, tolerance=1e-4),
        SpectrumProbe("train", 1, 5, tolerance=1e-4),
        SpectrumProbe("train", 1, 5, tolerance=1e-4, draw=1),
        InputCurvatureProbe("test"),
        InputHessianProbe(samples=1),
        LandscapeProbe("line", "train", 30, hessian_size=30),
        LandscapeProbe("interpolation", "test", 50),
    }
)


def run(one: Trial, results: Results, probes: frozenset[Probe] = frozenset(), **options: Any) -> Mapping[str, Any]:
    execute(planned(one, probes), tensors(), results, **options)
    row = results.read_row(one.trial_id)
    assert row is not None
    return row


def test_a_child_starts_from_its_parents_weights_and_grows_robust(results: Results) -> None:
    attack = frozenset({AttackProbe("fgsm", 0.1, "stable")})
    parent, child = run(PARENT, results, attack), run(CHILD, results, attack)
    assert (child["parent"], child["parent_sha256"]) == (PARENT.trial_id, parent["weights_sha256"])
    assert child["weights_sha256"] != parent["weights_sha256"]
    assert child["attacks"][0]["accuracy"] > parent["attacks"][0]["accuracy"] + 0.1


def test_every_kind_of_probe_is_answered_once_and_stored(results: Results) -> None:
    parent = run(PARENT, results)
    row = run(CHILD, results, EVERY_KIND)
    assert answered(dict(row)) == {probe.key for probe in EVERY_KIND}
    newton = {a["attack"]: (a["newton_steps"], a["newton_tolerance"]) for a in row["attacks"]}
    assert newton == {"fhsm": (10, 0.1), "fgsm": (None, None)}
    assert row["rank_max"] <= 9 and row["psd_violation"] < 1e-9
    draws = {s["draw"]: s["eigenvalues"] for s in row["spectra"] if s["subset_size"] == 1}
    assert draws[0] != draws[1]

    arrays = results.read_arrays(CHILD.trial_id)
    landscapes = {entry["kind"]: entry for entry in row["landscapes"]}
    fractions, losses = (arrays[landscapes["interpolation"][name]] for name in ("offsets", "losses"))
    assert losses[np.flatnonzero(fractions == 0.0)] == pytest.approx(parent["test_loss"], rel=1e-5)
    assert losses[np.flatnonzero(fractions == 1.0)] == pytest.approx(row["test_loss"], rel=1e-5)
    assert np.mean(arrays["lambda1_x_test"]) == pytest.approx(row["lambda1_x_test"], rel=1e-5)
    assert arrays[landscapes["line"]["losses"]].min() > 0


def test_no_landscape_is_drawn_along_eigenvectors_that_have_not_converged(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.trials.probes.top_eigenvalues", partial(top_eigenvalues, max_matvecs=3))
    with pytest.raises(ProbeError, match="the first 2 eigenvectors did not converge within 3 products"):
        run(PARENT, results, frozenset({LandscapeProbe("line", "train", 30, hessian_size=30)}))


def test_a_childs_row_is_the_same_bits_when_it_is_interrupted(results: Results, tmp_path: Path) -> None:
    run(PARENT, results)
    attack = frozenset({AttackProbe("fgsm", 0.1, "ce")})

    def killed(metrics: Mapping[str, Any]) -> None:
        if metrics.get("epoch") == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(CHILD, results, attack, report=killed, settings=TrialSettings(checkpoint_seconds=0.0))
    assert results.read_checkpoint(CHILD.trial_id) is not None
    resumed = run(CHILD, results, attack)

    elsewhere = results_in(tmp_path / "other")
    run(PARENT, elsewhere)
    assert timeless(dict(resumed)) == timeless(dict(run(CHILD, elsewhere, attack)))


def test_a_child_without_a_parents_weights_says_so(results: Results) -> None:
    with pytest.raises(ValueError, match=f"of its parent, trial {PARENT.trial_id}, are missing"):
        run(CHILD, results)


def test_a_child_of_a_diverged_parent_counts_as_diverged_and_is_not_tried_again(results: Results) -> None:
    parent = replace(PARENT, learning_rate=1e6)
    child = replace(CHILD, parent=parent)
    grandchild = replace(CHILD, parent=child)
    grid = {one.trial_id: planned(one, frozenset()) for one in (parent, child, grandchild)}
    rows = [run(one, results) for one in (parent, child, grandchild)]
    assert [row["status"] for row in rows] == ["diverged"] * 3
    assert rows[1]["status_reason"] == f"its parent, trial {parent.trial_id}, diverged: {rows[0]['status_reason']}"
    assert pending.pending_with_parents(grid, results.read_rows()[0], ()) == []


def test_a_child_is_pending_again_when_its_parent_is_retrained(results: Results) -> None:
    parent, child = run(PARENT, results), run(CHILD, results)
    grid: dict[str, Planned] = {one.trial_id: planned(one, frozenset()) for one in (CHILD, PARENT)}
    assert pending.pending(grid, [parent, child]) == []
    assert [p.trial for p in pending.pending(grid, [child])] == [CHILD, PARENT]  # in the grid's order
    other = parent | {"weights_sha256": "0" * 64}
    assert [p.trial for p in pending.pending(grid, [other, child])] == [CHILD]


def test_a_child_is_trained_again_when_its_parents_weights_change(results: Results) -> None:
    parent, first = run(PARENT, results), run(CHILD, results)
    weights = results.read_weights(PARENT.trial_id)
    assert weights is not None
    model = MODELS["m1_8"](image_shape=(1, 28, 28), num_classes=10)
    results.write_weights(PARENT.trial_id, checkpoints.weights_to_bytes(model))
    results.write_row({**parent, "weights_sha256": checkpoints.weights_sha256(model)})
    again = run(CHILD, results)
    assert again["parent_sha256"] == checkpoints.weights_sha256(model) != first["parent_sha256"]


def test_a_damaged_parent_is_trained_again_after_its_child_has_met_it(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(PARENT, results)
    child = run(CHILD, results)
    new = frozenset({AttackProbe("fgsm", 0.1, "ce")})
    grid: dict[str, Planned] = {one.trial_id: planned(one, new) for one in (CHILD, PARENT)}
    grid[PARENT.trial_id] = planned(PARENT, frozenset())
    file = tmp_path / f"results/weights/{PARENT.trial_id}.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)

    def work() -> list[Planned]:
        left = pending.pending_with_parents(grid, results.read_rows()[0], results.trials_with_weights())
        return sorted(left, key=lambda one: one.trial.generation)

    (of_the_child,) = work()
    with pytest.raises(ValueError, match=r"were damaged: the same command trains it again"):
        execute(of_the_child, tensors(), results)
    assert "do not match their digest" in capsys.readouterr().err
    assert [aside.read_bytes() for aside in file.parent.glob("*.damaged-*")] == [content]
    assert [one.trial for one in work()] == [PARENT, CHILD]
    for one in work():
        execute(one, tensors(), results)
    digests = {row["trial_id"]: row["weights_sha256"] for row in results.read_rows()[0]}
    assert digests == {PARENT.trial_id: child["parent_sha256"], CHILD.trial_id: child["weights_sha256"]}
    assert work() == []


def test_a_probe_of_the_parent_needs_one(results: Results) -> None:
    with pytest.raises(ProbeError, match="this trial has no parent"):
        run(PARENT, results, frozenset({AttackProbe("fgsm", 0.1, "ce", source="parent")}))
