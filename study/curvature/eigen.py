"""Approximate eigenvalues of a symmetric operator: what a search returns, and how large their errors can be."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]
"""A symmetric linear map of floating-point vectors: (dim,) -> (dim,)."""

RELATIVE_RESIDUAL = 3e-3
"""Default tolerance, that of the probes of lambda1. A Ritz value's error is at most residual^2 / gap (Parlett, The
Symmetric Eigenvalue Problem, 1998, section 11.7). On small trained networks this tolerance gave relative errors of the
top eigenvalue from 3e-7 to 1.1e-5."""

RELATIVE_ERROR = 1e-4
"""Error of an eigenvalue relative to its own magnitude. Source: Yao et al. 2018 (arXiv:1802.08241), Figure 1."""


@dataclass(frozen=True)
class EigenResult:
    """Eigenvalues of a symmetric operator by decreasing magnitude, with the evidence for them.

    Attributes:
        eigenvalues: with their signs. Fewer than requested if the operator's dimension or the budget is smaller; all
            NaN if the operator returned a value that is not finite.
        residuals: `||H v - theta v|| / max |theta|` for each eigenvalue (dimensionless).
        converged: whether the method's stopping rule was met within its budget.
        converged_each: for each eigenvalue, whether its own relative error is known to be at most 1e-4 (or the
            `relative_error` requested), by `error_bounds`; an eigenvalue smaller than the products' rounding error
            counts as an exact 0. Only `converged` says that none is missing among them. The bounds know nothing of
            rounding in the products: in float32 up to about 1e-6 of the largest eigenvalue, so of one below a
            hundredth of that the flag says less.
        matvecs: number of operator applications.
        tolerance: the tolerance of the stopping rule.
        eigenvectors: shape (len(eigenvalues), dim), float64, orthonormal rows; None unless requested.
    """

    eigenvalues: list[float]
    residuals: list[float]
    converged: bool
    converged_each: list[bool]
    matvecs: int
    tolerance: float
    eigenvectors: Tensor | None = None


def not_finite(count: int, matvecs: int, tolerance: float) -> EigenResult:
    """The result for an operator that is not finite, such as a diverged network's Hessian."""
    nan = [math.nan] * count
    return EigenResult(
        nan, list(nan), converged=False, converged_each=[False] * count, matvecs=matvecs, tolerance=tolerance
    )


def random_vector(dim: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal vector (dim,), float64, drawn on the generator's device: a seed gives the same on any device."""
    drawn = torch.randn(dim, dtype=torch.float64, generator=generator, device=generator.device)
    return drawn.to(device)


def error_bounds(values: Tensor, residuals: Tensor) -> Tensor:
    """Bound on the distance of each approximate eigenvalue from an eigenvalue: shape (k,), float64.

    The smaller of two bounds (Parlett, The Symmetric Eigenvalue Problem, 1998, chapters 4 and 11):

    - the residual `||H v - theta v||`, which always holds;
    - residual^2 / gap; for several neighbouring values together, the sum of their squared residuals over the gap from
      them to the others (Mathias, Quadratic residual bounds for the Hermitian eigenvalue problem, SIAM J. Matrix
      Anal. Appl. 19, 1998). So a cluster far from all other values needs no smaller residual than a single
      eigenvalue, however close together its members are.

    A gap is known where the intervals `value -+ residual`, each of which contains an eigenvalue, leave one. Eigenvalues
    that none of the given values approximates are not considered: to find all of them is the task of the search.

    Args:
        values: shape (k,), Ritz values of orthonormal vectors.
        residuals: shape (k,), in the unit of the values.
    """
    order = values.argsort(stable=True)
    theta, r = values[order].double(), residuals[order].double()
    k = len(theta)
    infinite = torch.full((1,), torch.inf, dtype=torch.float64)
    # Window (i, j) holds the values from i to j; below it ends i - 1, above it begins j + 1.
    gap_below = theta - torch.cat([-infinite, (theta + r).cummax(0).values[:-1]])
    gap_above = torch.cat([(theta - r).flip(0).cummin(0).values.flip(0)[1:], infinite]) - theta
    gap = torch.minimum(gap_below[:, None], gap_above[None, :])
    squares = (r**2).cumsum(0)
    in_window = torch.maximum(squares[None, :] - squares[:, None] + (r**2)[:, None], (r**2)[None, :])
    window = torch.ones(k, k, dtype=torch.bool).triu()
    known = window & (gap > 0) & gap.isfinite()  # an infinite gap: no other value is given
    quadratic = torch.where(known, in_window / gap, torch.inf)
    # The best window that contains value m begins at or before m and ends at or after it.
    best = quadratic.cummin(0).values.flip(1).cummin(1).values.flip(1).diagonal()
    bounds = torch.empty_like(theta)
    bounds[order] = torch.minimum(r, best)
    return bounds


def accurate(values: Tensor, bounds: Tensor, *, relative_error: float, zero: float) -> Tensor:
    """Whether each value is known to `relative_error` of its own magnitude, or known to be at most `zero`.

    Args:
        values, bounds: shape (k,).
        relative_error: as a fraction.
        zero: `zero_level`: an eigenvalue of 0 has no relative error.
    """
    return (bounds <= relative_error * values.abs()) | (values.abs() + bounds <= zero)


def zero_level(scale: float, dtype: torch.dtype) -> float:
    """Magnitude that products computed in `dtype` cannot tell from 0, beside a largest eigenvalue `scale`."""
    return scale * max(16 * torch.finfo(dtype).eps, 1e-12)
