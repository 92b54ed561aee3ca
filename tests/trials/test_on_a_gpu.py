"""A trial on a GPU: trained by replayed steps, alone and in a group, probed, with its peak of memory."""

import math
from pathlib import Path

import pytest
import torch

from search_spaces import MEASURES, InputCurvatureProbe, InputHessianProbe, LandscapeProbe, SpectrumProbe
from study.optimizers import OPTIMIZERS
from study.results.answers import answered
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from study.trials.train import TrialSettings
from tests.stored import results_in
from tests.trials.small import planned, tensors, trial


def on_gpu() -> DeviceData:
    """The small trials' images on the GPU."""
    train, validation, test = ((x.cuda(), y.cuda()) for x, y in (tensors().train, tensors().validation, tensors().test))
    return DeviceData(train, validation, test, tensors().sha256)


@pytest.mark.gpu
def test_a_trial_on_a_gpu_has_nearly_the_row_of_a_cpu_and_its_peak_of_memory(tmp_path: Path) -> None:
    cpu = execute(planned(), tensors(), results_in(tmp_path / "cpu"))
    gpu = execute(planned(), on_gpu(), results_in(tmp_path / "gpu"))
    assert (gpu["status"], gpu["dtype"], gpu["device"]) == ("ok", "float32", torch.cuda.get_device_name())
    assert gpu["replayed"]
    assert gpu["weight_norm"] == pytest.approx(cpu["weight_norm"], rel=1e-3)
    assert gpu["lambda1_train"] == pytest.approx(cpu["lambda1_train"], rel=0.05)
    for column in ("test_acc", "fgsm_acc", "fgsm_acc_stable"):
        assert abs(gpu[column] - cpu[column]) <= 0.06  # three of 50 images
    assert 2**20 < gpu["peak_memory_bytes"] < 2**32


@pytest.mark.gpu
def test_a_group_on_a_gpu_ends_near_the_trials_alone(tmp_path: Path) -> None:
    group = [planned(trial(seed=seed), frozenset()) for seed in range(3)]
    together, alone = results_in(tmp_path / "together"), results_in(tmp_path / "alone")
    execute_batched(group[0], on_gpu(), together, groups={group[0].trial.trial_id: group}, replicas=3)
    for member in group:
        row, single = together.read_row(member.trial.trial_id), execute(member, on_gpu(), alone)
        assert row is not None
        assert (row["status"], row["replicas"], row["replayed"]) == ("ok", 3, True)
        assert row["weight_norm"] == pytest.approx(single["weight_norm"], rel=1e-3)


@pytest.mark.gpu
def test_every_kind_of_probe_is_answered_on_a_gpu_nearly_as_on_a_cpu(tmp_path: Path) -> None:
    asked = frozenset(probe for measure in MEASURES.values() for probe in measure.ask(trial(), (0.1,))) | {
        SpectrumProbe("train", 60, 20),
        InputCurvatureProbe("test"),
        InputHessianProbe(),
        LandscapeProbe("line", "test", 50, 60),
        LandscapeProbe("plane", "test", 50, 60),
    }
    cpu = execute(planned(asked=asked), tensors(), results_in(tmp_path / "cpu"))
    gpu = execute(planned(asked=asked), on_gpu(), results_in(tmp_path / "gpu"))
    assert answered(gpu) == {probe.key for probe in asked}
    for column in ("lambda1_x_test", "grad_x_norm_test", "minimal_epsilon_area"):
        assert gpu[column] == pytest.approx(cpu[column], rel=0.05)
    values = ({entry["measure"]: entry["value"] for entry in row["sharpness"] if entry["value"]} for row in (gpu, cpu))
    found, expected = values
    assert found == pytest.approx(expected, rel=0.2)
    assert gpu["psd_violation"] < 1e-6 and gpu["rank_max"] <= 9


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [*OPTIMIZERS, "adversarial"])
def test_every_optimizer_trains_on_a_gpu_nearly_as_on_a_cpu_and_is_tracked(kind: str, tmp_path: Path) -> None:
    if kind == "adversarial":
        one = planned(trial(adversarial_training="pgd", adversarial_epsilon=0.1), frozenset())
    else:
        rate = 0.002 if kind.startswith("adam") else 0.05
        one = planned(trial(optimizer=kind, learning_rate=rate), frozenset())
    cpu = execute(one, tensors(), results_in(tmp_path / "cpu"), settings=TrialSettings(track=100.0))
    gpu = execute(one, on_gpu(), results_in(tmp_path / "gpu"), settings=TrialSettings(track=100.0))
    assert gpu["replayed"] == (kind in ("sgd", "adversarial"))
    assert gpu["weight_norm"] == pytest.approx(cpu["weight_norm"], rel=0.02)  # some draw noise, each device its own
    assert all(epoch["lambda1"] > 0 and math.isfinite(epoch["batch_sharpness"]) for epoch in gpu["history"])


@pytest.mark.gpu
def test_a_group_on_a_gpu_ends_at_its_target_losses(tmp_path: Path) -> None:
    group = [planned(trial(seed=seed, epochs=40, target_loss=2.0), frozenset()) for seed in range(3)]
    results = results_in(tmp_path)
    execute_batched(
        group[0],
        on_gpu(),
        results,
        groups={group[0].trial.trial_id: group},
        replicas=3,
        settings=TrialSettings(track=100.0),
    )
    for member in group:
        row = results.read_row(member.trial.trial_id)
        assert row is not None and row["reached_target"] and row["train_loss"] <= 2.0
        assert row["epochs_done"] < 40 and row["history"][-1]["lambda1"] > 0
