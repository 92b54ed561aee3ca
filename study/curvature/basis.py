"""An orthonormal set of long vectors: what an eigenvalue algorithm remembers of its search."""

import torch
from torch import Tensor


class OrthonormalBasis:
    """Orthonormal vectors of length ``dim``, kept one by one so that growing the basis copies nothing.

    Every inner product is taken in float64, whatever the storage: float32 inner products of vectors with a
    million entries are off by about 2e-5, which is more than the error wanted of an eigenvalue.

    Args:
        dim: length of each vector.
        dtype: storage of the vectors. float32 halves the memory (``4 dim`` bytes a vector) and costs no
            accuracy when the matrix-vector product itself is computed in float32: it then multiplies exactly
            what is stored.
        device: where the vectors live.
    """

    def __init__(self, dim: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self.dim, self.dtype, self.device = dim, dtype, device
        self._vectors: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, index: int) -> Tensor:
        """Vector ``index``, shape (dim,), float64."""
        return self._vectors[index].to(torch.float64)

    def append(self, unit_vector: Tensor) -> None:
        """Add a vector of norm 1 that is already orthogonal to the basis."""
        self._vectors.append(unit_vector.to(self.dtype))

    def orthogonalise(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Split ``vector`` into its coefficients on the basis and the remainder orthogonal to it.

        Classical Gram-Schmidt done twice, which is enough for orthogonality to rounding error (Parlett, The
        Symmetric Eigenvalue Problem, 1998, section 6.9: "twice is enough").

        Args:
            vector: shape (dim,), float64.

        Returns:
            The remainder, shape (dim,), and the coefficients, shape (len(self),), on the CPU; both float64.
        """
        remainder = vector.clone()
        coefficients = torch.zeros(len(self), dtype=torch.float64)
        for _ in range(2):
            correction = [torch.dot(v.to(torch.float64), remainder) for v in self._vectors]
            if correction:
                step = torch.stack(correction).cpu()
                for v, c in zip(self._vectors, step.tolist(), strict=True):
                    remainder.add_(v, alpha=-c)
                coefficients += step
        return remainder, coefficients

    def combine(self, coefficients: Tensor) -> Tensor:
        """Linear combinations of the basis: coefficients (k, len(self)) -> vectors (k, dim), float64."""
        combined = torch.zeros(len(coefficients), self.dim, dtype=torch.float64, device=self.device)
        for row, weights in zip(combined, coefficients.tolist(), strict=True):
            for v, c in zip(self._vectors, weights, strict=True):
                row.add_(v, alpha=c)
        return combined
