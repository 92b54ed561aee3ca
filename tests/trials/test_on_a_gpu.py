"""A trial on a GPU: trained by replayed steps, alone and in a group, probed, with its peak of memory."""

from pathlib import Path

import pytest
import torch

from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from tests.trials.small import planned, results_in, tensors, trial


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
