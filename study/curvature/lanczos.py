"""Extreme eigenvalues of a symmetric operator by Lanczos' method with full reorthogonalisation."""

from collections.abc import Callable

import torch
from torch import Tensor

from study.curvature.eigen import (
    RELATIVE_RESIDUAL,
    EigenResult,
    Matvec,
    check_request,
    not_finite,
    random_vector,
)
from study.curvature.krylov import KrylovSpace, RitzPairs

WHICH: dict[str, Callable[[Tensor], Tensor]] = {
    "magnitude": torch.abs,
    "largest": torch.clone,
    "smallest": torch.neg,
}
"""What "top" means: eigenvalues are wanted in decreasing order of this function of theirs."""


def lanczos(
    matvec: Matvec,
    dim: int,
    *,
    generator: torch.Generator,
    count: int = 1,
    tolerance: float = RELATIVE_RESIDUAL,
    max_matvecs: int = 200,
    which: str = "magnitude",
    start: Tensor | None = None,
    keep_vectors: bool = False,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> EigenResult:
    """The ``count`` top eigenvalues of a symmetric operator, seen only through its matrix-vector product.

    Lanczos (1950), with full reorthogonalisation and the recurrence in float64 even where ``matvec`` is float32. It stops
    when every wanted Ritz pair has ``||H v - theta v|| <= tolerance * max |theta|``; the eigenvalue's own error is then at most
    residual^2 / gap (Parlett, The Symmetric Eigenvalue Problem, 1998, section 11.7).

    A space grown from one vector holds one copy of each eigenvalue, however multiple. So with ``count > 1`` a second chain,
    from a fresh random vector orthogonal to the first, looks for what was missed, and another follows for as long as
    one finds an eigenvalue that belongs among the top. With ``count = 1`` no copy can matter and none is looked for.

    Args:
        matvec: (dim,) float64 -> (dim,), symmetric. Any float dtype may come back.
        dim: the operator's dimension.
        generator: draws the starting vector, on its own device.
        count: eigenvalues wanted; the operator's dimension caps it.
        tolerance: relative residual at which a pair counts as converged.
        max_matvecs: budget of products; without convergence by then the best pairs come back with ``converged=False``.
        which: "magnitude", "largest" or "smallest".
        start: starting vector, shape (dim,), instead of a random one. It must not be orthogonal to the wanted eigenvectors.
        keep_vectors: also return the eigenvectors.
        basis_dtype: storage of the basis (``dim`` numbers a product). float32 halves it and is as good when ``matvec`` is float32.
        device: where the vectors live; default: that of ``start``, else of the generator.

    Returns:
        EigenResult; all NaN and not converged as soon as a product is not finite.

    Raises:
        ValueError: for a non-positive size or tolerance, an unusable ``start`` or an unknown ``which``.

    Example:
        >>> spectrum = torch.tensor([1.0, -5.0, 3.0, 0.5], dtype=torch.float64)
        >>> result = lanczos(lambda v: spectrum * v, 4, count=2, generator=torch.Generator().manual_seed(0))
        >>> [round(value, 6) for value in result.eigenvalues]
        [-5.0, 3.0]
    """
    check_request(dim, count, tolerance, max_matvecs, start)
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, got {which!r}")
    order = WHICH[which]
    device = device or (generator.device if start is None else start.device)
    first = random_vector(dim, generator, device) if start is None else start.to(device, torch.float64)
    count = min(count, dim)

    space = KrylovSpace(dim, dtype=basis_dtype, device=device)
    space.open_chain(first, chain := 0)
    following, searched, done = 0, False, False
    while True:
        product = matvec(space.basis[following]).to(device, torch.float64)
        if not product.isfinite().all():
            return not_finite(count, len(space.multiplied) + 1, tolerance)
        space.multiply(following, product)

        pairs = space.ritz()
        wanted = order(pairs.values).argsort(descending=True, stable=True)[:count]
        slack = tolerance * pairs.values.abs().max().item()
        found = len(wanted) == count and bool((pairs.residuals[wanted] <= slack).all())
        if found:
            weakest = order(pairs.values[wanted[-1:]]).item()
            searched, missed = _search_outcome(space, chain, order, weakest, slack)
            exhausted = space.is_everything and not space.pending
            done = count == 1 or exhausted or (searched and not missed)
        if done or len(space.multiplied) == max_matvecs:
            break
        if not space.pending or (found and searched and not space.is_everything):
            chain += 1
            space.open_chain(random_vector(dim, generator, device), chain)
        if found:
            following = (space.chain_pending(chain) or space.pending)[0]
        else:
            following = space.worst_pending(pairs, wanted)

    scale = pairs.values.abs().max().item() or 1.0
    return EigenResult(
        eigenvalues=pairs.values[wanted].tolist(),
        residuals=(pairs.residuals[wanted] / scale).tolist(),
        converged=done,
        matvecs=len(space.multiplied),
        tolerance=tolerance,
        eigenvectors=space.vectors(pairs, wanted) if keep_vectors else None,
    )


def _search_outcome(
    space: KrylovSpace, chain: int, order: Callable[[Tensor], Tensor], weakest: float, slack: float
) -> tuple[bool, bool]:
    """Whether ``chain`` has been searched to its end, and whether what it holds calls for another chain.

    The end: all its Ritz pairs above the weakest wanted one have converged, and the next one has converged too, or cannot
    reach the weakest wanted, or cannot exist. The first chain always calls for another: a chain cannot see its own copies.
    """
    if chain == 0:
        return True, True
    own: RitzPairs = space.chain_ritz(chain)
    best_first = order(own.values).argsort(descending=True, stable=True)
    rank, residuals = order(own.values[best_first]), own.residuals[best_first]
    above = int((rank > weakest + slack).sum())
    if (residuals[:above] > slack).any():
        return False, True
    if above == len(rank):
        return not space.chain_pending(chain), True
    bounded = residuals[above] <= max(slack, weakest - rank[above].item())
    return bool(bounded), above > 0
