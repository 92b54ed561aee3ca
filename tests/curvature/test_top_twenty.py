"""Twenty eigenvalues, each to a relative error of 1e-4: given spectra, closed forms, dense Hessians."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.curvature import HessianOperator, lanczos, top_eigenvalues
from tests.curvature.conftest import Case
from tests.curvature.networks import by_magnitude, conv_relu, dense_hessian, images, planted, seeded


def matrix(eigenvalues: list[float], seed: int = 0) -> Callable[[Tensor], Tensor]:
    """Product with a symmetric matrix of this spectrum."""
    return planted(eigenvalues, seed)[0]


TWENTY = [
    *[8.0, 8.0, 8.0],  # threefold
    *[-6.0, -6.0],
    *[5.0, 4.995, 4.99, 4.985],  # a cluster of relative gap 1e-3
    *[3.0, -2.9, 2.0, 1.5, 1.2, -1.1, 1.0, 0.9, 0.8, 0.6, 0.5],
]
BULK = (0.1 * torch.randn(280, generator=seeded(1), dtype=torch.float64)).clamp(-0.35, 0.35).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_copies_and_clusters_among_twenty_are_all_found_to_their_relative_error(seed: int) -> None:
    result = lanczos(matrix([*TWENTY, *BULK], seed), 300, count=20, relative_error=1e-4, generator=seeded(seed))
    assert result.converged
    assert result.converged_each == [True] * 20
    assert result.eigenvalues == pytest.approx(TWENTY, rel=1e-4)


def test_the_weakest_is_known_as_well_as_the_strongest() -> None:
    spectrum = [100.0 * 0.75**k * (-1) ** (k // 3) for k in range(20)]  # over a factor of 237
    matvec = matrix([*spectrum, *BULK])
    asked = lanczos(matvec, 300, count=20, relative_error=1e-4, generator=seeded(0))
    assert asked.eigenvalues == pytest.approx(spectrum, rel=1e-4)
    assert all(asked.converged_each)
    by_residual = lanczos(matvec, 300, count=20, tolerance=1e-1, generator=seeded(0))
    wrong = [abs(v / t - 1) > 1e-4 for v, t in zip(by_residual.eigenvalues, spectrum, strict=True)]
    assert any(wrong)
    assert not any(flag for flag, bad in zip(by_residual.converged_each, wrong, strict=True) if bad)


@pytest.mark.parametrize("seed", range(4))
def test_weak_eigenvalues_of_a_steep_spectrum_are_not_joined(seed: int) -> None:
    spectrum = torch.arange(1, 1001, dtype=torch.float64) ** -2.5  # the twentieth is a 1,800th of the first
    result = lanczos(
        lambda v: spectrum * v, 1000, count=20, tolerance=1e-4, relative_error=1e-4, generator=seeded(seed)
    )
    assert result.converged and all(result.converged_each)
    assert result.eigenvalues == pytest.approx(spectrum[:20].tolist(), rel=1e-4)


@pytest.mark.parametrize("max_matvecs", range(20, 60, 4))
def test_an_eigenvalue_is_flagged_as_converged_only_if_it_is_accurate(max_matvecs: int) -> None:
    spectrum = [20.0 * 0.85**k for k in range(20)]
    result = lanczos(
        matrix([*spectrum, *BULK]), 300, count=20, relative_error=1e-4, max_matvecs=max_matvecs, generator=seeded(3)
    )
    assert result.matvecs <= max_matvecs
    truth = np.array([*spectrum, *BULK])
    for value, flag in zip(result.eigenvalues, result.converged_each, strict=True):
        assert not flag or np.abs(truth - value).min() <= 1e-4 * abs(value)


@pytest.mark.parametrize("rank", [0, 1, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_operator_of_smaller_rank_has_zeros_as_remaining_eigenvalues(rank: int, dtype: torch.dtype) -> None:
    spectrum = [5.0, -4.0, 4.0, 3.0, 3.0, 2.0, -1.0][:rank]
    matvec = matrix([*spectrum, *[0.0] * (60 - rank)])
    result = lanczos(
        lambda v: matvec(v.to(dtype).double()).to(dtype),
        60,
        count=20,
        relative_error=1e-4,
        basis_dtype=dtype,
        generator=seeded(0),
    )
    assert result.converged
    assert result.converged_each == [True] * 20
    level = 1e-12 if dtype == torch.float64 else 1e-5
    assert sorted(result.eigenvalues, reverse=True) == pytest.approx(
        sorted([*spectrum, *[0.0] * (20 - rank)], reverse=True), rel=1e-5, abs=level
    )


def test_eigenvectors_of_multiple_eigenvalues_are_orthonormal() -> None:
    matvec = matrix([*TWENTY, *BULK])
    result = lanczos(matvec, 300, count=20, tolerance=1e-7, generator=seeded(0), keep_vectors=True)
    vectors = result.eigenvectors
    assert vectors is not None
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(20).double(), atol=1e-10, rtol=0)
    for value, residual, v in zip(result.eigenvalues, result.residuals, vectors, strict=True):
        assert (matvec(v) - value * v).norm().item() <= 8.0 * residual + 1e-12


def test_softmax_regression_has_every_eigenvalue_classes_minus_one_times() -> None:
    # With all weights 0, p = 1/K: H = (I - 11'/K)/K kron X'X/N.
    x = torch.rand(50, 6, generator=seeded(1), dtype=torch.float64)
    model = nn.Linear(6, 4, bias=False).double().eval()
    nn.init.zeros_(model.weight)
    result = top_eigenvalues(model, x, torch.zeros(50, dtype=torch.long), generator=seeded(0), count=20)
    inputs = torch.linalg.eigvalsh(x.T @ x / 50).flip(0) / 4
    assert result.converged and all(result.converged_each)
    expected = [v for v in inputs.tolist() for _ in range(3)] + [0.0, 0.0]
    assert result.eigenvalues == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_twenty_of_a_trained_network_equal_the_dense_spectrum(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.curvature.operator.HOST_CHUNK", 17)
    model, x, y, truth = case
    result = top_eigenvalues(model, x, y, count=20, generator=seeded(0))
    assert result.converged and result.converged_each == [True] * 20
    assert result.eigenvalues == pytest.approx(truth[:20], rel=1e-4)


@pytest.mark.parametrize("draw", range(2))
def test_one_image_has_negative_eigenvalues_with_their_sign(case: Case, draw: int) -> None:
    """Yao et al. 2018, Figures 5 and 11: at B_H = 1 a trained network has curvature of both signs."""
    model, x, y, _ = case
    generator = seeded(draw)
    chosen = torch.randperm(len(x), generator=seeded(draw))[:1]
    result = top_eigenvalues(model, x, y, count=20, subset_size=1, generator=generator)
    truth = by_magnitude(torch.linalg.eigvalsh(dense_hessian(model, x[chosen], y[chosen])).numpy())[:20]
    assert (truth < 0).any() and (truth > 0).any()
    assert result.converged and all(result.converged_each)
    floor = 1e-9 * abs(truth[0])
    assert sorted(result.eigenvalues) == pytest.approx(sorted(truth), rel=1e-4, abs=floor)


def test_eigenvectors_on_request_change_no_number(case: Case) -> None:
    model, x, y, _ = case
    result = top_eigenvalues(model, x, y, count=2, tolerance=1e-6, generator=seeded(0), keep_vectors=True)
    numbers = top_eigenvalues(model, x, y, count=2, tolerance=1e-6, generator=seeded(0))
    assert dataclasses.replace(result, eigenvectors=None) == numbers
    assert result.eigenvectors is not None
    operator = HessianOperator(model, x, y)
    for value, v in zip(result.eigenvalues, result.eigenvectors, strict=True):
        assert (operator.matvec(v) - value * v).norm() <= 2e-6 * abs(result.eigenvalues[0])


def test_a_diverged_network_has_eigenvalues_nan_and_no_eigenvectors() -> None:
    x, y = images(10)
    model = conv_relu()
    nn.init.constant_(model[0].weight, torch.inf)
    result = top_eigenvalues(model, x, y, generator=seeded(0), count=2, keep_vectors=True)
    assert [math.isnan(value) for value in result.eigenvalues] == [True, True]
    assert not result.converged and result.converged_each == [False, False]
    assert result.eigenvectors is None


def test_a_single_eigenvalue_needs_no_relative_error(case: Case) -> None:
    """The stopping rule of one eigenvalue is the residual; its flag is only reported."""
    model, x, y, _ = case
    plain = top_eigenvalues(model, x, y, generator=seeded(0))
    operator = HessianOperator(model, x, y)
    core = lanczos(operator.matvec, operator.dim, generator=seeded(0))
    assert (plain.eigenvalues, plain.matvecs) == (core.eigenvalues, core.matvecs)
    strict = lanczos(operator.matvec, operator.dim, generator=seeded(0), relative_error=1e-9)
    assert strict.matvecs > plain.matvecs and strict.converged_each == [True]
