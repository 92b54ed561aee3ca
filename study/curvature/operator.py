"""The Hessian of a network's mean cross-entropy, as an operator.

    H v = (1/N) sum_chunks d/dtheta <g, v> = (1/N) sum_chunks d/dr g(theta + r v) at r = 0

g is the gradient of a chunk's summed loss. The first form is a second backward pass through the graph of the gradient
(double backward); the second is the gradient in forward mode (forward over reverse).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import grad, jvp

from study.arithmetic import full_precision
from study.autograd import call_with, cross_entropy, graph_bytes, twice_differentiable
from study.curvature.inputs import check, pieces, trainable
from study.pixels import as_pixels, scaled_count

HOST_CHUNK = 500
"""Images in a chunk on the CPU, so that its activations fit into the caches: measured 1.4 times as fast as 5,000."""

HOST_MEMORY = 2**30
"""Bytes for graphs kept between products on the CPU."""

GPU_MEMORY = 2**34
"""Bytes for a product on a GPU at most. They are enough for 256 images of resnet18, an estimate of what keeps a GPU
busy."""

LARGEST_CHUNK = 8192
"""Images in a chunk on a GPU at most: enough to keep it busy, and no activation of our models has 2^31 entries."""

PROBE_IMAGES = 4
"""Images in the small graph that the memory per image is estimated from on a GPU."""

PEAK_OVER_GRAPH = 4.0
"""Memory of a forward-over-reverse product, in bytes of the gradient's graph. Measured on seven of our models on a CPU:
2.1 to 3.2. The rest is left to the libraries' workspace."""


class NotFiniteError(ValueError):
    """The network's output is not finite: it has diverged and has no Hessian."""


