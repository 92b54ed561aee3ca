"""The top of a network's Hessian spectrum on one split, as a row records it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        seconds: wall-clock time.
    """

    subset_size: int
    eigenvalues: list[float]
    residuals: list[float]
    method: str
    tolerance: float
    matvecs: int
    converged: bool
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
        max_matvecs: budget of Hessian-vector products.
        subset_size: inputs drawn without replacement; ``None``: all of them.
        chunk_size: inputs a chunk, see :class:`~study.curvature.operator.HessianOperator`.
        memory_bytes: budget for kept graphs, see there.

    Raises:
        ValueError: for a model in training mode, data that does not fit, an unknown method or a bad size.
    """
    if method not in CURVATURES:
        raise ValueError(f"method must be one of {', '.join(CURVATURES)}, got {method!r}")
    started = time.perf_counter()
    if subset_size is not None:
        if not 1 <= subset_size <= len(x):
            raise ValueError(f"subset_size must be within 1 and {len(x)}, got {subset_size}")
        chosen = torch.randperm(len(x), generator=generator, device=generator.device)[:subset_size]
        x, y = x[chosen.to(x.device)], y[chosen.to(y.device)]
    try:
        operator = HessianOperator(model, x, y, chunk_size=chunk_size, memory_bytes=memory_bytes)
        result = CURVATURES[method](
            operator.matvec,
            operator.dim,
            generator=generator,
            count=count,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            basis_dtype=operator.dtype,
            device=operator.device,
        )
    except NotFiniteError:
        result = not_finite(count, 0, tolerance)
    return SpectrumResult(
        subset_size=len(x),
        eigenvalues=result.eigenvalues,
        residuals=result.residuals,
        method=method,
        tolerance=tolerance,
        matvecs=result.matvecs,
        converged=result.converged,
        seconds=time.perf_counter() - started,
    )
