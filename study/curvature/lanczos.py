"""Eigenvalues of largest magnitude of a symmetric operator by Lanczos' method with full reorthogonalisation.

    H Q_k = Q_k T_k + beta_k q_{k+1} e_k',        Q_k' Q_k = 1.

The Ritz pairs (theta, y = Q_k s) of the small matrix T_k approximate eigenpairs of H, with residual beta_k |s_k|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from study.arithmetic import full_precision
from study.curvature.basis import OrthonormalBasis
from study.curvature.eigen import (
    RELATIVE_ERROR,
    RELATIVE_RESIDUAL,
    EigenResult,
    Matvec,
    accurate,
    error_bounds,
    not_finite,
    random_vector,
    zero_level,
)

OVERLOOKED = 1e-3
"""A random unit vector in n dimensions has a component below `OVERLOOKED / sqrt(n)` along a given direction with
probability 8e-4 (its coordinates are nearly normal with variance 1/n): the chance that a search ends too early."""

COARSE = 0.1
"""Relative distance above the weakest wanted eigenvalue beyond which a search must exclude eigenvalues by the bound;
below it, the convergence of the largest Ritz value is enough."""

SETTLED = 1e-2
"""Residual, relative to the weakest wanted eigenvalue, at which a search with `relative_error` takes its largest Ritz
value as converged: its error is the residual squared over a gap."""

OWN_RESIDUAL = 1e-3
"""Largest residual, relative to its own magnitude, of a pair that a search with `relative_error` accepts: one that is
small only beside the largest eigenvalue can mix two weak ones. Of 24 spectra that fall as about i^-2, 14 had a wrong
value among twenty without this rule, 4 of them one with a flag; with it none has, for 3 % more products."""

FURTHER = 4.0
"""How many times its residual the Ritz value at the other end of the spectrum may still grow. The residual bounds its
distance from some eigenvalue, not from the end. With eigenvalues 4.49, 4.40, -4.43, ... above 3,000 small ones, 15 of
40 starting vectors gave -4.43 without this rule, 3 at 1 times the residual, 0 at 4 times."""

BREAKDOWN = 1e-12
"""A remainder this small relative to the largest product so far is rounding error: the space is invariant."""

GROWN = 100.0
"""A remainder this many times smaller than the product has lost two digits of its orthogonality, so it is
orthogonalised once more."""


@full_precision()
def lanczos(
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
    """The `count` eigenvalues of largest magnitude of a symmetric operator, which is used only by its matvec.

    Lanczos (1950), with full reorthogonalisation and the recurrence in float64 even where `matvec` is float32. It
    stops when every wanted Ritz pair has `||H v - theta v|| <= tolerance * max |theta|`; the eigenvalue's own error is
    then at most residual^2 / gap (Parlett, The Symmetric Eigenvalue Problem, 1998, section 11.7). With
    `relative_error`, every wanted eigenvalue must also be known to that error relative to its own magnitude, by
    `study.curvature.eigen.error_bounds`, and have a residual of at most `OWN_RESIDUAL` of it: the weakest of twenty can
    be a fiftieth of the largest.

    A Krylov space of one vector contains one copy of each eigenvalue, however multiple, and may not yet show all
    members of a cluster. So with `count > 1` the pairs found are locked, and a second space, from a new random vector
    orthogonal to them, is searched for missed eigenvalues; this is repeated as long as a search finds an eigenvalue
    that belongs among the top. If one did, the last step is Rayleigh-Ritz on all locked pairs, which costs no product.
    With `count = 1` copies do not matter and there is no second search. Instead the other end of the spectrum must have
    converged too, or be too far behind to exceed the eigenvalue found in magnitude.

    Args:
        matvec: (dim,) in `basis_dtype` -> (dim,), symmetric. It may return any floating-point type.
        dim: the operator's dimension.
        generator: draws the starting vectors, on its own device.
        count: number of eigenvalues; at most the operator's dimension are returned.
        tolerance: relative residual at which a pair counts as converged.
        relative_error: additional requirement for each eigenvalue, as a fraction of its own magnitude. With None there
            is no such requirement, and `converged_each` says which are known to 1e-4.
        max_matvecs: budget of products; without convergence by then the best pairs are returned with `converged=False`.
        keep_vectors: also return the eigenvectors.
        basis_dtype: storage type of the basis (`dim` numbers for each product). float32 halves its memory and is as
            accurate when `matvec` is float32.
        device: where the vectors are stored; default: the generator's device.

    Returns:
        EigenResult; all NaN and not converged as soon as a product is not finite.

    Raises:
        ValueError: for a size or tolerance that is not positive.

    Example:
        >>> spectrum = torch.tensor([1.0, -5.0, 3.0, 0.5], dtype=torch.float64)
        >>> result = lanczos(lambda v: spectrum * v, 4, count=2, generator=torch.Generator().manual_seed(0))
        >>> [round(value, 6) for value in result.eigenvalues]
        [-5.0, 3.0]
    """
    if dim < 1 or count < 1 or max_matvecs < 1:
        raise ValueError(f"dim, count and max_matvecs must be at least 1, got {dim}, {count}, {max_matvecs}")
    if not tolerance > 0 or (relative_error is not None and not relative_error > 0):
        raise ValueError(f"tolerance and relative_error must be positive, got {tolerance} and {relative_error}")
    device = device or generator.device
    vectors = OrthonormalBasis(dim, dtype=basis_dtype, device=device)
    found = _Found(vectors, min(count, dim), tolerance, relative_error)
    matvecs, done = 0, False
    while not done and matvecs < max_matvecs:
        space = KrylovSpace(random_vector(dim, generator, device), found.vectors)
        finished = False
        while not finished and matvecs < max_matvecs:
            product = matvec(space.next_vector())
            matvecs += 1
            if not space.extend(product):
                return not_finite(found.count, matvecs, tolerance)
            pairs = space.ritz()
            belonging, finished = found.judge(space, pairs)
        found.lock(space, pairs, belonging)
        found_nothing = len(belonging) == 0
        done = finished and (found.count == 1 or found_nothing or len(found.values) == dim)
        if keep_vectors or not done:
            found.lock_vectors(space, pairs, belonging)
    return found.result(converged=done, matvecs=matvecs, keep_vectors=keep_vectors)


class _Found:
    """Eigenpairs locked so far, and the decision which pairs of a further Krylov space join them."""

    def __init__(self, vectors: OrthonormalBasis, count: int, tolerance: float, relative_error: float | None) -> None:
        self.vectors, self.count = vectors, count
        self.tolerance, self.relative_error = tolerance, relative_error
        self.values = torch.zeros(0, dtype=torch.float64)
        self.residuals = torch.zeros(0, dtype=torch.float64)
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._rest = (torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))

    def judge(self, space: KrylovSpace, pairs: RitzPairs) -> tuple[Tensor, bool]:
        """Indices of the pairs that belong among the top, largest first, and whether the space is large enough."""
        scale = torch.cat([self.values, pairs.values]).abs().max().item()
        slack = self.tolerance * scale
        largest_first = _largest_first(pairs.values)
        missing = self.count - len(self.values)
        if missing > 0:
            belonging = largest_first[: self.count if space.is_invariant else missing]
            complete = space.is_invariant or len(belonging) == missing
            if self.count == 1:  # no second search will follow
                complete = complete and _no_rival(pairs, slack)
        else:
            weakest = self.values.abs()[_largest_first(self.values)[self.count - 1]].item()
            margin = slack if self.relative_error is None else self.relative_error * abs(weakest)
            margin = max(margin, zero_level(scale, self.vectors.dtype))
            belonging = largest_first[pairs.values[largest_first].abs() > weakest + margin]
            complete = len(belonging) > 0 or self._nothing_hidden(space, pairs, weakest, margin)
        return belonging, complete and self._converged(pairs, belonging, slack, scale)

    def _converged(self, pairs: RitzPairs, belonging: Tensor, slack: float, scale: float) -> bool:
        residuals = pairs.residuals[belonging]
        if not (residuals <= slack).all():
            return False
        if self.relative_error is None:
            return True
        zero = zero_level(scale, self.vectors.dtype)
        if not (residuals <= (OWN_RESIDUAL * pairs.values[belonging].abs()).clamp(min=zero)).all():
            return False
        bounds = error_bounds(pairs.values, pairs.residuals)
        known = accurate(pairs.values, bounds, relative_error=self.relative_error, zero=zero)
        return bool(known[belonging].all())

    def lock(self, space: KrylovSpace, pairs: RitzPairs, chosen: Tensor) -> None:
        """Add the values of the chosen pairs of `space`; those of the others are kept for the error bounds."""
        others = torch.ones(len(pairs.values), dtype=torch.bool)
        others[chosen] = False
        rest_values, rest_residuals = self._rest
        self._rest = (
            torch.cat([rest_values, pairs.values[others]]),
            torch.cat([rest_residuals, torch.hypot(pairs.residuals, pairs.coupling)[others]]),
        )
        coupling = space.coupling(pairs, chosen)
        self._projected = torch.cat(
            [
                torch.cat([self._projected, coupling], dim=1),
                torch.cat([coupling.T, torch.diag(pairs.values[chosen])], dim=1),
            ]
        )
        self.values = torch.cat([self.values, pairs.values[chosen]])
        self.residuals = torch.cat([self.residuals, pairs.residuals[chosen]])

    def lock_vectors(self, space: KrylovSpace, pairs: RitzPairs, chosen: Tensor) -> None:
        """Add the vectors of the pairs locked last, for a further search or for the caller."""
        for vector in space.vectors(pairs, chosen):
            self.vectors.append(vector)

    def result(self, *, converged: bool, matvecs: int, keep_vectors: bool) -> EigenResult:
        """The locked pairs of largest magnitude."""
        values, selection, residuals = self.values, torch.eye(len(self.values), dtype=torch.float64), self.residuals
        if (self._projected != torch.diag(values)).any():
            values, rotation = torch.linalg.eigh(self._projected)
            selection = rotation.T
            residuals = selection.abs() @ residuals  # an upper bound, by the triangle inequality
        top = _largest_first(values)[: self.count]
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

    def _nothing_hidden(self, space: KrylovSpace, pairs: RitzPairs, weakest: float, margin: float) -> bool:
        """Whether, almost certainly, the space has missed no eigenvalue of magnitude above `weakest` + `margin`."""

        def excluded_above(level: float) -> bool:
            largest = OVERLOOKED / math.sqrt(self.vectors.dim)
            return all(space.hidden_weight(pairs.values, end) < largest for end in (level, -level))

        best = _largest_first(pairs.values)[0]
        settled = margin if self.relative_error is None else max(margin, SETTLED * abs(weakest))
        largest_is_settled = bool(pairs.residuals[best] <= settled)
        coarse = weakest + max(margin, COARSE * abs(weakest))
        return excluded_above(weakest + margin) or (largest_is_settled and excluded_above(coarse))


def _no_rival(pairs: RitzPairs, slack: float) -> bool:
    """Whether no eigenvalue of the other sign is likely to exceed the largest Ritz value in magnitude.

    The two ends of a spectrum converge independently: the largest Ritz value can be converged while the one at the
    other end still grows. It must have converged too, or be smaller even if it grows by FURTHER times its residual.
    """
    low, high = pairs.values[0].item(), pairs.values[-1].item()
    rival = 0 if high >= -low else -1
    other_end = max(0.0, min(high, -low))
    residual = pairs.residuals[rival].item()
    return residual <= slack or other_end + FURTHER * residual <= max(high, -low)


def _largest_first(values: Tensor) -> Tensor:
    return values.abs().argsort(descending=True, stable=True)


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs, all on the CPU in float64.

    Attributes:
        values: Ritz values (k,), ascending.
        coefficients: of the Ritz vectors on the space's basis, one column each, (k, k).
        residuals: `||P (H y - theta y)||` (k,), where P projects orthogonally to the locked vectors.
        coupling: `||(I - P) H y||` (k,), the rest of the residual; it tends to 0 as the locked vectors become exact.
    """

    values: Tensor
    coefficients: Tensor
    residuals: Tensor
    coupling: Tensor


