"""What attacks and curvature share: the margins' Jacobian, second derivatives of attention, calls with other weights.

With the margins m_j = logit j - logit y over the classes j other than the true one, cross-entropy is
log(1 + sum_j exp m_j). Let D = d m / d x, s = 1 - p_y and q_j = p_j / s. Then, without a p_y - 1 that could cancel,

    gradient = s D' q        Gauss-Newton matrix = s D' (diag q - s q q') D = s D' F F' D.

The logits of a piecewise-linear network have no second derivative, so the Gauss-Newton matrix equals its input
Hessian, whose rank is at most classes - 1 (Yao et al. 2018, arXiv:1802.08241, Theorem 2.1, Proposition 2.2, A.1).

`study.attacks` and `study.curvature`, which do not import each other, share this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import softplus

INERTIA = 0.75
"""Auto-PGD (Croce and Hein 2020, arXiv:2003.01690), equation (2), alpha: share of the new step; the rest is the
movement before it."""

RISING = 0.75
"""Section 3, rho: least share of steps since the last check that raised the loss, or the step size is halved."""

FIRST_CHECK, SHORTER, SHORTEST = 22, 3, 6
"""Section 3: when the step size is first checked, how much sooner each next time, and how soon at least; in hundredths
of all steps."""

JACOBIAN_BYTES, GPU_JACOBIAN_BYTES = 2**28, 2**32
"""For the margins' Jacobian and its float64 copy: 700 images of CIFAR-10 or 70 of CIFAR-100 on a CPU. 16 times as many
on a GPU, where the backward passes, one for each class, cost launches."""


def margin_jacobian(logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """D, shape (n, classes - 1, pixels), in the dtype of x, by classes - 1 backward passes over one graph.

    Row k of sample i belongs to class (y_i + 1 + k) mod classes. The graph is freed by the last pass; weights get no
    gradient.

    Args:
        logits: (n, classes), with a graph to x; each sample's logits depend only on its own input.
        x: inputs (n, ...), requiring a gradient.
        y: true classes (n,), int64.

    Raises:
        ValueError: the logits have no graph to x.
    """
    n_margins = logits.shape[1] - 1
    jacobian = x.new_empty(len(x), n_margins, x[0].numel())
    true_class, others = y.unsqueeze(1), _other_classes(y, logits.shape[1])
    for k in range(n_margins):
        margin = torch.zeros_like(logits).scatter_(1, others[:, k : k + 1], 1.0).scatter_(1, true_class, -1.0)
        rows = gradient_at_input(logits, x, margin, retain_graph=k + 1 < n_margins)
        jacobian[:, k] = rows.flatten(1)
    return jacobian


def images_with_jacobian(x: Tensor, n_classes: int) -> int:
    """How many of the images x (n, ...), on the model's device, to take at a time for their `margin_jacobian`.

    That matrix and its float64 copy then fit into JACOBIAN_BYTES on a CPU, GPU_JACOBIAN_BYTES on a GPU; at least 1.
    """
    budget = JACOBIAN_BYTES if x.device.type == "cpu" else GPU_JACOBIAN_BYTES
    return max(1, budget // (n_classes * x[0].numel() * (x.element_size() + 8)))


def gradient_at_input(
    output: Tensor, x: Tensor, factors: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
) -> Tensor:
    """The gradient of the sum of `output`, each entry times its factor, at the inputs x; of the shape of x.

    Raises:
        ValueError: the model cuts the graph between its input and its output.
    """
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(
            output, x, factors, retain_graph=retain_graph or create_graph, create_graph=create_graph, allow_unused=True
        )
    if gradient is None:
        raise ValueError("no gradient reaches the input: remove detach() or no_grad() from the model's forward")
    return gradient


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample in nats, (n,), float64, whose first and second derivatives do not cancel either.

    Computed as log(1 + exp(logsumexp(m))). In torch's own form the derivatives contain p_y - 1: in float32, Hessians of
    confident networks are then wrong, with negative eigenvalues that do not exist.
    """
    # Above its threshold softplus is computed as the identity; exp(700) is still finite.
    return softplus(_margins(logits.double(), y).logsumexp(dim=1), threshold=700.0)


