"""timm's classifiers as they are: through training, every probe and resume."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from torch import nn

from search_spaces import SpectrumProbe
from study.models import MODELS
from study.trials.execute import ProbeError, execute
from study.trials.pending import answered
from tests.stored import results_in
from tests.trials.small import planned, tensors, trial
from tests.trials.test_own_models import ATTACK_PROBES, PROBES, resumed

timm = pytest.importorskip("timm")

DRAWS = {"drop_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.1}
NETWORKS = {
    "test_resnet": {},
    "test_efficientnet": {"drop_rate": 0.1, "drop_path_rate": 0.1},
    "test_vit": {"img_size": 28, "patch_size": 14, **DRAWS},
    "mobilenetv3_small_050": {},
}


@pytest.fixture(autouse=True)
def timm_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str, *, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(name, in_chans=image_shape[0], num_classes=num_classes, **NETWORKS[name])
        return network

    builders = {name: partial(build, name) for name in NETWORKS}
    monkeypatch.setattr("study.models.MODELS", {**MODELS, **builders})


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_network_passes_training_every_probe_and_resume(name: str, tmp_path: Path) -> None:
    one = planned(trial(model=name, epochs=2), frozenset(PROBES))
    row = execute(one, tensors(), results_in(tmp_path / "whole"))
    assert row["status"] == "ok"
    assert answered(row) == {probe.key for probe in PROBES}
    again = resumed(planned(one.trial, frozenset()), results_in(tmp_path / "resumed"))
    assert again["weights_sha256"] == row["weights_sha256"]


def test_a_layer_without_second_derivatives_costs_the_hessians_alone(tmp_path: Path) -> None:
    """torch cannot differentiate the hard sigmoid twice."""
    results = results_in(tmp_path)
    attacks = [probe for probe in ATTACK_PROBES if probe.attack in ("fgsm", "pgd")]
    one = planned(trial(model="mobilenetv3_small_050", epochs=1), frozenset([*attacks, SpectrumProbe("test", 20)]))
    with pytest.raises(ProbeError, match=r"in probe spectrum test 20 .*hardsigmoid"):
        execute(one, tensors(), results)
    row = results.read_row(one.trial.trial_id)
    assert row is not None
    assert answered(row) == {probe.key for probe in attacks}
    assert "hardsigmoid" in row["status_reason"]
    assert row["lambda1_test"] is None
