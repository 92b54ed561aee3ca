"""The Hessian of a network's mean cross-entropy, as an operator.

H v = (1/N) sum_chunks d/dtheta <d(sum of losses)/dtheta, v>
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.arithmetic import full_precision
from study.autograd import graph_bytes
from study.curvature.inputs import as_pixels, check_data, refuse_training_mode

HOST_CHUNK = 500
"""Images in a chunk on the CPU, so that its activations fit into the caches: measured 1.4 times as fast as 5,000."""

PROBE_IMAGES = 4
"""Images in the small graph that the memory per image is estimated from on an accelerator."""


class NotFiniteError(ValueError):
    """The network's output is not finite: it has diverged and has no Hessian."""


class HessianOperator:
    """Hessian of the mean cross-entropy over a whole split, with respect to all trainable parameters.

    The gradient is differentiated once more (Pearlmutter, Fast Exact Multiplication by the Hessian, 1994). Chunks are
    summed and the total is divided by N once, so a smaller last chunk does not bias the result. The gradient's graph is
    kept for as many chunks as fit into `memory_bytes`, and rebuilt at each product for the others. That changes the
    time (a product costs 2.1 instead of 3.3 gradients, measured), but no bit of the result. `.grad`, `requires_grad`
    and buffers are not changed.

    The weights must not change while the operator is in use. Products are computed in the parameters' dtype, without
    TF32 or bfloat16, and summed over chunks in float64.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes).
        x: inputs (N, ...): uint8 in 0..255, scaled to [0, 1] chunk by chunk, or floating point, used as given.
        y: labels (N,), integers.
        chunk_size: number of inputs in a chunk; default: 500 on the CPU, else as many as keep one chunk's graph within
            `memory_bytes`.
        memory_bytes: budget in bytes for graphs kept between products; 0 keeps none.

    Attributes:
        dim: number of trainable parameters.
        matvecs: number of products computed so far.
        kept_bytes: memory of the graphs kept between products.

    Raises:
        ValueError: if any module is in training mode, no parameter is trainable, or the sizes or dtypes of x and y do
            not fit.

    Example:
        >>> model = nn.Linear(3, 2).eval()
        >>> operator = HessianOperator(model, torch.eye(3), torch.tensor([0, 1, 0]))
        >>> operator.dim, operator.matvec(torch.ones(8)).shape
        (8, torch.Size([8]))
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        chunk_size: int | None = None,
        memory_bytes: int = 2**30,
    ) -> None:
        refuse_training_mode(model)
        check_data(x, y)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError("the model has no trainable parameter: there is no Hessian to multiply by")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        self._model, self._x, self._y = model, x, y
        self.device, self.dtype = self._parameters[0].device, self._parameters[0].dtype
        self.dim = sum(p.numel() for p in self._parameters)
        self.matvecs = 0
        self._memory_bytes = memory_bytes
        self._chunk_size = min(chunk_size or self._default_chunk_size(), len(x))
        self._versions = [p._version for p in self._parameters]
        self._kept: dict[int, list[Tensor]] = {}
        self.kept_bytes = 0

    def matvec(self, v: Tensor) -> Tensor:
        """Hessian-vector product.

        Args:
            v: shape (dim,), float32 or float64, in the order of `model.parameters()`.

        Returns:
            `H v`, shape (dim,), float64, on the parameters' device.

        Raises:
            NotFiniteError: (a ValueError) if the network's output is not finite.
            ValueError: if v has another shape, or the weights or the mode of the model have changed.
        """
        if v.shape != (self.dim,):
            raise ValueError(f"v must have shape ({self.dim},), got {tuple(v.shape)}")
        v = v.to(self.device, self.dtype)
        sizes = [p.numel() for p in self._parameters]
        pieces = [piece.view_as(p) for piece, p in zip(torch.split(v, sizes), self._parameters, strict=True)]
        self.matvecs += 1
        return self._mean_over_chunks(lambda gradient: self._differentiate(gradient, pieces), keep=True)

    def gradient(self) -> Tensor:
        """Gradient of the mean cross-entropy: shape (dim,), float64. Raises as `matvec`."""
        return self._mean_over_chunks(lambda gradient: gradient, keep=False)

    def _mean_over_chunks(self, term: Callable[[list[Tensor]], Sequence[Tensor]], *, keep: bool) -> Tensor:
        refuse_training_mode(self._model)
        if self._versions != [p._version for p in self._parameters]:
            raise ValueError("the weights have changed since this operator was made: make a new one")
        total = torch.zeros(self.dim, dtype=torch.float64, device=self.device)
        with full_precision():
            for start in range(0, len(self._x), self._chunk_size):
                gradient = self._kept.get(start)
                if gradient is None:
                    gradient = self._chunk_gradient(start, self._chunk_size)
                    if keep:
                        self._keep_if_it_fits(start, gradient)
                total += torch.cat([t.detach().reshape(-1) for t in term(gradient)])
        return total.div_(len(self._x))

    def _chunk_gradient(self, start: int, size: int) -> list[Tensor]:
        """Gradient of the chunk's summed loss, one tensor for each parameter, with its graph."""
        x = as_pixels(self._x[start : start + size], self._parameters[0])
        y = self._y[start : start + size].to(self.device, torch.long)
        with torch.enable_grad():
            logits = self._model(x)
            if not logits.isfinite().all():
                raise NotFiniteError("the model's output is not finite: it has diverged and has no Hessian")
            loss = functional.cross_entropy(logits, y, reduction="sum")
            gradient = torch.autograd.grad(loss, self._parameters, create_graph=True, materialize_grads=True)
            return list(gradient)

    def _differentiate(self, gradient: list[Tensor], pieces: list[Tensor]) -> Sequence[Tensor]:
        """Derivative of <gradient, v>; parts of the gradient that depend on no parameter contribute 0."""
        depends = [(g, v) for g, v in zip(gradient, pieces, strict=True) if g.requires_grad]
        if not depends:
            return [torch.zeros_like(p) for p in self._parameters]
        return torch.autograd.grad(
            [g for g, _ in depends],
            self._parameters,
            grad_outputs=[v for _, v in depends],
            retain_graph=True,  # freed together with the gradient, unless that is kept
            materialize_grads=True,
        )

    def _keep_if_it_fits(self, start: int, gradient: list[Tensor]) -> None:
        size = graph_bytes(gradient, besides=self._parameters)
        if self.kept_bytes + size <= self._memory_bytes:
            self._kept[start] = gradient
            self.kept_bytes += size

    def _default_chunk_size(self) -> int:
        if self._parameters[0].is_cpu:
            return HOST_CHUNK
        probe = self._chunk_gradient(0, PROBE_IMAGES)
        per_image = graph_bytes(probe, besides=self._parameters) / min(PROBE_IMAGES, len(self._x))
        return max(1, int(self._memory_bytes / max(per_image, 1)))
