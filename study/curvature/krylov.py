"""A growing search space and the Rayleigh-Ritz approximations that it holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from study.curvature.basis import OrthonormalBasis

# A remainder this small beside the largest product so far is rounding error: the space is invariant.
BREAKDOWN = 1e-12


@dataclass(frozen=True)
class RitzPairs:
    """Ritz values (k,), their coefficients (rows, k) on the multiplied vectors, and residual norms (k,), all on the CPU."""

    values: Tensor
    coefficients: Tensor
    residuals: Tensor


class KrylovSpace:
    """Orthonormal vectors ``V`` with the products ``H v`` of all but the *pending* ones, as coefficients on ``V``.

    Multiplying a vector makes its product's remainder outside ``V`` the next pending vector. With one starting vector this
    is the Lanczos recurrence with full reorthogonalisation. A second starting vector, orthogonal to all there is,
    opens a second *chain*, which sees the copies of a multiple eigenvalue that the first cannot. Because the whole of
    ``H V`` lies in the span of ``V``, the residual of a Ritz pair is known without another product:
    ``||H y - theta y|| = ||C s||`` with ``C`` the rows of the coefficients that belong to pending vectors.

    Args:
        dim: length of the vectors.
        dtype: storage of the basis, see :class:`~study.curvature.basis.OrthonormalBasis`.
        device: where the basis lives.
    """

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self.basis = OrthonormalBasis(dim, dtype=dtype, device=device)
        self.multiplied: list[int] = []
        self.pending: list[int] = []
        self._chain_of: list[int] = []
        self._coefficients = torch.zeros(0, 0, dtype=torch.float64)
        self._largest_product = 0.0

    @property
    def is_everything(self) -> bool:
        """Whether the basis spans the whole of R^dim."""
        return len(self.basis) == self.basis.dim

    def open_chain(self, vector: Tensor, chain: int) -> None:
        """Add the direction of ``vector``, shape (dim,), that is outside the space as the first pending vector of ``chain``."""
        remainder, _ = self.basis.orthogonalise(vector)
        self._append(remainder / remainder.norm(), chain)

    def multiply(self, index: int, product: Tensor) -> None:
        """Record ``product`` = H v, shape (dim,), float64, of the pending vector ``index``."""
        self.pending.remove(index)
        self.multiplied.append(index)
        self._largest_product = max(self._largest_product, product.norm().item())
        remainder, coefficients = self.basis.orthogonalise(product)
        self._coefficients[: len(coefficients), index] = coefficients
        norm = remainder.norm().item()
        if norm > BREAKDOWN * self._largest_product and not self.is_everything:
            self._append(remainder / norm, self._chain_of[index])
            self._coefficients[-1, index] = norm

    def chain_pending(self, chain: int) -> list[int]:
        """Pending vectors of ``chain``; none once the chain has found an invariant space."""
        return [p for p in self.pending if self._chain_of[p] == chain]

    def ritz(self) -> RitzPairs:
        """Ritz pairs of the whole space, ascending."""
        return self._ritz(self.multiplied, self.pending)

    def chain_ritz(self, chain: int) -> RitzPairs:
        """Ritz pairs of ``chain`` alone: approximate eigenpairs of H restricted to the complement of the rest of the space."""
        members = [i for i in self.multiplied if self._chain_of[i] == chain]
        return self._ritz(members, self.chain_pending(chain))

    def worst_pending(self, pairs: RitzPairs, wanted: Tensor) -> int:
        """The pending vector that carries most of the wanted pairs' residuals: the one to multiply next."""
        share = self._coefficients[self.pending][:, self.multiplied] @ pairs.coefficients[:, wanted]
        return self.pending[int(share.norm(dim=1).argmax())]

    def vectors(self, pairs: RitzPairs, wanted: Tensor) -> Tensor:
        """Ritz vectors of the whole space's wanted pairs: shape (len(wanted), dim), float64."""
        weights = torch.zeros(len(wanted), len(self.basis), dtype=torch.float64)
        weights[:, self.multiplied] = pairs.coefficients[:, wanted].T
        return self.basis.combine(weights)

    def _append(self, unit_vector: Tensor, chain: int) -> None:
        self.pending.append(len(self.basis))
        self._chain_of.append(chain)
        self.basis.append(unit_vector)
        self._coefficients = torch.nn.functional.pad(self._coefficients, (0, 1, 0, 1))

    def _ritz(self, rows: list[int], outside: list[int]) -> RitzPairs:
        projected = self._coefficients[rows][:, rows]
        # Rounding in H leaves the two halves different by as much; their mean is the better estimate of both.
        values, coefficients = torch.linalg.eigh((projected + projected.T) / 2)
        residuals = (self._coefficients[outside][:, rows] @ coefficients).norm(dim=0)
        return RitzPairs(values, coefficients, residuals)
