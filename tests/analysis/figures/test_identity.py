"""The key of a curve, by which the page's marks are linked."""

from __future__ import annotations

from analysis.figures.identity import curve_id

from search_spaces.large_batch import LARGE_BATCH


def test_networks_of_one_adversarial_training_at_two_strengths_are_on_two_curves() -> None:
    (cell, *_) = (cell for cell in LARGE_BATCH.cells if cell.adversarial_training == "fgsm")
    curve = {**cell.to_dict(), "regime": "adversarial"}
    assert curve_id(curve) == curve_id({**curve, "batch_size": 1, "target_loss": float("nan")})
    assert curve_id(curve) != curve_id({**curve, "adversarial_epsilon": 2 * cell.adversarial_epsilon})
