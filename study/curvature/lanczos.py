"""Extreme eigenvalues of a symmetric operator by Lanczos' method with full reorthogonalisation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

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
from study.curvature.krylov import KrylovSpace, RitzPairs


@dataclass(frozen=True)
class Order:
    """What "top" means: by decreasing ``rank``, so at the ``ends`` (1: positive, -1: negative) of the spectrum."""

    rank: Callable[[Tensor], Tensor]
    ends: tuple[int, ...]


WHICH: dict[str, Order] = {
    "magnitude": Order(torch.abs, (1, -1)),
    "largest": Order(torch.clone, (1,)),
    "smallest": Order(torch.neg, (-1,)),
}

OVERLOOKED = 1e-3
"""A random unit vector in n dimensions is less than ``OVERLOOKED / sqrt(n)`` along a given direction with
probability 8e-4 (its coordinates are nearly normal with variance 1/n): the chance that a search ends too early."""

COARSE = 0.1
"""Beyond this much above the weakest wanted eigenvalue, relative to it, a search must exclude eigenvalues by the bound;
nearer than that, the convergence of the largest Ritz value is enough."""

SETTLED = 1e-2
"""Residual, relative to the weakest wanted eigenvalue, at which a search with ``relative_error`` takes its largest Ritz
value as converged: its error is that squared over a gap."""


def lanczos(
    matvec: Matvec,
    dim: int,
    *,
    generator: torch.Generator,
    count: int = 1,
    tolerance: float = RELATIVE_RESIDUAL,
    relative_error: float | None = None,
    max_matvecs: int = 200,
    which: str = "magnitude",
    start: Tensor | None = None,
    keep_vectors: bool = False,
    basis_dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> EigenResult:
    """The ``count`` top eigenvalues of a symmetric operator, seen only through its matrix-vector product.

    Lanczos (1950), with full reorthogonalisation and the recurrence in float64 even where ``matvec`` is float32.
    It stops when every wanted Ritz pair has ``||H v - theta v|| <= tolerance * max |theta|``; the eigenvalue's own
    error is then at most residual^2 / gap (Parlett, The Symmetric Eigenvalue Problem, 1998, section 11.7). With
    ``relative_error``, every wanted eigenvalue must also be known to it, relative to its own magnitude, by
    :func:`study.curvature.bounds.error_bounds`: the weakest of twenty can be a fiftieth of the largest.

    A space grown from one vector holds one copy of each eigenvalue, however multiple, and may not yet show a
    member of a cluster. So with ``count > 1`` the pairs found are locked, and a second space, from a fresh random
    vector orthogonal to them, is searched for what was missed; again for as long as one finds an eigenvalue that
    belongs among the top. Where one did, the last step is Rayleigh-Ritz on all that is locked, which costs no
    product. With ``count = 1`` no copy can matter and no search is made.

    Args:
        matvec: (dim,) float64 -> (dim,), symmetric. Any float dtype may come back.
        dim: the operator's dimension.
        generator: draws the starting vectors, on its own device.
        count: eigenvalues wanted; the operator's dimension caps it.
        tolerance: relative residual at which a pair counts as converged.
        relative_error: also asked of each eigenvalue, as a fraction of its own magnitude; ``None``: not asked, and
            ``converged_each`` says which are known to 1e-4.
        max_matvecs: budget of products; without convergence by then the best pairs come back with
            ``converged=False``.
        which: "magnitude", "largest" or "smallest".
        start: starting vector, shape (dim,), instead of a random one. It must not be orthogonal to the wanted
            eigenvectors.
        keep_vectors: also return the eigenvectors.
        basis_dtype: storage of the basis (``dim`` numbers a product). float32 halves it and is as good when
            ``matvec`` is float32.
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
    check_request(dim, count, tolerance, max_matvecs, start, relative_error)
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, got {which!r}")
    device = device or (generator.device if start is None else start.device)
    first = None if start is None else start.to(device, torch.float64)
    vectors = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
    found = _Found(vectors, min(count, dim), WHICH[which], tolerance, relative_error)
    matvecs, done = 0, False
    while not done and matvecs < max_matvecs:
        space = KrylovSpace(random_vector(dim, generator, device) if first is None else first, found.vectors)
        first, finished = None, False
        while not finished and matvecs < max_matvecs:
            product = matvec(space.next_vector()).to(device, torch.float64)
            matvecs += 1
            if not product.isfinite().all():
                return not_finite(found.count, matvecs, tolerance)
            space.extend(product)
            pairs = space.ritz()
            belonging, finished = found.judge(space, pairs)
        found.lock(space, pairs, belonging)
        found_nothing = len(belonging) == 0
        done = finished and (found.count == 1 or found_nothing or len(found.values) == dim)
    return found.result(converged=done, matvecs=matvecs, keep_vectors=keep_vectors)


