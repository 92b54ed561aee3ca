"""The top of a network's Hessian spectrum on one split, as a row records it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.curvature.bounds import RELATIVE_ERROR
from study.curvature.eigen import RELATIVE_RESIDUAL, EigenResult, not_finite
from study.curvature.lanczos import lanczos
from study.curvature.operator import HessianOperator, NotFiniteError
from study.curvature.power import power_iteration

CURVATURES: Mapping[str, Callable[..., EigenResult]] = {"lanczos": lanczos, "power": power_iteration}
"""Eigenvalue methods: ``method(matvec, dim, *, generator, count, tolerance, ...) -> EigenResult``."""


@dataclass(frozen=True)
class SpectrumResult:
    """Top eigenvalues of the Hessian of the mean cross-entropy with respect to the parameters.

    Attributes:
        subset_size: inputs that the mean was taken over.
        eigenvalues: signed, by decreasing magnitude; NaN for a network whose output or Hessian is not finite.
        residuals: ``||Hv - theta v|| / max |theta|``, one for each eigenvalue.
        method: key of ``CURVATURES``.
        tolerance: of the method's stopping rule.
        matvecs: Hessian-vector products spent.
        converged: whether the stopping rule was met within the budget.
        converged_each: for each eigenvalue, whether its own relative error is known to be at most 1e-4 (or the
            ``relative_error`` asked for), see :class:`~study.curvature.eigen.EigenResult`.
        seconds: wall-clock time.
    """

    subset_size: int
    eigenvalues: list[float]
    residuals: list[float]
    method: str
    tolerance: float
    matvecs: int
    converged: bool
    converged_each: list[bool]
    seconds: float


def top_eigenvalues(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    count: int = 1,
    method: str = "lanczos",
    tolerance: float = RELATIVE_RESIDUAL,
    relative_error: float | None = None,
    max_matvecs: int = 200,
    subset_size: int | None = None,
    chunk_size: int | None = None,
    memory_bytes: int = 2**30,
) -> SpectrumResult:
    """Eigenvalues of largest magnitude of the Hessian on (x, y): what the papers call lambda_1^theta and the top 20.

    Source: Yao et al. 2018 (arXiv:1802.08241), sections 2 and 3.1, equation 3. On a subset they are
    those of the subset: the top eigenvalue of 500 images can be twice that of 5,000.

    Args:
        model: in eval mode, maps inputs to logits. Nothing of it is changed.
        x: inputs (N, ...), uint8 (scaled to [0, 1]) or floating point, on any device.
        y: labels (N,), integers.
        generator: draws the subset, then the starting vector.
        count: eigenvalues wanted.
        method: key of ``CURVATURES``.
        tolerance: of the method's stopping rule (lanczos: relative residual).
        relative_error: asked of each eigenvalue besides, as a fraction of its own magnitude. Default: 1e-4 with
            ``count > 1`` (Figure 1 of the paper); of a single eigenvalue nothing but ``tolerance`` is asked.
        max_matvecs: budget of Hessian-vector products.
        subset_size: inputs drawn without replacement; ``None``: all of them.
        chunk_size: inputs a chunk, see :class:`~study.curvature.operator.HessianOperator`.
        memory_bytes: budget for kept graphs, see there.

    Raises:
        ValueError: for a model in training mode, data that does not fit, an unknown method or a bad size.
    """
    result, _ = top_eigenvectors(
        model,
        x,
        y,
        generator=generator,
        count=count,
        method=method,
        tolerance=tolerance,
        relative_error=relative_error,
        max_matvecs=max_matvecs,
        subset_size=subset_size,
        chunk_size=chunk_size,
        memory_bytes=memory_bytes,
        keep_vectors=False,
    )
    return result


def top_eigenvectors(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    count: int = 2,
    method: str = "lanczos",
    tolerance: float = RELATIVE_RESIDUAL,
    relative_error: float | None = None,
    max_matvecs: int = 200,
    subset_size: int | None = None,
    chunk_size: int | None = None,
    memory_bytes: int = 2**30,
    keep_vectors: bool = True,
) -> tuple[SpectrumResult, Tensor]:
    """The eigenvalues and their eigenvectors, the directions of :mod:`study.curvature.landscape`.

    An eigenvector's error is about its residual over the gap (1e-2 at the default tolerance), so much larger than its
    eigenvalue's: ask a smaller ``tolerance`` where the direction itself matters. Its sign is arbitrary. Args and errors
    otherwise as :func:`top_eigenvalues`.

    Returns:
        The result and orthonormal rows, one for each eigenvalue: shape (count, dim), float64, in the order of
        ``model.parameters()``; without rows for a network that is not finite, or without ``keep_vectors``.
    """
    if method not in CURVATURES:
        raise ValueError(f"method must be one of {', '.join(CURVATURES)}, got {method!r}")
    started = time.perf_counter()
    if subset_size is not None:
        x, y = draw_subset(x, y, subset_size, generator)
    vectors = torch.zeros(0, sum(p.numel() for p in model.parameters() if p.requires_grad), dtype=torch.float64)
    if relative_error is None and count > 1:
        relative_error = RELATIVE_ERROR
    try:
        operator = HessianOperator(model, x, y, chunk_size=chunk_size, memory_bytes=memory_bytes)
        result = CURVATURES[method](
            operator.matvec,
            operator.dim,
            generator=generator,
            count=count,
            tolerance=tolerance,
            relative_error=relative_error,
            max_matvecs=max_matvecs,
            keep_vectors=keep_vectors,
            basis_dtype=operator.dtype,
            device=operator.device,
        )
    except NotFiniteError:
        result = not_finite(count, 0, tolerance)
    spectrum = SpectrumResult(
        subset_size=len(x),
        eigenvalues=result.eigenvalues,
        residuals=result.residuals,
        method=method,
        tolerance=tolerance,
        matvecs=result.matvecs,
        converged=result.converged,
        converged_each=result.converged_each,
        seconds=time.perf_counter() - started,
    )
    return spectrum, vectors if result.eigenvectors is None else result.eigenvectors


def draw_subset(x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``size`` inputs and their labels, drawn without replacement; a generator's first draw is a spectrum's subset.

    Raises:
        ValueError: a size outside 1..len(x).
    """
    if not 1 <= size <= len(x):
        raise ValueError(f"subset_size must be within 1 and {len(x)}, got {size}")
    chosen = torch.randperm(len(x), generator=generator, device=generator.device)[:size]
    return x[chosen.to(x.device)], y[chosen.to(y.device)]
