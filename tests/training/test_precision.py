"""Lower precision applies to training steps only, by option, and never silently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search_spaces import GRIDS, Request, Trial, plan
from study.models import set_dropout_generator
from study.training import precision
from study.training.evaluation import evaluate
from study.training.loop import TrainingRun
from study.trials.execute import execute
from tests.stored import results_in
from tests.training.networks import model_of, run_of, same_bits, trained, trained_together
from tests.trials.small import planned, tensors, trial

EPS_BF16 = 2.0**-8


def run_in(arithmetic: str, seed: int = 0) -> TrainingRun:
    return run_of(learning_rate=0.02, precision=arithmetic, seed=seed)


@pytest.mark.parametrize("name", ["m1_8", "stdcnn", "c1"])
def test_a_bf16_step_is_the_float32_step_within_its_rounding_and_never_that_step_itself(name: str) -> None:
    model = model_of(name).train()
    set_dropout_generator(model, torch.Generator().manual_seed(0))
    x = torch.rand(16, *((3, 32, 32) if name == "c1" else (1, 28, 28)))
    exact = model(x).detach()
    set_dropout_generator(model, torch.Generator().manual_seed(0))
    with precision.computing_in("bf16", model):
        rounded = model(x)
        assert rounded.dtype == torch.float32
    off = (rounded - exact).abs().max() / exact.abs().max()
    assert 0 < off < 10 * EPS_BF16
    assert "forward" not in vars(model)


def test_evaluation_is_float32_unless_it_says_so() -> None:
    model, (x, y) = model_of("m1_8"), tensors().test
    found = evaluate(model, x, y).loss
    assert found == evaluate(model.eval(), x, y).loss == evaluate(model, x, y, precision="float32").loss
    lower = evaluate(model, x, y, precision="bf16").loss
    assert lower != found and lower == pytest.approx(found, rel=EPS_BF16)


def test_an_attack_while_bf16_trains_is_computed_in_float32() -> None:
    seen: list[bool] = []

    def looks(model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        seen.append("forward" in vars(model))  # which lower precision replaces
        return x

    trained(run_of(precision="bf16", perturb=looks, epochs=1))
    assert seen and not any(seen)


def test_weights_of_bf16_training_are_float32() -> None:
    lower, exact = trained(run_in("bf16")), trained(run_in("float32"))
    assert {p.dtype for p in lower.model.parameters()} == {torch.float32}
    assert not same_bits(lower.model, exact.model)
    losses = [[epoch.train_loss for epoch in run.state.history] for run in (lower, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_bf16_networks_train_as_one_program_too() -> None:
    for seed, run in enumerate(trained_together([run_in("bf16", seed) for seed in range(2)])):
        alone = trained(run_in("bf16", seed))
        for batched, single in zip(run.model.parameters(), alone.model.parameters(), strict=True):
            assert (batched - single).norm() < 0.05 * single.norm()
        assert run.state.history[-1].train_loss == pytest.approx(alone.state.history[-1].train_loss, rel=0.05)


def test_tf32_is_switched_on_for_the_step_alone() -> None:
    seen: list[tuple[bool, bool]] = []

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            logits: Tensor = self.layer(x)
            return logits

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    model = Looks()
    with precision.computing_in("tf32", model):
        model(torch.zeros(1, 1))
    model(torch.zeros(1, 1))
    assert seen == [(True, True), before]


def test_a_cpu_keeps_the_memory_order_that_a_model_is_built_in() -> None:
    for arithmetic in ("float32", "bf16"):
        weights = precision.prepare(model_of("stdcnn"), arithmetic).get_parameter("2.weight")
        assert weights.stride() == (90, 1, 30, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_channels_are_last_only_while_a_lower_precision_trains() -> None:
    for arithmetic, last in (("float32", False), ("bf16", True), ("tf32", True), ("float32", False)):
        weights = precision.prepare(model_of("stdcnn").cuda(), arithmetic).get_parameter("2.weight")
        assert weights.is_contiguous(memory_format=torch.channels_last) == last


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_tf32_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="tf32 needs an NVIDIA GPU"):
        precision.check("tf32", torch.device("cpu"))
    precision.check("bf16", torch.device("cpu"))


def test_a_row_says_in_what_it_was_trained(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    row = execute(planned(trial(precision="bf16"), frozenset()), tensors(), results)
    assert (row["precision"], row["dtype"], row["status"]) == ("bf16", "float32", "ok")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="tf32 needs an NVIDIA GPU"):
            execute(planned(trial(precision="tf32"), frozenset()), tensors(), results)


def test_precision_is_part_of_a_trial_unless_it_is_float32() -> None:
    plain = trial()
    assert replace(plain, precision="float32").trial_id == plain.trial_id
    assert len({replace(plain, precision=p).cell_id for p in ("float32", "tf32", "bf16")}) == 3
    with pytest.raises(ValueError, match="'half' is not one of float32, tf32, bf16"):
        replace(plain, precision="half")


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_a_grid_in_another_precision_is_another_grid_of_the_same_size(grid: str) -> None:
    plain, lower = plan(Request(grid)), plan(Request(grid, precision="bf16"))
    assert len(plain) == len(lower) and not set(plain) & set(lower)
    family: list[Trial | None] = [planned.trial for planned in lower.values()]
    family += [planned.trial.parent for planned in lower.values()]
    assert {member.precision for member in family if member is not None} == {"bf16"}
    assert set(plan(Request(grid, precision="float32"))) == set(plain)
