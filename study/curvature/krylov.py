"""One Lanczos recurrence, and what can be said from it about the spectrum."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from study.curvature.basis import OrthonormalBasis

# A remainder this small beside the largest product so far is rounding error: the space is invariant.
BREAKDOWN = 1e-12

# A remainder this many times smaller than the product has lost two digits of its orthogonality.
GROWN = 100.0


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs, all on the CPU in float64.

    Attributes:
        values: Ritz values (k,), ascending.
        coefficients: of the Ritz vectors on the space's basis, one column each, (k, k).
        residuals: ``||P (H y - theta y)||`` (k,), P the projection off the locked vectors.
        coupling: ``||(I - P) H y||`` (k,), the rest of the residual; it vanishes as locked vectors become exact.
    """

    values: Tensor
    coefficients: Tensor
    residuals: Tensor
    coupling: Tensor


class KrylovSpace:
    """Krylov space of ``P H P`` from one vector, P the projection off ``locked`` vectors, fully reorthogonalised.

    Args:
        start: shape (dim,), float64; its part orthogonal to ``locked`` begins the space.
        locked: eigenvectors found before.
    """

    def __init__(self, start: Tensor, locked: OrthonormalBasis) -> None:
        self._locked = locked
        self.basis = OrthonormalBasis(locked.dim, dtype=locked.dtype, device=locked.device)
        direction, _ = locked.orthogonalise(start)
        self.basis.append(direction / direction.norm())
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._coupling = torch.zeros(len(locked), 0, dtype=torch.float64)
        self._remainders: list[float] = []
        self._largest_product = 0.0

    @property
    def is_invariant(self) -> bool:
        """Whether the recurrence has ended: every Ritz pair is exact, and nothing is left to multiply."""
        return bool(self._remainders) and self._remainders[-1] == 0

    def next_vector(self) -> Tensor:
        """The vector to multiply next, shape (dim,), float64."""
        return self.basis[len(self._remainders)]

    def extend(self, product: Tensor) -> None:
        """Take in ``product`` = H times :meth:`next_vector`, shape (dim,), float64."""
        self._largest_product = max(self._largest_product, product.norm().item())
        remainder, coupling = self._locked.orthogonalise(product)
        remainder, recent = self._without_recent(remainder)
        remainder, coefficients = self.basis.orthogonalise(remainder)
        coefficients[-len(recent) :] += recent
        norm = remainder.norm().item()
        everything = len(self.basis) + len(self._locked) == self.basis.dim
        if everything or norm <= BREAKDOWN * self._largest_product:
            norm = 0.0
        else:
            self.basis.append(self._orthonormal(remainder / norm, grown=product.norm().item() / norm))
        k = len(self._remainders)
        self._projected = torch.nn.functional.pad(self._projected, (0, 1, 0, 1))
        self._projected[:, k] = coefficients
        if k > 0:
            self._projected[k, k - 1] = self._remainders[-1]
        self._coupling = torch.cat([self._coupling, coupling[:, None]], dim=1)
        self._remainders.append(norm)

    def _orthonormal(self, unit_vector: Tensor, *, grown: float) -> Tensor:
        """The next basis vector: where scaling it to norm 1 made rounding errors grow, they are taken out again."""
        if grown < GROWN:
            return unit_vector
        for basis in (self._locked, self.basis):
            unit_vector, _ = basis.orthogonalise(unit_vector)
        return unit_vector.div_(unit_vector.norm())

    def _without_recent(self, product: Tensor) -> tuple[Tensor, Tensor]:
        """The product without its parts on the last two vectors, and these parts' coefficients, both float64.

        In exact arithmetic that is all there is to take away (the three-term recurrence), so what full
        reorthogonalisation takes afterwards is rounding error, for which one pass in the storage's dtype is enough.
        """
        coefficients = []
        for index in range(max(0, len(self.basis) - 2), len(self.basis)):
            vector = self.basis[index]
            coefficients.append(torch.dot(vector, product))
            product = product - coefficients[-1] * vector
        return product, torch.stack(coefficients).cpu()

    def ritz(self) -> RitzPairs:
        """Ritz pairs of what has been multiplied. Their residuals are known without another product."""
        # Rounding in H leaves the two halves different by as much; their mean is the better estimate of both.
        values, coefficients = torch.linalg.eigh((self._projected + self._projected.T) / 2)
        residuals = self._remainders[-1] * coefficients[-1].abs()
        return RitzPairs(values, coefficients, residuals, (self._coupling @ coefficients).norm(dim=0))

    def vectors(self, pairs: RitzPairs, chosen: Tensor) -> Tensor:
        """Ritz vectors of the chosen pairs: shape (len(chosen), dim), float64."""
        weights = torch.zeros(len(chosen), len(self.basis), dtype=torch.float64)
        weights[:, : len(self._remainders)] = pairs.coefficients[:, chosen].T
        return self.basis.combine(weights)

    def coupling(self, pairs: RitzPairs, chosen: Tensor) -> Tensor:
        """``<u, H y>`` between the locked vectors u and the chosen Ritz vectors y: (locked, len(chosen)), float64."""
        return self._coupling @ pairs.coefficients[:, chosen]

    def hidden_weight(self, values: Tensor, level: float) -> float:
        """Upper bound on ``|<start, u>|`` for any eigenvector u of P H P with eigenvalue ``level``.

        After k products the next remainder is ``pi(PHP) start / (product of the norms before)``, with ``pi(t)`` the
        product of ``t - theta_i`` over the Ritz values (Parlett, The Symmetric Eigenvalue Problem, 1998,
        chapter 12). So the product of all k remainder norms is ``||pi(PHP) start|| >= |pi(level)| |<start, u>|``.
        Beyond the extreme Ritz values the bound falls with the distance, so it holds for every eigenvalue
        further out as well.

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
