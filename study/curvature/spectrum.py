"""The eigenvalues of largest magnitude of a network's Hessian on one split or a subset of it."""

import torch
from torch import Tensor, nn

from study.curvature.eigen import RELATIVE_ERROR, RELATIVE_RESIDUAL, EigenResult, not_finite
from study.curvature.lanczos import lanczos
from study.curvature.operator import HessianOperator, NotFiniteError


def top_eigenvalues(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    count: int = 1,
    tolerance: float = RELATIVE_RESIDUAL,
    max_matvecs: int = 200,
    subset_size: int | None = None,
    keep_vectors: bool = False,
    memory_fraction: float = 1.0,
) -> EigenResult:
    """Eigenvalues of largest magnitude of the Hessian on (x, y): the papers' lambda_1^theta, or their top 20.

    The Hessian is that of the mean cross-entropy with respect to the trainable parameters. With `count > 1` each
    eigenvalue must also be known to a relative error of 1e-4 (Figure 1 of the paper); of a single one only `tolerance`
    is required. A subset has its own eigenvalues: the top eigenvalue of 500 images can be twice that of 5,000.

    An eigenvector's error is about its residual over the gap, which is much larger than the eigenvalue's error: set a
    smaller `tolerance` where the direction itself matters. Its sign is arbitrary.

    Source: Yao et al. 2018 (arXiv:1802.08241), sections 2 and 3.1, equation 3.

    Args:
        model, x, y, memory_fraction: as for `HessianOperator`.
        generator: draws the subset, then the starting vector.
        count, tolerance, max_matvecs: as for `study.curvature.lanczos.lanczos`.
        subset_size: number of inputs drawn without replacement; None: all of them.
        keep_vectors: also return the eigenvectors, in the order of `model.parameters()`.

    Returns:
        EigenResult; for a network whose output or Hessian is not finite, NaN without eigenvectors.

    Raises:
        ValueError: for a model in training mode, data that does not fit, or a bad size.
    """
    if subset_size is not None:
        x, y = draw_subset(x, y, subset_size, generator)
    try:
        operator = HessianOperator(model, x, y, memory_fraction=memory_fraction)
        return lanczos(
            operator.matvec,
            operator.dim,
            generator=generator,
            count=count,
            tolerance=tolerance,
            relative_error=RELATIVE_ERROR if count > 1 else None,
            max_matvecs=max_matvecs,
            keep_vectors=keep_vectors,
            basis_dtype=operator.dtype,
            device=operator.device,
        )
    except NotFiniteError:
        return not_finite(count, 0, tolerance)


def draw_subset(x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`size` inputs and their labels, drawn without replacement: the subset of `top_eigenvalues` for this generator.

    Raises:
        ValueError: a size outside 1..len(x).
    """
    if not 1 <= size <= len(x):
        raise ValueError(f"subset_size must be within 1 and {len(x)}, got {size}")
    chosen = torch.randperm(len(x), generator=generator, device=generator.device)[:size]
    return x[chosen.to(x.device)], y[chosen.to(y.device)]
