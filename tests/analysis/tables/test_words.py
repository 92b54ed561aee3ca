"""Settings and identifiers in words."""

from __future__ import annotations

import math

import pytest

from analysis.tables.words import NAMES, departs, departures, name, phrase, said
from search_spaces import GRIDS


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 1000, "1,000 epochs"),
        ("epochs", 1, "1 epoch"),
        ("train_size", math.nan, "? training images"),
        ("target_loss", 0.001, "until training loss ≤ 0.001"),
        ("optimizer", "svrg", "SVRG"),
        ("optimizer", "lion", "optimizer lion"),
        ("augmentation", "none", "no augmentation"),
        ("adversarial_training", "fgsm", "FGSM training"),
        ("precision", "bf16", "trained in bf16"),
        ("weight_decay", 0.01, "weight decay 0.01"),
    ],
)
def test_a_setting_in_words(field: str, value: object, words: str) -> None:
    assert said(field, value) == words


def test_only_what_is_not_plain_is_said() -> None:
    values = {"optimizer": "sgd", "precision": "tf32", "target_loss": math.nan, "adversarial_epsilon": 0.1, "epochs": 5}
    assert departures(values, values) == ["trained in tf32"]


def test_how_settings_depart_from_a_papers() -> None:
    paper = {"epochs": 100, "train_size": 60_000, "target_loss": None}
    assert departs({"epochs": 100.0, "train_size": 1000, "target_loss": float("nan")}, paper, paper) == [
        "1,000 instead of 60,000 training images"
    ]
    assert departs({"target_loss": 0.001}, paper, ["target_loss"]) == ["0.001 instead of none target loss"]


def test_identifiers_within_a_text() -> None:
    assert phrase("lr_bs against lr") == "LR/BS against LR"
    assert phrase("step_0.1") == "LR 0.1 in steps"
    assert name("no such model") == "no such model"
    assert name("pgd (100 steps)") == "PGD (100 steps)"


def test_every_data_set_and_model_of_the_papers_has_a_name() -> None:
    cells = [cell for space in GRIDS["full"] for cell in space.cells]
    assert {cell.dataset for cell in cells} | {cell.model for cell in cells} <= set(NAMES)
