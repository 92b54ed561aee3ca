"""Power iteration, the method of the published measurements, for comparison.

v <- H v / ||H v||,        theta = v' H v.
"""

import torch

from study.curvature.basis import OrthonormalBasis
from study.curvature.eigen import (
    RELATIVE_ERROR,
    RELATIVE_RESIDUAL,
    EigenResult,
    Matvec,
    accurate,
    check_request,
    error_bounds,
    not_finite,
    random_vector,
    zero_level,
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
    keep_vectors: bool = False,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> EigenResult:
    """The `count` eigenvalues of largest magnitude, one after the other, each orthogonal to the previous ones.

    The method and stopping rule of PyHessian (Yao et al. 2020, arXiv:1912.07145, and its code): stop when the Rayleigh
    quotient changes by less than `tolerance` relative to its size between two iterates. That change does not bound the
    error: where the two largest magnitudes are close, it is small long before the value is right. See `residuals`.

    Args, returns and errors as `study.curvature.lanczos.lanczos`, except that all eigenvalues share `max_matvecs` and
    `converged` follows the rule above. `relative_error` affects only `converged_each`, since the rule is the published
    one.
    """
    check_request(dim, count, tolerance, max_matvecs, relative_error)
    device = device or generator.device
    count = min(count, dim)
    found = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
    values: list[float] = []
    residuals: list[float] = []
    matvecs, converged = 0, True
    while len(values) < count and converged:
        vector = random_vector(dim, generator, device)
        vector /= found.orthogonalise_(vector)[1]
        value, converged = float("nan"), False
        while not converged and matvecs < max_matvecs:
            product = matvec(vector).to(device, torch.float64, copy=True)
            matvecs += 1
            if not product.isfinite().all():
                return not_finite(count, matvecs, tolerance)
            previous, value = value, torch.dot(vector, product).item()
            residual = (product - value * vector).norm().item()
            eigenvector = vector
            _, norm = found.orthogonalise_(product)
            converged = norm == 0 or abs(value - previous) < tolerance * abs(value)
            vector = product / norm if norm else vector
        if matvecs == max_matvecs and not converged and value != value:
            break  # the budget ended before this eigenvalue's first product
        values.append(value)
        residuals.append(residual)
        found.append(eigenvector)

    order = sorted(range(len(values)), key=lambda i: -abs(values[i]))
    scale = max(map(abs, values)) or 1.0
    # As far as this method can tell, the eigenvalues not found lie between the weakest found and its negative.
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