def error_probabilities(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """q (n, classes - 1), ordered as in `margin_jacobian`, and s = 1 - p_y (n,), both float64.

    s is the sigmoid of logsumexp(m), which is exact up to rounding until it underflows at a margin of 745.
    """
    margins = _margins(logits.detach().double(), y)
    return margins.softmax(dim=1), margins.logsumexp(dim=1).sigmoid()


def curvature_root(q: Tensor, s: Tensor) -> Tensor:
    """F, shape (n, classes - 1, classes - 1), with F F' = diag q - s q q'.

    With the unit vector w = sqrt q it is diag w (1 - s w w') diag w, whose middle factor is the square of
    1 - (1 - sqrt p_y) w w'.
    """
    w = q.sqrt()
    one_minus_root = s / (1 + (1 - s).sqrt())
    return torch.diag_embed(w) - one_minus_root[:, None, None] * q.unsqueeze(2) * w.unsqueeze(1)


def largest_eigenvalue(jacobian_gram: Tensor, root: Tensor) -> Tensor:
    """Largest eigenvalue (n,) of D' F F' D from the Gram matrices D D' and F; NaN where one is not finite."""
    small = root.mT @ jacobian_gram @ root
    finite = small.isfinite().all(dim=(1, 2))
    eigenvalues: Tensor = torch.linalg.eigvalsh(small.where(finite[:, None, None], 0.0))
    return eigenvalues[:, -1].clamp(min=0.0).where(finite, torch.nan)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, _other_classes(y, logits.shape[1])) - logits.gather(1, y.unsqueeze(1))


def _other_classes(y: Tensor, n_classes: int) -> Tensor:
    return (y.unsqueeze(1) + torch.arange(1, n_classes, device=y.device)) % n_classes


def twice_differentiable() -> AbstractContextManager[None]:
    """Within it, attention is computed by plain products: torch's fused kernels have no second derivative."""
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context


def call_with(model: nn.Module, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The model's output with other parameters and buffers, by name; the model is not changed.

    Unlike `torch.func.functional_call`, it leaves a model that has one layer under two names as it was: each tensor is
    exchanged once in every layer that holds it. One of the names of a shared tensor is enough.
    """
    given: dict[int, Tensor] = {}
    for named in (model.named_parameters, model.named_buffers):
        given |= {id(own): tensors[name] for name, own in named(remove_duplicate=False) if name in tensors}
    places = {
        f"{prefix}.{name}" if prefix else name: given[id(own)]
        for prefix, module in model.named_modules()
        for name, own in (*module._parameters.items(), *module._buffers.items())
        if id(own) in given
    }
    output: Tensor = functional_call(model, places, (x,), tie_weights=False)
    return output


def graph_bytes(outputs: Iterable[Tensor], *, besides: Iterable[Tensor] = ()) -> int:
    """Bytes of the tensors that the graph of `outputs` has saved for backward, each storage counted once.

    Args:
        outputs: tensors; those without a `grad_fn` have no graph.
        besides: tensors that exist in any case (parameters, data) and are not counted.
    """
    known = {t.untyped_storage().data_ptr() for t in besides}
    total = 0
    for saved in _saved_tensors(outputs):
        storage = saved.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            total += storage.nbytes()
    return total


def _saved_tensors(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    to_visit: list[Node] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(to_visit)
    while to_visit:
        node = to_visit.pop()
        for name in dir(node):
            if name.startswith("_saved_") or name == "saved_tensors":
                saved = getattr(node, name)
                several = saved if isinstance(saved, tuple | list) else [saved]
                yield from (t for t in several if isinstance(t, Tensor))
        fresh = [n for n, _ in node.next_functions if n is not None and n not in seen]
        seen.update(fresh)
        to_visit.extend(fresh)
