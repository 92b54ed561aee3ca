"""Curvature of each sample's cross-entropy with respect to its input, and a check of the theorem about it.

    H = s D' F F' D        gradient = s D' q        (D, F, q and s as in `study.autograd`)

The nonzero eigenvalues of H are those of the (classes - 1) x (classes - 1) matrix s F' D D' F.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.autograd import (
    cross_entropy,
    curvature_root,
    error_probabilities,
    gradient_at_input,
    images_with_jacobian,
    largest_eigenvalue,
    margin_jacobian,
    twice_differentiable,
)
from study.curvature.inputs import check
from study.pixels import as_pixels, batches

BATCH_SIZE = 512
"""Most inputs in a batch; that of their Jacobian may be smaller."""

DENSE_DIMENSION = 1024
"""Up to this number of pixels the full Hessian is computed, in seconds. MNIST has 784 pixels, CIFAR 3,072."""

SPARE_DIRECTIONS = 3
"""Random directions beyond the number of classes, in the sketch of a larger Hessian."""

COLUMNS_AT_ONCE = 64
"""Hessian-vector products computed in one double backward pass."""

RANK_TOLERANCE = 1e-9
"""Eigenvalues above this share of the largest modulus count for the rank.

Halfway, in orders of magnitude, between float64 rounding (measured: below 1e-14) and the eigenvalues of a network that
violates the theorem (a tanh network of 4 classes: .05 for the fourth, above 1e-4 for the sixth eigenvalue).
"""


@dataclass(frozen=True)
class InputCurvature:
    """Input curvature of each sample: two tensors (n,), float64, on the model's device; NaN where it is not finite.

    Attributes:
        lambda1: top eigenvalue of the Hessian of the sample's cross-entropy with respect to its pixels in [0, 1].
        gradient_norm: Euclidean norm of the gradient.
    """

    lambda1: Tensor
    gradient_norm: Tensor

    @property
    def mean_lambda1(self) -> float:
        """Mean over the samples: lambda_1^x of Yao et al. 2018, Tables 1 and 7. NaN if any sample is."""
        return float(self.lambda1.mean())

    @property
    def mean_gradient_norm(self) -> float:
        """Mean over the samples: ||grad_x J|| of the same tables. NaN if any sample is."""
        return float(self.gradient_norm.mean())


def input_curvature(model: nn.Module, x: Tensor, y: Tensor) -> InputCurvature:
    """Top eigenvalue and gradient norm of each sample's cross-entropy with respect to its input.

    Exact up to rounding for a piecewise-linear network, since its input Hessian is the Gauss-Newton matrix, whose
    nonzero eigenvalues are those of a (classes - 1) x (classes - 1) matrix, computed in float64 (see `study.autograd`).
    It takes classes - 1 backward passes for a sample and no iteration. For other networks lambda1 is that of the
    Gauss-Newton matrix. Neither number suffers from the cancellation in p_y - 1: both are positive up to a margin of
    745.

    Source: Yao et al. 2018 (arXiv:1802.08241), Tables 1 and 7, Theorem 2.1 and A.1.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes), at least two classes.
        x: inputs (n, ...): uint8 in 0..255, scaled to [0, 1], or floating point, used as given; moved to the model's
            device and dtype batch by batch.
        y: true classes (n,), integers.

    Raises:
        ValueError: a model in training mode, one that cuts the graph to its input, or data that does not fit.
    """
    check(model, x, y)
    one = as_pixels(model, x[:1])
    with torch.no_grad():
        n_classes = model(one).shape[1]
    batch_size = min(BATCH_SIZE, images_with_jacobian(one, n_classes))
    lambda1, gradient_norm = [], []
    for pixels, labels in batches(model, x, y, batch_size):
        pixels.requires_grad_(True)
        with full_precision():
            with torch.enable_grad():
                logits = model(pixels)
            jacobian = margin_jacobian(logits, pixels, labels).double()
            q, s = error_probabilities(logits, labels)
            lambda1.append(s * largest_eigenvalue(jacobian @ jacobian.mT, curvature_root(q, s)))
            gradient_norm.append(s * (q.unsqueeze(1) @ jacobian).flatten(1).norm(dim=1))
    norms = torch.cat(gradient_norm)
    return InputCurvature(torch.cat(lambda1), norms.where(norms.isfinite(), torch.nan))


@dataclass(frozen=True)
class InputHessianCheck:
    """How well input Hessians agree with Theorem 2.1 and Proposition 2.2 of Yao et al. 2018 (arXiv:1802.08241).

    Attributes:
        psd_violation: max over samples of max(0, -smallest eigenvalue) / largest modulus of an eigenvalue. It is
            rounding error where the theorem holds.
        rank_max: largest numerical rank, to `RANK_TOLERANCE`. The proposition says at most the number of classes; it is
            classes - 1, because the softmax does not change when all logits are shifted alike.
    """

    psd_violation: float
    rank_max: int


def check_input_hessian(
    model: nn.Module, x: Tensor, y: Tensor, *, dense_dimension: int = DENSE_DIMENSION
) -> InputHessianCheck:
    """Eigenvalues of the input Hessian itself, by double backward passes on a float64 copy of the model.

    Nothing is assumed about the network: second derivatives of its logits are included.

    For inputs of more than `dense_dimension` pixels the Hessian is sketched, since the full one takes one product for
    each pixel: Q is an orthonormal basis of H times k = classes + 3 fixed random directions, and the eigenvalues are
    those of Q'HQ (Halko et al. 2011, arXiv:0909.4061, section 5.3). A Hessian of rank below k maps random directions
    onto its whole range with probability one, so then Q'HQ has all nonzero eigenvalues, and positive semi-definiteness
    and rank are decided as by the full matrix. A Hessian of rank k or more gives rank k, which violates the
    proposition, and Ritz values, which bound the violation of the theorem from below.

    Source: Yao et al. 2018 (arXiv:1802.08241), Theorem 2.1, Proposition 2.2. Max-pooling and batch normalization in
    eval mode, which the theorem does not mention, are piecewise linear too.

    Args:
        model: in eval mode, maps inputs (n, ...) to logits (n, classes). It is not changed.
        x: a handful of inputs (n, ...), uint8 (scaled to [0, 1]) or floating point.
        y: true classes (n,), integers.
        dense_dimension: largest number of pixels with a full Hessian.

    Raises:
        ValueError: a model in training mode, one that cuts the graph to its input, data that does not fit, or logits
            that are not finite.
    """
    check(model, x, y)
    exact = copy.deepcopy(model).double()
    like = next(exact.parameters())
    violation, rank = 0.0, 0
    for image, label in zip(as_pixels(exact, x), y.to(like.device, torch.long), strict=True):
        eigenvalues = _eigenvalues(exact, image, label, dense_dimension)
        largest = float(eigenvalues.abs().max())
        if largest > 0:
            violation = max(violation, -float(eigenvalues.min()) / largest)
            rank = max(rank, int((eigenvalues.abs() > RANK_TOLERANCE * largest).sum()))
    return InputHessianCheck(psd_violation=violation, rank_max=rank)


def _eigenvalues(model: nn.Module, image: Tensor, label: Tensor, dense_dimension: int) -> Tensor:
    dimension = image.numel()
    if dimension <= dense_dimension:
        hessian = _products(model, image, label, torch.eye(dimension, dtype=image.dtype, device=image.device))
    else:
        with torch.no_grad():
            n_directions = min(dimension, model(image[None]).shape[1] + SPARE_DIRECTIONS)
        # Any random directions will do; a new generator with its default seed makes them the same every time.
        random = torch.randn(dimension, n_directions, generator=torch.Generator(), dtype=image.dtype)
        basis = torch.linalg.qr(_products(model, image, label, random.to(image.device))).Q
        hessian = basis.T @ _products(model, image, label, basis)
    eigenvalues: Tensor = torch.linalg.eigvalsh((hessian + hessian.T) / 2)
    return eigenvalues


def _products(model: nn.Module, image: Tensor, label: Tensor, directions: Tensor) -> Tensor:
    """H times each column of `directions` (pixels, k), on copies of the image, each with its own direction."""
    return torch.cat([_product(model, image, label, piece) for piece in directions.split(COLUMNS_AT_ONCE, dim=1)], 1)


def _product(model: nn.Module, image: Tensor, label: Tensor, directions: Tensor) -> Tensor:
    k = directions.shape[1]
    copies = image.expand(k, *image.shape).clone().requires_grad_(True)
    with torch.enable_grad(), twice_differentiable():
        logits = model(copies)
        if not logits.isfinite().all():
            raise ValueError("the model's output is not finite: it has diverged and has no Hessian")
        gradient = gradient_at_input(cross_entropy(logits, label.expand(k)).sum(), copies, create_graph=True)
        (product,) = torch.autograd.grad(gradient, copies, directions.T.view_as(copies), materialize_grads=True)
    return product.flatten(1).T
