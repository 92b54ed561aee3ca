"""What every eigenvalue algorithm takes and gives back."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]
"""A symmetric linear map: (dim,) -> (dim,), given float64."""

RELATIVE_RESIDUAL = 2e-3
"""Default tolerance. A Ritz value's error is at most residual^2 / gap (Parlett, The Symmetric Eigenvalue
Problem, 1998, section 11.7), so this bounds the relative error of the top eigenvalue by 1e-5 where its
relative gap to the next is at least .4; on small trained networks even 3e-3 gave 3e-7 to 1.1e-5."""


@dataclass(frozen=True)
class EigenResult:
    """Eigenvalues of a symmetric operator, best first, with the evidence for them.

    Attributes:
        eigenvalues: signed, in the order asked for (by default decreasing magnitude). Fewer than asked if the
            operator's dimension or the budget is smaller; all NaN if the operator returned a value that is
            not finite.
        residuals: ``||Hv - theta v|| / max |theta|`` for each eigenvalue (dimensionless).
        converged: whether the algorithm's stopping rule was met within its budget.
        converged_each: for each eigenvalue, whether its own relative error is known to be at most 1e-4 (or the
            ``relative_error`` asked for), by :func:`study.curvature.bounds.error_bounds`; an eigenvalue that the
            products' rounding hides counts as an exact 0. That none is missing among them only ``converged`` says.
        matvecs: operator applications spent.
        tolerance: the tolerance that the stopping rule used.
        eigenvectors: shape (len(eigenvalues), dim), float64, orthonormal rows; ``None`` unless asked for.
    """

    eigenvalues: list[float]
    residuals: list[float]
    converged: bool
    converged_each: list[bool]
    matvecs: int
    tolerance: float
    eigenvectors: Tensor | None = None


def not_finite(count: int, matvecs: int, tolerance: float) -> EigenResult:
    """The answer for an operator that is not finite, such as a diverged network's Hessian."""
    nan = [math.nan] * count
    return EigenResult(
        nan, list(nan), converged=False, converged_each=[False] * count, matvecs=matvecs, tolerance=tolerance
    )


def check_request(
    dim: int,
    count: int,
    tolerance: float,
    max_matvecs: int,
    start: Tensor | None,
    relative_error: float | None = None,
) -> None:
    """Raise ``ValueError`` on a request that no algorithm could serve."""
    if dim < 1 or count < 1 or max_matvecs < 1:
        raise ValueError(f"dim, count and max_matvecs must be at least 1, got {dim}, {count}, {max_matvecs}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if relative_error is not None and not relative_error > 0:
        raise ValueError(f"relative_error must be positive, got {relative_error}")
    if start is not None and (start.shape != (dim,) or not start.isfinite().all() or not start.any()):
        raise ValueError(f"start must be a finite, non-zero vector of shape ({dim},), got shape {tuple(start.shape)}")


def random_vector(dim: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal vector (dim,), float64, drawn on the generator's device: a seed means the same anywhere."""
    drawn = torch.randn(dim, dtype=torch.float64, generator=generator, device=generator.device)
    return drawn.to(device)
