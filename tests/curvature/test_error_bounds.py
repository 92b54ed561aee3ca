"""The error bounds hold, and are as sharp as documented."""

import pytest
import torch

from study.curvature.eigen import accurate, error_bounds
from tests.curvature.networks import seeded


def bounds(values: list[float], residuals: list[float]) -> list[float]:
    result: list[float] = error_bounds(
        torch.tensor(values, dtype=torch.float64), torch.tensor(residuals, dtype=torch.float64)
    ).tolist()
    return result


def test_a_lone_value_has_residual_squared_over_its_gap() -> None:
    # From 1 + .1 up to 5.
    assert bounds([5.0, 1.0], [0.2, 0.1]) == pytest.approx([0.2**2 / 3.9, 0.1**2 / 3.8])


def test_without_other_values_the_bound_is_the_residual() -> None:
    assert bounds([5.0], [0.2]) == [0.2]


def test_where_intervals_overlap_the_bound_is_the_residual() -> None:
    assert bounds([5.0, 4.9], [0.06, 0.06]) == [0.06, 0.06]


def test_the_members_of_a_cluster_share_the_gap_around_it() -> None:
    close = bounds([5.0, 4.9999, 2.0], [0.01, 0.01, 0.5])
    assert close[:2] == pytest.approx([2 * 0.01**2 / 2.4999] * 2)


def test_bounds_are_in_the_order_of_the_values() -> None:
    values, residuals = [1.0, -3.0, 7.0, 2.0], [0.1, 0.2, 0.3, 0.05]
    shuffled = [2, 0, 3, 1]
    expected = bounds(values, residuals)
    assert bounds([values[i] for i in shuffled], [residuals[i] for i in shuffled]) == [expected[i] for i in shuffled]


def test_no_true_error_exceeds_its_bound() -> None:
    """Rayleigh-Ritz on a perturbed invariant space; the rest of the spectrum is known up to its residuals."""
    spectrum = torch.tensor([9.0, 9.0, 8.99, 5.0, -4.0, -4.001, 1.0, 0.5, 0.4, -0.3], dtype=torch.float64)
    for seed in range(20):
        noise = 10.0 ** -(seed % 5 + 1)
        q, _ = torch.linalg.qr(torch.eye(10).double() + noise * torch.randn(10, 10, generator=seeded(seed)).double())
        values, residuals = [], []
        for block in (q[:, :6], q[:, 6:]):
            theta, s = torch.linalg.eigh(block.T @ torch.diag(spectrum) @ block)
            y = block @ s
            values.append(theta)
            residuals.append((spectrum[:, None] * y - theta * y).norm(dim=0))
        found = error_bounds(torch.cat(values), torch.cat(residuals))[:6]
        errors = (values[0] - spectrum[:6].sort().values).abs()
        assert (errors <= found + 1e-14).all(), seed


def test_an_eigenvalue_of_zero_is_judged_by_its_absolute_error() -> None:
    known = accurate(
        torch.tensor([1.0, 1.0, 1e-9, 1e-9]),
        torch.tensor([0.9e-4, 1.1e-4, 1e-9, 1e-3]),
        relative_error=1e-4,
        zero=1e-6,
    )
    assert known.tolist() == [True, False, True, False]