class _Found:
    """Eigenpairs locked so far, and the judgement of what a further Krylov space adds to them."""

    def __init__(
        self, vectors: OrthonormalBasis, count: int, order: Order, tolerance: float, relative_error: float | None
    ) -> None:
        self.vectors, self.count, self.order = vectors, count, order
        self.tolerance, self.relative_error = tolerance, relative_error
        self.values = torch.zeros(0, dtype=torch.float64)
        self.residuals = torch.zeros(0, dtype=torch.float64)
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._rest = (torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))

    def judge(self, space: KrylovSpace, pairs: RitzPairs) -> tuple[Tensor, bool]:
        """Indices of the pairs that belong among the top, best first, and whether the space need not grow."""
        scale = torch.cat([self.values, pairs.values]).abs().max().item()
        slack = self.tolerance * scale
        best_first = self._best_first(pairs.values)
        missing = self.count - len(self.values)
        if missing > 0:
            belonging = best_first[: self.count if space.is_invariant else missing]
            complete = space.is_invariant or len(belonging) == missing
        else:
            weakest = self.order.rank(self.values)[self._best_first(self.values)[self.count - 1]].item()
            margin = slack if self.relative_error is None else self.relative_error * abs(weakest)
            margin = max(margin, zero_level(scale, self.vectors.dtype))
            belonging = best_first[self.order.rank(pairs.values[best_first]) > weakest + margin]
            complete = len(belonging) > 0 or self._nothing_hidden(space, pairs, weakest, margin)
        return belonging, complete and self._converged(pairs, belonging, slack, scale)

    def _converged(self, pairs: RitzPairs, belonging: Tensor, slack: float, scale: float) -> bool:
        if not (pairs.residuals[belonging] <= slack).all():
            return False
        if self.relative_error is None:
            return True
        bounds = error_bounds(pairs.values, pairs.residuals)
        zero = zero_level(scale, self.vectors.dtype)
        known = accurate(pairs.values, bounds, relative_error=self.relative_error, zero=zero)
        return bool(known[belonging].all())

    def lock(self, space: KrylovSpace, pairs: RitzPairs, chosen: Tensor) -> None:
        """Take over the chosen pairs of ``space``; the values of the others stay known."""
        others = torch.ones(len(pairs.values), dtype=torch.bool)
        others[chosen] = False
        rest_values, rest_residuals = self._rest
        self._rest = (
            torch.cat([rest_values, pairs.values[others]]),
            torch.cat([rest_residuals, torch.hypot(pairs.residuals, pairs.coupling)[others]]),
        )
        for vector in space.vectors(pairs, chosen):
            self.vectors.append(vector)
        coupling = space.coupling(pairs, chosen)
        self._projected = torch.cat(
            [
                torch.cat([self._projected, coupling], dim=1),
                torch.cat([coupling.T, torch.diag(pairs.values[chosen])], dim=1),
            ]
        )
        self.values = torch.cat([self.values, pairs.values[chosen]])
        self.residuals = torch.cat([self.residuals, pairs.residuals[chosen]])

    def result(self, *, converged: bool, matvecs: int, keep_vectors: bool) -> EigenResult:
        """The best of what is locked."""
        values, selection, residuals = self.values, torch.eye(len(self.values), dtype=torch.float64), self.residuals
        if (self._projected != torch.diag(values)).any():
            values, rotation = torch.linalg.eigh(self._projected)
            selection = rotation.T
            residuals = selection.abs() @ residuals  # at most: the triangle inequality
        top = self._best_first(values)[: self.count]
        scale = values.abs().max().item() or 1.0
        rest_values, rest_residuals = self._rest
        bounds = error_bounds(torch.cat([values, rest_values]), torch.cat([residuals, rest_residuals]))[: len(values)]
        known = accurate(
            values,
            bounds,
            relative_error=self.relative_error or RELATIVE_ERROR,
            zero=zero_level(scale, self.vectors.dtype),
        )
        return EigenResult(
            eigenvalues=values[top].tolist(),
            residuals=(residuals[top] / scale).tolist(),
            converged=converged,
            converged_each=known[top].tolist(),
            matvecs=matvecs,
            tolerance=self.tolerance,
            eigenvectors=self.vectors.combine(selection[top]) if keep_vectors else None,
        )

    def _best_first(self, values: Tensor) -> Tensor:
        return self.order.rank(values).argsort(descending=True, stable=True)

    def _nothing_hidden(self, space: KrylovSpace, pairs: RitzPairs, weakest: float, margin: float) -> bool:
        """Whether, all but certainly, the space's complement holds no eigenvalue above ``weakest`` that matters."""

        def excluded_above(level: float) -> bool:
            largest = OVERLOOKED / math.sqrt(self.vectors.dim)
            return all(space.hidden_weight(pairs.values, end * level) < largest for end in self.order.ends)

        best = self._best_first(pairs.values)[0]
        settled = margin if self.relative_error is None else max(margin, SETTLED * abs(weakest))
        largest_is_settled = bool(pairs.residuals[best] <= settled)
        coarse = weakest + max(margin, COARSE * abs(weakest))
        return excluded_above(weakest + margin) or (largest_is_settled and excluded_above(coarse))
