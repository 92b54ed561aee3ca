"""Power iteration: the method of the published measurements, kept to compare with."""

import torch
from torch import Tensor

from study.curvature.basis import OrthonormalBasis
from study.curvature.bounds import RELATIVE_ERROR, accurate, error_bounds, zero_level
from study.curvature.eigen import (
    RELATIVE_RESIDUAL,
    EigenResult,
    Matvec,
    check_request,
    not_finite,
    random_vector,
)


def power_iteration(
    matvec: Matvec,
    dim: int,
    *,
    generator: torch.Generator,
    count: int = 1,
    tolerance: float = RELATIVE_RESIDUAL,
    relative_error: float | None = None,
    max_matvecs: int = 200,
    start: Tensor | None = None,
    keep_vectors: bool = False,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> EigenResult:
    """The ``count`` eigenvalues of largest magnitude, one after the other, each orthogonal to those before.

    The method and stopping rule of PyHessian (Yao et al. 2020, arXiv:1912.07145, and its code): stop when the
    Rayleigh quotient changes by less than ``tolerance`` relative to its size between two iterates. That
    change bounds no error: where the two largest magnitudes are close, it is small long before the value is
    right. Compare ``residuals``.

    Args and returns as :func:`study.curvature.lanczos.lanczos`, with ``max_matvecs`` shared by all the
    eigenvalues and ``converged`` by the rule above. ``relative_error`` moves only ``converged_each``: the rule is the
    published one.

    Raises:
        ValueError: for a non-positive size or tolerance, or an unusable ``start``.
    """
    check_request(dim, count, tolerance, max_matvecs, start, relative_error)
    device = device or (generator.device if start is None else start.device)
    count = min(count, dim)
    found = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
    values: list[float] = []
    residuals: list[float] = []
    matvecs, converged = 0, True
    while len(values) < count and converged:
        first = start.to(device, torch.float64) if start is not None and not values else None
        vector = random_vector(dim, generator, device) if first is None else first
        vector, _ = found.orthogonalise(vector)
        vector /= vector.norm()
        value, converged = float("nan"), False
        while not converged and matvecs < max_matvecs:
            product = matvec(vector).to(device, torch.float64)
            matvecs += 1
            if not product.isfinite().all():
                return not_finite(count, matvecs, tolerance)
            previous, value = value, torch.dot(vector, product).item()
            residual = (product - value * vector).norm().item()
            eigenvector = vector
            product, _ = found.orthogonalise(product)
            norm = product.norm().item()
            converged = norm == 0 or abs(value - previous) < tolerance * abs(value)
            vector = product / norm if norm else vector
        if matvecs == max_matvecs and not converged and value != value:
            break  # the budget ended before this eigenvalue's first product
        values.append(value)
        residuals.append(residual)
        found.append(eigenvector)

    order = sorted(range(len(values)), key=lambda i: -abs(values[i]))
    scale = max(map(abs, values)) or 1.0
    # What was not found lies, as far as this method can say, between the weakest found and its negative.
    weakest = min(map(abs, values))
    bounds = error_bounds(
        torch.tensor([*values, weakest, -weakest], dtype=torch.float64),
        torch.tensor([*residuals, 0.0, 0.0], dtype=torch.float64),
    )
    known = accurate(
        torch.tensor(values, dtype=torch.float64),
        bounds[: len(values)],
        relative_error=relative_error or RELATIVE_ERROR,
        zero=zero_level(scale, basis_dtype),
    ).tolist()
    vectors = found.combine(torch.eye(len(values), dtype=torch.float64)[order]) if keep_vectors else None
    return EigenResult(
        eigenvalues=[values[i] for i in order],
        residuals=[residuals[i] / scale for i in order],
        converged=converged,
        converged_each=[known[i] for i in order],
        matvecs=matvecs,
        tolerance=tolerance,
        eigenvectors=vectors,
    )
