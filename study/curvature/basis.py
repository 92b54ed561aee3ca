"""An orthonormal set of long vectors, the basis that an eigenvalue algorithm builds up."""

from collections.abc import Iterator

import torch
from torch import Tensor

PANEL = 8
"""Vectors that are allocated, stored and multiplied together, with one call of the linear algebra library."""

BLOCK = 8192
"""Entries of a vector that are summed in the storage's dtype; the sums of blocks are added in float64. A float32 inner
product of a million entries has an error of about 2e-5, more than an eigenvalue may have; by blocks, about 1e-7."""

COLUMNS = 2**16
"""Entries of each vector that are converted to float64 at a time in a linear combination."""

ENOUGH = 0.5**0.5
"""A Gram-Schmidt pass that leaves at least this share of the norm is not repeated (Daniel, Gragg, Kaufman and Stewart,
Reorthogonalization and Stable Algorithms, 1976, with their usual constant)."""


class OrthonormalBasis:
    """Orthonormal vectors of length `dim`; growing the basis copies nothing.

    Long vectors are changed in place and temporary ones are reused: fresh memory for a million entries costs more time
    than the arithmetic on them.

    Args:
        dim: length of each vector.
        dtype: type in which the vectors are stored and multiplied. float32 halves the memory (`4 dim` bytes for a
            vector) and loses no accuracy if the matrix-vector product is computed in float32: then exactly the stored
            values are multiplied.
        device: where the vectors are stored.
    """

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self.dim, self.dtype, self.device = dim, dtype, device
        self._block = min(BLOCK, dim)
        self._padded = -(-dim // self._block) * self._block
        self._panels: list[Tensor] = []
        self._count = 0
        self._scratch = torch.zeros(self._padded, dtype=dtype, device=device)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Tensor:
        """Vector `index` as it is stored: shape (dim,), a view."""
        return self._panels[index // PANEL][index % PANEL, : self.dim]

    def append(self, unit_vector: Tensor) -> None:
        """Add a vector of norm 1 that is orthogonal to the basis."""
        if self._count % PANEL == 0:
            self._panels.append(torch.empty(PANEL, self._padded, dtype=self.dtype, device=self.device))
        row = self._panels[-1][self._count % PANEL]
        row[: self.dim] = unit_vector
        row[self.dim :] = 0
        self._count += 1

    def orthogonalise_(self, vector: Tensor) -> tuple[Tensor, float]:
        """Subtract from `vector`, in place, its projection onto the basis.

        Classical Gram-Schmidt, repeated once if more was subtracted than remains, which gives orthogonality up to
        rounding error (Parlett, The Symmetric Eigenvalue Problem, 1998, section 6.9: "twice is enough").

        Args:
            vector: shape (dim,), float64.

        Returns:
            The coefficients of the projection, shape (len(self),), float64, on the CPU, and the norm of the remainder.
        """
        coefficients = torch.zeros(len(self), dtype=torch.float64)
        if not self._count:
            return coefficients, vector.norm().item()
        for _ in range(2):
            step = self._inner_products(vector)
            vector -= self._sum(step)
            coefficients += step.cpu()
            norm = vector.norm().item()
            # |before|^2 = |step|^2 + |after|^2, so |step| <= |after| where the norm fell by at most ENOUGH.
            if step.norm().item() <= norm:
                break
        return coefficients, norm

    def combine(self, coefficients: Tensor) -> Tensor:
        """Linear combinations of the basis: coefficients (k, len(self)) -> vectors (k, dim), float64."""
        weights = coefficients.to(self.device, torch.float64)
        combined = torch.zeros(len(weights), self.dim, dtype=torch.float64, device=self.device)
        for start in range(0, self.dim, COLUMNS):
            columns = slice(start, min(start + COLUMNS, self.dim))
            rows = torch.cat([panel[:, columns] for panel in self._filled()]).to(torch.float64)
            torch.mm(weights, rows, out=combined[:, columns])
        return combined

    def _filled(self) -> Iterator[Tensor]:
        """The panels, cut to the rows that hold a vector: (at most PANEL, padded dim)."""
        for first, panel in zip(range(0, self._count, PANEL), self._panels, strict=True):
            yield panel[: self._count - first]

    def _inner_products(self, vector: Tensor) -> Tensor:
        """Inner products of `vector` with each vector of the basis: (len(self),), float64."""
        self._scratch[: self.dim] = vector
        blocks = self._scratch.view(-1, 1, self._block)
        products = [blocks @ panel.view(len(panel), -1, self._block).permute(1, 2, 0) for panel in self._filled()]
        return torch.cat([product.sum(dim=0, dtype=torch.float64).view(-1) for product in products])

    def _sum(self, weights: Tensor) -> Tensor:
        """Sum of the basis with weights (len(self),): shape (dim,), in the storage's dtype, until the next call."""
        pieces = weights.to(self.dtype).split(PANEL)
        for number, (panel, piece) in enumerate(zip(self._filled(), pieces, strict=True)):
            torch.addmv(self._scratch, panel.T, piece, beta=min(number, 1), out=self._scratch)
        return self._scratch[: self.dim]
