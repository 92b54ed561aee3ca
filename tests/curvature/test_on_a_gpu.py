"""Hessian-vector products and lambda1 on a GPU against those on a CPU. No peer is needed: it runs on a bare machine."""

import pytest
import torch
from torch import Tensor

from study.curvature import (
    SHARPNESS,
    HessianOperator,
    SharpnessSettings,
    input_curvature,
    measure_sharpness,
    top_eigenvalues,
)
from study.models import build


def problem(name: str, device: str, classes: int = 10) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """A new network in eval mode with a few random images."""
    shape = (1, 28, 28) if name == "m1_20" else (3, 32, 32)
    model = build(name, image_shape=shape, num_classes=classes, generator=torch.Generator().manual_seed(0)).eval()
    draws = torch.Generator().manual_seed(1)
    x = torch.randint(256, (24, *shape), generator=draws, dtype=torch.uint8)
    return model.to(device), x.to(device), torch.randint(classes, (24,), generator=draws).to(device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["m1_20", "resnet20"])
def test_a_product_on_a_gpu_is_that_of_a_cpu_also_where_the_caller_allows_tf32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without kinks: rounding that flips a single ReLU of millions changes a product by 3e-4, as much as TF32 does.
    monkeypatch.setattr(torch, "relu", torch.nn.functional.silu)
    monkeypatch.setattr(torch.nn.ReLU, "forward", lambda layer, x: torch.nn.functional.silu(x))
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    on_cpu, on_gpu = (HessianOperator(*problem(name, device)) for device in ("cpu", "cuda"))
    v = torch.randn(on_cpu.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected, found = on_cpu.matvec(v).double(), on_gpu.matvec(v.cuda()).double().cpu()
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.gpu
def test_lambda1_on_a_gpu_is_that_of_a_cpu() -> None:
    expected, found = (
        top_eigenvalues(*problem("m1_20", device), tolerance=1e-4, generator=torch.Generator().manual_seed(0))
        for device in ("cpu", "cuda")
    )
    assert found.converged
    assert found.eigenvalues[0] == pytest.approx(expected.eigenvalues[0], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("classes", [10, 100])
def test_input_curvature_on_a_gpu_is_that_of_a_cpu(classes: int) -> None:
    expected, found = (input_curvature(*problem("m1_20", device, classes)) for device in ("cpu", "cuda"))
    assert found.mean_lambda1 == pytest.approx(expected.mean_lambda1, rel=1e-2)
    assert found.mean_gradient_norm == pytest.approx(expected.mean_gradient_norm, rel=1e-3)


@pytest.mark.gpu
def test_in_float64_a_product_on_a_gpu_is_that_of_a_cpu_to_rounding() -> None:
    model, x, y = problem("m1_20", "cpu")
    v = torch.randn(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    expected = HessianOperator(model.double(), x, y).matvec(v)
    found = HessianOperator(model.cuda(), x, y).matvec(v)  # images of the host are moved chunk by chunk
    assert found.is_cuda
    assert float((found.cpu() - expected).norm() / expected.norm()) < 1e-12


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in SHARPNESS if name != "density"])
def test_a_measure_of_sharpness_on_a_gpu_is_that_of_a_cpu(name: str) -> None:
    expected, found = (
        measure_sharpness(
            name, *problem("m1_20", device), SharpnessSettings(torch.Generator().manual_seed(0), radius=0.01)
        )
        for device in ("cpu", "cuda")
    )
    assert found.value == pytest.approx(expected.value, rel=1e-2)
