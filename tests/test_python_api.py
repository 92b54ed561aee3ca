"""The numerical core by itself: the first part of docs/python_api.md, run as it is written, without Ray."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python_api.md"


@pytest.fixture(scope="module")
def left() -> dict[str, Any]:
    """The variables that the page's code leaves, run where ray cannot be imported."""
    core, _ = PAGE.read_text(encoding="utf-8").split("## The results of a study")
    blocks = re.findall(r"```python\n(.*?)```", core, flags=re.DOTALL)
    assert len(blocks) == 3
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        exec("\n".join(blocks), found)
    return found


def test_the_eigenpair_is_that_of_autograds_own_hessian(left: dict[str, Any]) -> None:
    model, x, y = left["model"], left["x"], left["y"]
    shapes = [p.shape for p in model.parameters()]
    direction = left["direction"].float()
    parts = direction.split([shape.numel() for shape in shapes])
    named = [name for name, _ in model.named_parameters()]

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(model, dict(zip(named, weights, strict=True)), (x,))
        return nn.functional.cross_entropy(logits, y)

    vectors = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    _, products = torch.autograd.functional.hvp(loss, tuple(model.parameters()), vectors)
    product = parameters_to_vector(products)
    top = left["top"]
    assert top.converged
    assert (product @ direction).item() == pytest.approx(top.eigenvalues[0], rel=1e-5)
    assert (product - top.eigenvalues[0] * direction).norm() < 1e-3 * top.eigenvalues[0]
    torch.testing.assert_close(left["product"].float(), product, rtol=1e-4, atol=1e-4)
    assert left["losses"][2] == left["losses"].min()


def test_the_attacks_lower_the_accuracy_and_stay_in_ball_and_box(left: dict[str, Any]) -> None:
    model, clean = left["model"], left["test_x"].float() / 255
    with torch.no_grad():
        accuracy = (model(clean).argmax(1) == left["test_y"]).float().mean().item()
    assert accuracy > 0.85
    assert left["found"].n == len(clean)
    assert left["found"].accuracy < accuracy - 0.2
    pixels = left["pixels"].requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(pixels), left["test_y"][:8]), pixels)
    torch.testing.assert_close(left["adversarial"], (pixels + 0.1 * gradient.sign()).clamp(0, 1).detach())


def test_the_readmes_lines_give_the_same(left: dict[str, Any]) -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "attack_split" in block]
    *before, attack, curvature = lines.strip().splitlines()
    scope = {"torch": torch, "model": left["model"], "images": left["test_x"], "labels": left["test_y"]}
    exec("\n".join(before), scope)
    assert eval(attack, scope) == pytest.approx(left["found"].accuracy, abs=0.01)  # another random start
    assert eval(curvature, scope) > 0


def test_the_model_is_left_as_it_was(left: dict[str, Any]) -> None:
    assert not left["model"].training
    assert all(p.requires_grad for p in left["model"].parameters())
