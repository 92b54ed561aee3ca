"""An estimate names the device of the rows that it is scaled by."""

from study.run import _source
from study.tuning.costs import CostModel, train_seconds
from tests.trials.small import planned, trial


def test_the_device_with_most_rows_scales_a_model_and_all_are_named() -> None:
    work = [planned(trial(seed=seed)) for seed in range(3)]
    grid = {one.trial.trial_id: one for one in work}
    expected = train_seconds(work[0])
    rows = [
        {"trial_id": one.trial.trial_id, "status": "ok", "device": device, "train_seconds": factor * expected}
        for one, device, factor in zip(work, ("NVIDIA L4", "cpu", "NVIDIA L4"), (0.5, 8.0, 0.5), strict=True)
    ]
    costs = CostModel(grid, rows)
    assert costs.scale == {"m1_8": 0.5}
    assert costs.devices == ["NVIDIA L4", "cpu"]
    assert _source(60.0, costs) == "of one trial at a time, as stored rows took on NVIDIA L4 and cpu"


def test_without_rows_it_is_a_core_of_the_authors_machine() -> None:
    assert _source(60.0, CostModel()).startswith("of one CPU core (as measured on the authors' machine), ")