class HessianOperator:
    """Hessian of the mean cross-entropy over a whole split, with respect to all trainable parameters.

    The gradient is differentiated once more (Pearlmutter, Fast Exact Multiplication by the Hessian, 1994). Chunks are
    summed and the total is divided by N once, so a smaller last chunk does not bias the result. `.grad`,
    `requires_grad` and buffers are not changed.

    On a CPU by double backward: the gradient's graph is kept for as many chunks as fit into the memory budget, and
    rebuilt at each product for the others. That changes the time (a product costs 2.1 instead of 3.3 gradients,
    measured), but no bit of the result. On a GPU by forward over reverse: double backward contains convolutions with
    the batch as channels, a shape that leaves most of a GPU idle.

    Weights and mode of the model must not change while the operator is in use. Products are computed in the parameters'
    dtype, without TF32 or bfloat16, but from the logits to the loss in float64, and summed over chunks in float64.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes).
        x: inputs (N, ...): uint8 in 0..255, scaled to [0, 1] chunk by chunk, or floating point, used as given.
        y: labels (N,), integers.
        chunk_size: number of inputs in a chunk; default: 500 on a CPU, fewer of large images. On a GPU the largest
            power of two, up to 8192, whose product is estimated to fit into the budget. So the last digits of a product
            can depend on the free memory, but for small models, which reach 8192, they do not.
        memory_bytes: memory budget; default: `memory_budget` of the device and `memory_fraction`.
        memory_fraction: share of the free memory that may be used, such as a trial's share of its GPU.
        forward_over_reverse: which of the two forms is used; default: forward over reverse unless on a CPU.

    Attributes:
        dim: number of trainable parameters.
        matvecs: number of products computed so far.
        chunk_size: number of inputs in a chunk.

    Raises:
        ValueError: if any module is in training mode, no parameter is trainable, `chunk_size` or `memory_fraction` is
            out of range, or the sizes or dtypes of x and y do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        chunk_size: int | None = None,
        memory_bytes: int | None = None,
        memory_fraction: float = 1.0,
        forward_over_reverse: bool | None = None,
    ) -> None:
        check(model, x, y)
        self._named_parameters = trainable(model)
        self._parameters = list(self._named_parameters.values())
        if not self._parameters:
            raise ValueError("the model has no trainable parameter: there is no Hessian to multiply by")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        if not 0 < memory_fraction <= 1:
            raise ValueError(f"memory_fraction must be above 0 and at most 1, got {memory_fraction}")
        self._model, self._x, self._y = model, x, y
        self.device, self.dtype = self._parameters[0].device, self._parameters[0].dtype
        self.dim = sum(p.numel() for p in self._parameters)
        self.matvecs = 0
        on_cpu = self.device.type == "cpu"
        self._forward_over_reverse = not on_cpu if forward_over_reverse is None else forward_over_reverse
        self._memory_bytes = memory_budget(self.device, memory_fraction) if memory_bytes is None else memory_bytes
        self.chunk_size = min(chunk_size or (scaled_count(HOST_CHUNK, x) if on_cpu else self._largest_chunk()), len(x))
        self._kept: dict[int, list[Tensor]] = {}
        self._kept_bytes = 0

    def matvec(self, v: Tensor) -> Tensor:
        """Hessian-vector product.

        Args:
            v: shape (dim,), float32 or float64, in the order of `model.parameters()`.

        Returns:
            `H v`, shape (dim,), float64, on the parameters' device.

        Raises:
            NotFiniteError: (a ValueError) if the network's output is not finite.
            ValueError: if v has another shape.
        """
        if v.shape != (self.dim,):
            raise ValueError(f"v must have shape ({self.dim},), got {tuple(v.shape)}")
        direction = pieces(v.to(self.device, self.dtype), self._named_parameters)
        self.matvecs += 1
        product = self._forward_product if self._forward_over_reverse else self._backward_product
        return self._mean_over_chunks(lambda start: product(start, direction))

    def gradient(self) -> Tensor:
        """Gradient of the mean cross-entropy: shape (dim,), float64. Raises as `matvec`."""
        return self._mean_over_chunks(lambda start: self._gradient(start, self.chunk_size, create_graph=False))

    def _mean_over_chunks(self, term: Callable[[int], Sequence[Tensor]]) -> Tensor:
        """Sum of `term(start)`, one tensor for each parameter, over the chunks, divided by N."""
        total = torch.zeros(self.dim, dtype=torch.float64, device=self.device)
        parts = pieces(total, self._named_parameters).values()
        with full_precision(), twice_differentiable():
            for start in range(0, len(self._x), self.chunk_size):
                for part, value in zip(parts, term(start), strict=True):
                    part += value.detach()
        return total.div_(len(self._x))

    def _chunk(self, start: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels as the network takes them."""
        x = as_pixels(self._model, self._x[start : start + size])
        return x, self._y[start : start + size].to(self.device, torch.long)

    def _gradient(self, start: int, size: int, *, create_graph: bool) -> list[Tensor]:
        """Gradient of the chunk's summed loss, one tensor for each parameter."""
        x, y = self._chunk(start, size)
        with torch.enable_grad():
            loss = _summed_loss(self._model(x), y)
            gradient = torch.autograd.grad(loss, self._parameters, create_graph=create_graph, materialize_grads=True)
            return list(gradient)

    def _backward_product(self, start: int, direction: dict[str, Tensor]) -> Sequence[Tensor]:
        """Derivative of <gradient, v>; parts of the gradient that depend on no parameter contribute 0."""
        gradient = self._kept.get(start)
        if gradient is None:
            gradient = self._gradient(start, self.chunk_size, create_graph=True)
            self._keep_if_it_fits(start, gradient)
        depends = [(g, v) for g, v in zip(gradient, direction.values(), strict=True) if g.requires_grad]
        if not depends:
            return [torch.zeros_like(p) for p in self._parameters]
        return torch.autograd.grad(
            [g for g, _ in depends],
            self._parameters,
            grad_outputs=[v for _, v in depends],
            retain_graph=True,  # freed together with the gradient, unless that is kept
            materialize_grads=True,
        )

    def _forward_product(self, start: int, direction: dict[str, Tensor]) -> Sequence[Tensor]:
        """Derivative of the gradient along v, computed together with the gradient."""
        x, y = self._chunk(start, self.chunk_size)

        def loss(weights: Mapping[str, Tensor]) -> Tensor:
            return _summed_loss(call_with(self._model, weights, x), y)

        weights = {name: p.detach() for name, p in self._named_parameters.items()}
        product: Mapping[str, Tensor] = jvp(grad(loss), (weights,), (direction,))[1]
        return list(product.values())

    def _keep_if_it_fits(self, start: int, gradient: list[Tensor]) -> None:
        size = graph_bytes(gradient, besides=self._parameters)
        if self._kept_bytes + size <= self._memory_bytes:
            self._kept[start] = gradient
            self._kept_bytes += size

    def _largest_chunk(self) -> int:
        """The largest power of two, up to LARGEST_CHUNK, of images whose product fits into the budget; at least 1."""
        some = min(PROBE_IMAGES, len(self._x))
        with full_precision(), twice_differentiable():
            graph = graph_bytes(self._gradient(0, some, create_graph=True), besides=self._parameters)
        images = self._memory_bytes * some / (PEAK_OVER_GRAPH * max(graph, 1))
        return min(LARGEST_CHUNK, 1 << max(0, int(images).bit_length() - 1))


def memory_budget(device: torch.device, fraction: float = 1.0) -> int:
    """Bytes that an operator may use on a device.

    On a GPU: `fraction` of the memory that is free now, at most GPU_MEMORY. What this process has reserved there
    without using it counts as free. On a CPU: `fraction` of HOST_MEMORY.
    """
    if device.type != "cuda":
        return int(fraction * HOST_MEMORY)
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(int(fraction * free), GPU_MEMORY)


def _summed_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Summed cross-entropy; NotFiniteError for logits that are not finite."""
    if not logits.isfinite().all():
        raise NotFiniteError("the model's output is not finite: it has diverged and has no Hessian")
    return cross_entropy(logits, y).sum()
