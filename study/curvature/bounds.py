"""How far an approximate eigenvalue can be from an eigenvalue."""

import torch
from torch import Tensor

RELATIVE_ERROR = 1e-4
"""Of each eigenvalue, relative to its own magnitude. Source: Yao et al. 2018 (arXiv:1802.08241), Figure 1."""


def error_bounds(values: Tensor, residuals: Tensor) -> Tensor:
    """Bound on the distance of each approximate eigenvalue from an eigenvalue: shape (k,), float64.

    The smaller of two (Parlett, The Symmetric Eigenvalue Problem, 1998, chapters 4 and 11):

    - the residual ``||Hv - theta v||``, always;
    - residual^2 / gap, and for several neighbouring values together the sum of their squared residuals over the gap
      from them to the rest (Mathias, Quadratic residual bounds for the Hermitian eigenvalue problem, SIAM J. Matrix
      Anal. Appl. 19, 1998). So a cluster that is far from everything else needs no residual smaller than a lone
      eigenvalue does, however close its members.

    A gap counts as known where the intervals ``value -+ residual``, each of which holds an eigenvalue, leave one. An
    eigenvalue that no value given here stands for is not in it: finding all of them is the search's work.

    Args:
        values: shape (k,), from orthonormal vectors.
        residuals: shape (k,), in the values' unit.
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
    known = window & (gap > 0) & gap.isfinite()  # to all of the rest, and there is a rest
    quadratic = torch.where(known, in_window / gap, torch.inf)
    # The best window that holds value m begins at or before m and ends at or after it.
    best = quadratic.cummin(0).values.flip(1).cummin(1).values.flip(1).diagonal()
    bounds = torch.empty_like(theta)
    bounds[order] = torch.minimum(r, best)
    return bounds


def accurate(values: Tensor, bounds: Tensor, *, relative_error: float, zero: float) -> Tensor:
    """Whether each value is known to ``relative_error`` of its own magnitude, or to be no more than ``zero``.

    Args:
        values, bounds: shape (k,).
        relative_error: as a fraction.
        zero: magnitude below which a product's rounding hides an eigenvalue: 0 has no relative error.
    """
    return (bounds <= relative_error * values.abs()) | (values.abs() + bounds <= zero)


def zero_level(scale: float, dtype: torch.dtype) -> float:
    """Magnitude that products computed in ``dtype`` cannot tell from 0, beside a largest eigenvalue ``scale``."""
    return scale * max(16 * torch.finfo(dtype).eps, 1e-12)
