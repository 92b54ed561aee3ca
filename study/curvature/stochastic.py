"""The trace and the spectral density of a symmetric operator, from products with random vectors.

Both use an operator only by its matrix-vector product, like the eigenvalue methods.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from study.arithmetic import full_precision
from study.curvature.basis import OrthonormalBasis
from study.curvature.eigen import Matvec, random_vector
from study.curvature.lanczos import KrylovSpace

TRACE_VECTORS = 20
"""Random vectors in each of the two parts of a trace (our choice). Each costs three products in all, so a trace takes
60."""

DENSITY_VECTORS, DENSITY_STEPS = 2, 50
"""Starting vectors of a density, and Lanczos steps of each. Our choice: as many products as PyHessian (Yao et al.
2020), which takes 1 and 100."""


BREAKDOWN = 1e-10
"""A remainder this small relative to the product is rounding error."""


@dataclass(frozen=True)
class Trace:
    """An unbiased estimate of a trace and its standard error; NaN if the operator is not finite."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Density:
    """A spectral density as point masses: `weights`, which sum to 1, at `nodes`, in ascending order."""

    nodes: list[float]
    weights: list[float]


@full_precision()
def trace(
    matvec: Matvec,
    dim: int,
    *,
    generator: torch.Generator,
    vectors: int = TRACE_VECTORS,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Trace:
    """The trace by Hutch++: exact on a space that holds most of it, by random signs on the rest.

        tr A = tr(Q' A Q) + tr(P A P),        P = I - Q Q'

    Q is an orthonormal basis of A S for a random matrix of signs S. Where few eigenvalues are large, as in Hessians of
    networks, the rest has a small variance. It is estimated by g' P A P g for random signs g, whose spread over the
    vectors gives the standard error.

    Source: Meyer, Musco, Musco and Woodruff 2021 (arXiv:2010.09649), Algorithm 1.

    Args:
        matvec: (dim,) -> (dim,), symmetric.
        dim: the operator's dimension.
        generator: draws the signs.
        vectors: columns of S, and vectors g, each; three products are computed for each.
        basis_dtype: storage type of Q.
        device: where Q is stored; default: the generator's device.
    """
    device = device or generator.device
    basis = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
    captured = torch.zeros((), dtype=torch.float64, device=device)
    for _ in range(min(vectors, dim)):
        product = matvec(_signs(dim, generator, device)).to(device, torch.float64, copy=True)
        size = product.norm().item()
        _, norm = basis.orthogonalise_(product)
        if norm <= BREAKDOWN * size:
            continue  # A S has a smaller rank
        product /= norm
        _, norm = basis.orthogonalise_(product)  # once more: scaling magnified the rounding errors
        basis.append(product.div_(norm))
        kept = basis[len(basis) - 1].double()
        captured += torch.dot(kept, matvec(kept).to(device, torch.float64))
    rest = []
    for _ in range(vectors):
        signs = _signs(dim, generator, device)
        basis.orthogonalise_(signs)
        rest.append(torch.dot(signs, matvec(signs).to(device, torch.float64)))
    samples = torch.stack(rest)
    return Trace(float(captured + samples.mean()), float(samples.std() / vectors**0.5))


@full_precision()
def spectral_density(
    matvec: Matvec,
    dim: int,
    *,
    generator: torch.Generator,
    vectors: int = DENSITY_VECTORS,
    steps: int = DENSITY_STEPS,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Density:
    """The density of the eigenvalues by stochastic Lanczos quadrature.

    The Ritz values of a Krylov space, weighted by the squares of the first components of their coefficients, are the
    nodes and weights of the Gauss quadrature of v' f(A) v, whose mean over random unit vectors v is tr f(A) / dim. For
    polynomials of degree up to 2 `steps` - 1 the quadrature is exact.

    Source: Ubaru, Chen and Saad 2017 (doi:10.1137/16M1104974); for networks Ghorbani, Krishnan and Xiao 2019
    (arXiv:1901.10159).

    Args as in `trace`; `vectors` starting vectors and `steps` products for each. Stored are up to `steps` vectors.

    Returns:
        The mean over the starting vectors; all NaN if a product is not finite.
    """
    device = device or generator.device
    found, shares = [], []
    for _ in range(vectors):
        none = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
        space = KrylovSpace(random_vector(dim, generator, device), none)
        for _ in range(min(steps, dim)):
            if not space.extend(matvec(space.next_vector())):
                return Density([float("nan")], [float("nan")])
            if space.is_invariant:
                break
        pairs = space.ritz()
        found.append(pairs.values)
        shares.append(pairs.coefficients[0] ** 2 / vectors)
    nodes, order = torch.cat(found).sort()
    return Density(nodes.tolist(), torch.cat(shares)[order].tolist())


def _signs(dim: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Random signs (dim,), float64, drawn on the generator's device."""
    bits = torch.randint(0, 2, (dim,), generator=generator, device=generator.device)
    return bits.to(device, torch.float64).mul_(2).sub_(1)