class KrylovSpace:
    """Krylov space of `P H P` from one vector, fully reorthogonalised; P projects orthogonally to `locked`.

    Args:
        start: shape (dim,), float64; the part of it orthogonal to `locked` is the first basis vector. Its memory is
            used for the recurrence.
        locked: eigenvectors found before.
    """

    def __init__(self, start: Tensor, locked: OrthonormalBasis) -> None:
        self._locked = locked
        self.basis = OrthonormalBasis(locked.dim, dtype=locked.dtype, device=locked.device)
        self._recent = torch.zeros(2, locked.dim, dtype=torch.float64, device=locked.device)
        self._remainder = start
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._coupling = torch.zeros(len(locked), 0, dtype=torch.float64)
        self._remainders: list[float] = []
        self._largest_product = 0.0
        _, norm = locked.orthogonalise_(start)
        self._append(start.div_(norm))

    @property
    def is_invariant(self) -> bool:
        """Whether the recurrence has ended: every Ritz pair is exact, and there is no next vector."""
        return bool(self._remainders) and self._remainders[-1] == 0

    def next_vector(self) -> Tensor:
        """The vector to multiply next, as it is stored: shape (dim,), a view."""
        return self.basis[len(self._remainders)]

    def extend(self, product: Tensor) -> bool:
        """Extend the space by `product` = H times `next_vector()`, shape (dim,); False if it is not finite."""
        k = len(self._remainders)
        remainder = self._remainder.copy_(product)
        size = remainder.norm().item()
        if not math.isfinite(size):
            return False
        self._largest_product = max(self._largest_product, size)
        coupling = torch.zeros(0, dtype=torch.float64)
        if len(self._locked):
            coupling, _ = self._locked.orthogonalise_(remainder)
        # In exact arithmetic the product has no components but those along the last two vectors (the three-term
        # recurrence). What full reorthogonalisation subtracts after them is rounding error, for which the storage's
        # dtype is enough.
        recent = self._recent @ remainder
        remainder.addmv_(self._recent.T, recent, alpha=-1)
        coefficients, norm = self.basis.orthogonalise_(remainder)
        for index in range(max(0, k - 1), k + 1):
            coefficients[index] += recent[index % 2].cpu()
        everything = k + 1 + len(self._locked) == self.basis.dim
        if everything or norm <= BREAKDOWN * self._largest_product:
            norm = 0.0
        else:
            remainder.div_(norm)
            if size / norm >= GROWN:
                self._locked.orthogonalise_(remainder)
                _, length = self.basis.orthogonalise_(remainder)
                remainder.div_(length)
            self._append(remainder)
        self._projected = torch.nn.functional.pad(self._projected, (0, 1, 0, 1))
        self._projected[:, k] = coefficients
        if k > 0:
            self._projected[k, k - 1] = self._remainders[-1]
        self._coupling = torch.cat([self._coupling, coupling[:, None]], dim=1)
        self._remainders.append(norm)
        return True

    def _append(self, unit_vector: Tensor) -> None:
        """Store a basis vector, and the stored values once more in float64 for the recurrence."""
        index = len(self.basis)
        self.basis.append(unit_vector)
        self._recent[index % 2] = self.basis[index]

    def ritz(self) -> RitzPairs:
        """Ritz pairs of the vectors multiplied so far. Their residuals are known without another product."""
        # Because of rounding in H the two triangles differ slightly; their mean is the better estimate of both.
        values, coefficients = torch.linalg.eigh((self._projected + self._projected.T) / 2)
        residuals = self._remainders[-1] * coefficients[-1].abs()
        return RitzPairs(values, coefficients, residuals, (self._coupling @ coefficients).norm(dim=0))

    def vectors(self, pairs: RitzPairs, chosen: Tensor) -> Tensor:
        """Ritz vectors of the chosen pairs: shape (len(chosen), dim), float64."""
        weights = torch.zeros(len(chosen), len(self.basis), dtype=torch.float64)
        weights[:, : len(self._remainders)] = pairs.coefficients[:, chosen].T
        return self.basis.combine(weights)

    def coupling(self, pairs: RitzPairs, chosen: Tensor) -> Tensor:
        """`<u, H y>` for the locked vectors u and the chosen Ritz vectors y: (len(locked), len(chosen)), float64."""
        return self._coupling @ pairs.coefficients[:, chosen]

    def hidden_weight(self, values: Tensor, level: float) -> float:
        """Upper bound on `|<start, u>|` for any eigenvector u of P H P with eigenvalue `level`.

        After k products the next remainder is `pi(PHP) start / (product of the previous norms)`, where `pi(t)` is the
        product of `t - theta_i` over the Ritz values (Parlett, The Symmetric Eigenvalue Problem, 1998, chapter 12).
        So the product of all k remainder norms is `||pi(PHP) start|| >= |pi(level)| |<start, u>|`. Outside the range
        of the Ritz values the bound decreases with distance, so it also holds for every eigenvalue further out.

        Args:
            values: all the Ritz values (k,).
            level: an eigenvalue of P H P, beyond the Ritz values.
        """
        if self.is_invariant:
            return 0.0
        distance = (level - values).abs()
        if not distance.all():
            return 1.0
        return math.exp(min(0.0, sum(map(math.log, self._remainders)) - distance.log().sum().item()))
