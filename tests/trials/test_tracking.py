"""Curvature while training: weights as without it, the values of its parts, and its budget."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Planned
from study.curvature import batch_sharpness, draw_subset, top_eigenvalues
from study.results.checkpoints import read_weights, weights_sha256
from study.results.folder import Results
from study.results.schema import Row
from study.training import streams, tracking
from study.training.loop import Epoch
from study.training.tracking import MOST_EPOCHS, MOST_IMAGES, PASSES, PREFERRED_IMAGES, tracked
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from study.trials.train import TrialSettings, TrialTraining
from tests.stored import results_in
from tests.trials import small

NO_PROBES = frozenset()
TRACKED = ("lambda1", "lambda1_images", "batch_sharpness")


def one(seed: int = 0, epochs: int = 4) -> Planned:
    return small.planned(small.trial(seed=seed, epochs=epochs), NO_PROBES)


def run(folder: Path, planned: Planned, **options: Any) -> Row:
    return execute(planned, small.tensors(), results_in(folder), settings=TrialSettings(**options))


def values(row: Row) -> list[tuple[object, ...]]:
    return [tuple(epoch[name] for name in TRACKED) for epoch in row["history"]]


def test_weights_and_history_are_the_same_bits_with_and_without_tracking(tmp_path: Path) -> None:
    with_it, without = run(tmp_path / "a", one(), track=100.0), run(tmp_path / "b", one())
    assert with_it["weights_sha256"] == without["weights_sha256"]
    assert [e["train_loss"] for e in with_it["history"]] == [e["train_loss"] for e in without["history"]]
    assert all(epoch["lambda1"] > 0 and epoch["track_seconds"] > 0 for epoch in with_it["history"])
    assert all(value is None for epoch in values(without) for value in epoch)


def test_what_was_tracked_stays_when_lost_weights_are_trained_again_to_the_same_bits(tmp_path: Path) -> None:
    tracked_row = run(tmp_path, one(), track=100.0)
    for track in (None, 8.0):
        (tmp_path / f"weights/{tracked_row['trial_id']}.safetensors").unlink()
        again = run(tmp_path, one(), track=track)
        assert again["weights_sha256"] == tracked_row["weights_sha256"]
        assert values(again) == values(tracked_row)


def test_a_curvature_that_cannot_be_computed_costs_the_tracking_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("derivative for hardsigmoid_backward is not implemented")

    monkeypatch.setattr(tracking, "top_eigenvalues", fail)
    with_it, without = run(tmp_path / "a", one(), track=100.0), run(tmp_path / "b", one())
    assert with_it["status"] == "ok"
    assert with_it["weights_sha256"] == without["weights_sha256"]
    assert all(value is None for epoch in values(with_it) for value in epoch)
    (log,) = (tmp_path / "a/logs").iterdir()
    assert "the curvature was not tracked: derivative for hardsigmoid" in log.read_text()


def test_tracking_that_a_whole_gpu_is_too_small_for_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    monkeypatch.setattr(tracking, "top_eigenvalues", full)
    with pytest.raises(torch.OutOfMemoryError):  # a larger share may be enough
        run(tmp_path / "a", one(), track=100.0, memory_fraction=0.25)
    assert run(tmp_path / "b", one(), track=100.0)["status"] == "ok"
    (log,) = (tmp_path / "b/logs").iterdir()
    assert "the curvature was not tracked: CUDA out of memory" in log.read_text()


def test_tracking_keeps_to_the_trials_share_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = set()

    def budget(device: torch.device, share: float) -> int:
        shares.add(share)
        return 2**20

    monkeypatch.setattr("study.curvature.operator.memory_budget", budget)
    run(tmp_path, one(), track=100.0, memory_fraction=0.25)
    assert shares == {0.25}


def test_the_last_epoch_holds_what_the_trained_network_has(tmp_path: Path) -> None:
    planned, data = one(), small.tensors()
    row = run(tmp_path, planned, track=20.0)
    images = row["history"][-1]["lambda1_images"]
    training = TrialTraining(planned, data, Results(tmp_path))
    training.run.model.load_state_dict(_weights(tmp_path, planned))
    model = training.run.model.eval()
    subset = draw_subset(*data.train, images, streams.generator(0, "spectrum", "train", images))
    found = top_eigenvalues(model, *subset, generator=torch.Generator().manual_seed(5), tolerance=1e-6)
    assert row["history"][-1]["lambda1"] == pytest.approx(found.eigenvalues[0], rel=1e-3)
    whole = max(images, 32)
    batches = draw_subset(*data.train, whole, streams.generator(0, "batches", whole))
    own = batch_sharpness(model, *batches, batch_size=32, most=16)
    assert row["history"][-1]["batch_sharpness"] == pytest.approx(own, rel=1e-6)


def _weights(folder: Path, planned: Planned) -> dict[str, torch.Tensor]:
    content = Results(folder).read_weights(planned.trial.trial_id)
    assert content is not None
    return read_weights(content)


def test_a_resumed_run_has_the_track_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", one(), track=100.0)
    results = results_in(tmp_path / "cut")

    small.interrupted(one(), small.tensors(), results, after=2, track=100.0)
    stored = TrialTraining(one(), small.tensors(), results).run.state.history
    assert [epoch.lambda1 for epoch in stored] == [epoch["lambda1"] for epoch in whole["history"][:2]]
    resumed = execute(one(), small.tensors(), results, settings=TrialSettings(track=100.0))
    assert values(resumed) == values(whole)
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_networks_trained_as_one_program_are_tracked_each_by_its_own_curvature(tmp_path: Path) -> None:
    group = [one(seed) for seed in (0, 1)]
    results = {name: results_in(tmp_path / name) for name in ("tracked", "plain")}
    leader = group[0].trial.trial_id
    for name, track in (("tracked", 100.0), ("plain", None)):
        execute_batched(
            group[0],
            small.tensors(),
            results[name],
            groups={leader: group},
            replicas=2,
            settings=TrialSettings(track=track),
        )
    for planned in group:
        row, plain = (results[name].read_row(planned.trial.trial_id) for name in ("tracked", "plain"))
        assert row is not None and plain is not None and row["replicas"] == 2
        assert row["weights_sha256"] == plain["weights_sha256"]
        alone = run(tmp_path / f"alone{planned.trial.seed}", planned, track=100.0)
        for together, single in zip(row["history"], alone["history"], strict=True):
            assert together["lambda1"] == pytest.approx(single["lambda1"], rel=1e-2)
            assert together["batch_sharpness"] == pytest.approx(single["batch_sharpness"], rel=1e-2)


def test_a_run_that_reaches_its_target_early_is_tracked_at_its_end(tmp_path: Path) -> None:
    planned = small.planned(small.trial(epochs=40, target_loss=2.0), NO_PROBES)
    row = run(tmp_path, planned, track=2.0)
    assert 1 < row["epochs_done"] < 40
    assert row["history"][-1]["lambda1"] is not None


@pytest.mark.parametrize(
    ("epochs", "train_size", "share"),
    [(100, 55_000, 0.1), (60, 1_024, 0.1), (8, 6_144, 1.0), (1, 200, 40.0), (3, 64, 20.0)],
)
def test_the_plan_stays_within_its_share_and_ends_with_the_last_epoch(
    epochs: int, train_size: int, share: float
) -> None:
    images, chosen = tracked(epochs, train_size, share)
    assert images * len(chosen) * PASSES <= share * epochs * train_size
    assert 1 <= images <= min(MOST_IMAGES, train_size)
    assert max(chosen) == epochs and min(chosen) >= 1 and len(chosen) <= MOST_EPOCHS
    if len(chosen) > 1:
        assert images >= min(PREFERRED_IMAGES, train_size) and min(chosen) == 1
        gaps = [math.log(b / a) for a, b in zip(sorted(chosen), sorted(chosen)[1:], strict=False) if a > 8]
        assert max(gaps, default=0) < 2 * min(gaps, default=1)


def test_a_share_that_pays_for_too_few_images_tracks_nothing() -> None:
    assert tracked(15, 1_024, 0.1) == (0, frozenset())


def test_tracking_leaves_mode_gradients_and_weights_alone(tmp_path: Path) -> None:
    training = TrialTraining(one(), small.tensors(), results_in(tmp_path), settings=TrialSettings(track=100.0))
    model, state = training.run.model, training.run.state
    state.history.append(Epoch(1, 0.1, 1.0, 0.5))
    model.train()
    before = weights_sha256(model)
    random_state = torch.get_rng_state()
    training.track(training.run)
    assert state.history[0].lambda1 is not None
    assert model.training and weights_sha256(model) == before and torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None for p in model.parameters())
