"""A trial's identity: stable for ever, blind to how a number is written, and seedless for a cell."""

from dataclasses import replace
from typing import Any

import pytest

from search_spaces import GRIDS, PLAIN, REGIME_NAMES, TRIAL_FIELDS, AttackProbe, Trial, fields_with_role
from study.data import AUGMENTATIONS
from study.optimizers import OPTIMIZERS

BASE = Trial(
    dataset="mnist",
    model="m1_20",
    learning_rate=0.01,
    batch_size=64,
    epochs=100,
    train_size=55_000,
    val_size=5_000,
    test_size=10_000,
)


def test_the_id_is_pinned_because_stored_results_hang_on_it() -> None:
    assert BASE.trial_id == "5936d4300507a5e1"
    assert BASE.with_seed(1).trial_id != BASE.trial_id


def test_seeds_share_a_cell_and_every_other_field_makes_another() -> None:
    assert BASE.with_seed(7).cell_id == BASE.cell_id
    changes: dict[str, Any] = {
        "dataset": "fashion-mnist", "model": "m1", "learning_rate": 0.02, "batch_size": 32, "epochs": 1,
        "train_size": 10, "val_size": 10, "test_size": 10, "optimizer": "adam", "schedule": "halve_every_5",
        "momentum": 0.9, "weight_decay": 1e-3, "target_loss": 0.001, "augmentation": "flip",
        "parent": replace(BASE, epochs=5),
    }  # fmt: skip
    trials = [replace(BASE, **{name: value}) for name, value in changes.items() if name not in ("dataset", "model")]
    trials += [replace(BASE, dataset="fashion-mnist"), replace(BASE, model="m1")]
    trials += [replace(BASE, adversarial_training="fgsm", adversarial_epsilon=epsilon) for epsilon in (0.1, 0.2)]
    assert len({trial.cell_id for trial in trials} | {BASE.cell_id}) == len(changes) + 3


def test_a_child_replicates_with_its_parent() -> None:
    child = replace(BASE, epochs=5, parent=BASE, adversarial_training="fgsm", adversarial_epsilon=0.1)
    other = child.with_seed(3)
    assert other.parent == BASE.with_seed(3) and other.generation == 1
    assert other.cell_id == child.cell_id and other.trial_id != child.trial_id
    assert child.to_dict()["parent"] == BASE.trial_id
    with pytest.raises(ValueError, match="seed must equal the parent's"):
        replace(child, seed=1)


def test_an_attack_without_an_epsilon_is_refused() -> None:
    with pytest.raises(ValueError, match="an attack and an epsilon"):
        replace(BASE, adversarial_training="fgsm")


def test_zero_and_zero_point_zero_are_one_trial() -> None:
    assert replace(BASE, momentum=0) == BASE
    assert replace(BASE, momentum=0).trial_id == BASE.trial_id
    assert replace(BASE, target_loss=1).trial_id == replace(BASE, target_loss=1.0).trial_id


def test_the_rate_of_the_ratio_regime_at_batch_64_is_the_fixed_rate_to_the_bit() -> None:
    assert replace(BASE, learning_rate=0.00015625 * 64).trial_id == BASE.trial_id
    assert BASE.lr_bs_ratio == 0.00015625


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("batch_size", 0), ("batch_size", 1.5), ("epochs", -1), ("adversarial_epsilon", 8)],
        *[("learning_rate", 0), ("learning_rate", float("inf")), ("momentum", -0.5), ("momentum", float("nan"))],
        *[("weight_decay", -1), ("target_loss", 0), ("target_loss", -1)],
    ],
)
def test_what_no_run_can_have_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(BASE, **{field: value})


@pytest.mark.parametrize("attack", ["pgd", "l2grad"])
@pytest.mark.parametrize("epsilon", [0.0, 8.0, float("nan")])
def test_a_probe_with_an_epsilon_that_no_attack_takes_is_refused(attack: str, epsilon: float) -> None:
    with pytest.raises(ValueError, match=f"epsilon of {attack}"):
        AttackProbe(attack, epsilon, "ce")


def test_every_field_says_what_it_is() -> None:
    for name, field in TRIAL_FIELDS.items():
        assert field.metadata["label"] and field.metadata["description"], name


def test_every_optimizer_augmentation_and_regime_has_a_name() -> None:
    assert set(TRIAL_FIELDS["optimizer"].metadata["names"]) == set(OPTIMIZERS)
    assert set(TRIAL_FIELDS["augmentation"].metadata["names"]) == set(AUGMENTATIONS)
    assert {curve.regime for space in GRIDS["full"] for curve in space.curves} == set(REGIME_NAMES)


def test_what_a_protocol_and_a_setting_are() -> None:
    assert fields_with_role("protocol") == (
        "epochs", "target_loss", "train_size", "val_size", "test_size", "augmentation", "precision",
    )  # fmt: skip
    assert fields_with_role("setting") == (
        "dataset", "model", "optimizer", "adversarial_training", "adversarial_epsilon", "weight_decay",
    )  # fmt: skip
    assert (PLAIN["precision"], PLAIN["augmentation"], PLAIN["target_loss"]) == ("float32", "none", None)
