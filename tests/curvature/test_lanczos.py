"""Lanczos and power iteration on matrices with a given spectrum."""

import math
from collections.abc import Callable

import pytest
import torch

from study.curvature import EigenResult, lanczos, power_iteration
from tests.curvature.networks import planted, seeded

Method = Callable[..., EigenResult]


def bulk(n: int, seed: int = 1) -> list[float]:
    """Many small eigenvalues of both signs, like those of a network beside its few outliers."""
    return (0.3 * torch.randn(n, generator=seeded(seed), dtype=torch.float64)).clamp(-1, 1).tolist()


@pytest.mark.parametrize("method", [lanczos, power_iteration])
def test_the_eigenvalue_of_largest_magnitude_keeps_its_sign(method: Method) -> None:
    matvec, q = planted([-9.0, 6.0, 3.0, *bulk(60)])
    result = method(matvec, 63, generator=seeded(2), tolerance=1e-8, keep_vectors=True)
    assert result.eigenvalues == pytest.approx([-9.0], rel=1e-6)
    assert result.converged
    assert abs(result.eigenvectors[0] @ q[:, 0]) == pytest.approx(1, abs=1e-6)


def test_eigenvalues_of_both_signs_are_ordered_by_magnitude() -> None:
    matvec, _ = planted([3.0, -9.0, 2.0, -1.5, 6.0, -4.0, *bulk(60)])
    result = lanczos(matvec, 66, count=3, tolerance=1e-6, generator=seeded(2))
    assert result.eigenvalues == pytest.approx([-9.0, 6.0, -4.0], rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_multiple_eigenvalue_are_all_found(seed: int) -> None:
    spectrum = [5.0, 5.0, 5.0, -4.0, -4.0, 3.0, 2.0, *bulk(100)]
    matvec, _ = planted(spectrum, seed)
    result = lanczos(matvec, len(spectrum), count=7, tolerance=1e-6, generator=seeded(seed))
    assert result.converged
    assert result.eigenvalues == pytest.approx(spectrum[:7], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_found_when_products_are_rounded_to_float32(seed: int) -> None:
    spectrum = [5.0, 5.0, 5.0, -4.0, -4.0, 3.0, 2.0, *bulk(100)]
    matvec, _ = planted(spectrum, seed)
    result = lanczos(lambda v: matvec(v.float().double()).float(), len(spectrum), count=7, generator=seeded(seed))
    assert result.converged
    assert result.eigenvalues == pytest.approx(spectrum[:7], rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_resolved(seed: int) -> None:
    spectrum = [5.0, 4.999, 4.998, 4.997, 1.5, 1.4999, 1.4998, *bulk(100)]
    matvec, _ = planted(spectrum, seed)
    result = lanczos(matvec, len(spectrum), count=7, tolerance=1e-6, generator=seeded(seed))
    assert result.eigenvalues == pytest.approx(spectrum[:7], rel=1e-8)


def test_twenty_outliers_above_many_small_eigenvalues() -> None:
    spectrum = [float((-1) ** k * 20 * 0.85**k) for k in range(20)]
    matvec, _ = planted([*spectrum, *(0.5 * b for b in bulk(380))])
    result = lanczos(matvec, 400, count=20, tolerance=3e-4, generator=seeded(3), keep_vectors=True)
    assert result.eigenvalues == pytest.approx(spectrum, rel=1e-4)
    gram = result.eigenvectors @ result.eigenvectors.T
    torch.testing.assert_close(gram, torch.eye(20, dtype=torch.float64), atol=1e-12, rtol=0)


def test_reported_residuals_are_the_true_ones() -> None:
    matvec, _ = planted([4.0, 3.0, 2.0, *bulk(100)])
    result = lanczos(matvec, 103, count=3, generator=seeded(4), keep_vectors=True)
    for value, residual, v in zip(result.eigenvalues, result.residuals, result.eigenvectors, strict=True):
        true_residual = (matvec(v) - value * v).norm().item() / 4.0
        assert residual == pytest.approx(true_residual, rel=1e-3)
        assert residual <= result.tolerance


def test_the_error_is_within_residual_squared_over_the_gap() -> None:
    matvec, _ = planted([4.0, 3.0, *bulk(200)])
    for tolerance in (1e-1, 1e-2, 1e-3):
        result = lanczos(matvec, 202, tolerance=tolerance, generator=seeded(5))
        assert abs(result.eigenvalues[0] - 4.0) <= (4.0 * result.residuals[0]) ** 2 / 0.9


@pytest.mark.parametrize("gap", [0.5, 0.9, 0.99])
def test_fewer_products_than_power_iteration_at_the_same_true_error(gap: float) -> None:
    matvec, _ = planted([1.0, gap, -gap, *[0.2 * b for b in bulk(100)]])
    ours = lanczos(matvec, 103, generator=seeded(6))
    error = max(abs(ours.eigenvalues[0] - 1), 1e-12)
    assert error < 1e-3
    for tolerance in (10.0**-k for k in range(1, 16)):
        power = power_iteration(matvec, 103, generator=seeded(6), tolerance=tolerance, max_matvecs=5000)
        if abs(power.eigenvalues[0] - 1) <= error:
            break
    assert power.matvecs > ours.matvecs


def test_the_stopping_rule_of_power_iteration_can_be_met_far_from_the_eigenvalue() -> None:
    # The reason for a rule on the residual: with +1 and -.995 the Rayleigh quotient changes very slowly.
    matvec, _ = planted([1.0, -0.995, *[0.1 * b for b in bulk(200)]], seed=3)
    power = power_iteration(matvec, 202, generator=seeded(0), tolerance=1e-2, max_matvecs=1000)
    assert power.converged
    assert abs(power.eigenvalues[0] - 1) > 0.1
    assert power.residuals[0] > 0.1
    assert lanczos(matvec, 202, generator=seeded(0)).eigenvalues == pytest.approx([1.0], rel=1e-4)


def test_power_iteration_finds_several_eigenvalues_by_deflation() -> None:
    matvec, _ = planted([8.0, -5.0, 3.0, *bulk(40)])
    result = power_iteration(matvec, 43, count=3, tolerance=1e-9, max_matvecs=1000, generator=seeded(7))
    assert result.eigenvalues == pytest.approx([8.0, -5.0, 3.0], rel=1e-4)


@pytest.mark.parametrize("method", [lanczos, power_iteration])
@pytest.mark.parametrize("count", [1, 3])
def test_the_zero_operator(method: Method, count: int) -> None:
    result = method(torch.zeros_like, 10, count=count, generator=seeded(0))
    assert result.converged
    assert result.eigenvalues == [0.0] * count
    assert result.residuals == [0.0] * count


@pytest.mark.parametrize("method", [lanczos, power_iteration])
def test_dimension_one_and_more_eigenvalues_requested_than_exist(method: Method) -> None:
    result = method(lambda v: -3 * v, 1, generator=seeded(0))
    assert result.converged
    assert result.eigenvalues == pytest.approx([-3.0])
    matvec, _ = planted([4.0, -2.0, 1.0])
    result = method(matvec, 3, count=10, generator=seeded(0), tolerance=1e-12)
    assert result.converged
    assert result.eigenvalues == pytest.approx([4.0, -2.0, 1.0], rel=1e-5)


def test_a_multiple_of_the_identity() -> None:
    result = lanczos(lambda v: 2 * v, 30, count=4, generator=seeded(0), keep_vectors=True)
    assert result.converged
    assert result.eigenvalues == pytest.approx([2.0] * 4)
    assert result.matvecs <= 6


@pytest.mark.parametrize("dim", [2, 3, 5, 8])
def test_the_whole_of_a_small_spectrum(dim: int) -> None:
    for count in range(1, dim + 1):
        spectrum = [float(dim - k) * (-1) ** k for k in range(dim)]
        matvec, _ = planted(spectrum)
        result = lanczos(matvec, dim, count=count, tolerance=1e-10, generator=seeded(count))
        assert result.converged
        assert result.matvecs <= 2 * dim - count  # the space, then the search of its complement
        assert result.eigenvalues == pytest.approx(spectrum[:count], rel=1e-12)


@pytest.mark.parametrize("method", [lanczos, power_iteration])
@pytest.mark.parametrize("bad_product", [0, 2])
def test_a_product_that_is_not_finite_stops_with_nan(method: Method, bad_product: int) -> None:
    matvec, _ = planted([5.0, 4.0, *bulk(50)])
    calls = iter(range(1000))
    result = method(lambda v: matvec(v) / (0 if next(calls) == bad_product else 1), 52, generator=seeded(0))
    assert math.isnan(result.eigenvalues[0])
    assert not result.converged
    assert result.matvecs == bad_product + 1


@pytest.mark.parametrize("method", [lanczos, power_iteration])
def test_an_exhausted_budget_is_reported(method: Method) -> None:
    matvec, _ = planted([1.0, 0.999, *bulk(100)])
    result = method(matvec, 102, generator=seeded(0), max_matvecs=3, tolerance=1e-9)
    assert not result.converged
    assert result.matvecs == 3
    assert math.isfinite(result.eigenvalues[0])


@pytest.mark.parametrize("method", [lanczos, power_iteration])
def test_the_same_seed_gives_the_same_bits(method: Method) -> None:
    matvec, _ = planted([5.0, -4.0, *bulk(100)])
    first, again = (method(matvec, 102, count=2, generator=seeded(9)) for _ in range(2))
    assert first == again
    assert method(matvec, 102, count=2, generator=seeded(10)) != first


def test_a_float32_basis_is_enough_for_a_float32_product() -> None:
    matvec, _ = planted([5.0, -4.0, 3.0, *bulk(300)])
    result = lanczos(
        lambda v: matvec(v.float().double()).float(),
        303,
        count=3,
        generator=seeded(0),
        basis_dtype=torch.float32,
    )
    assert result.converged
    assert result.eigenvalues == pytest.approx([5.0, -4.0, 3.0], rel=1e-5)


def test_requests_that_cannot_be_served_are_refused() -> None:
    for wrong in (
        {"count": 0},
        {"max_matvecs": 0},
        {"tolerance": 0.0},
        {"relative_error": 0.0},
    ):
        with pytest.raises(ValueError, match="must be"):
            lanczos(torch.clone, 4, generator=seeded(0), **wrong)
