"""The regrouped convolution equals the plain one: values, both gradients, and the second derivative."""

import torch
from torch import nn

from study.models.initialization import drawing_from
from study.models.layers import StridedConv2d


def test_equals_the_plain_convolution_with_all_derivatives() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 28, 28, generator=generator, dtype=torch.float64, requires_grad=True)
    with drawing_from(generator):
        regrouped = StridedConv2d(1, 4).double()
    plain = nn.Conv2d(1, 4, 5, stride=2, padding=2).double()
    plain.load_state_dict(regrouped.state_dict())

    derivatives = []
    for layer in (regrouped, plain):
        out = layer(x)
        first = torch.autograd.grad(out.pow(3).sum(), (x, layer.weight, layer.bias), create_graph=True)
        second = torch.autograd.grad(first[1].pow(2).sum(), (x, layer.weight))
        derivatives.append((out, *first, *second))
    for ours, theirs in zip(*derivatives, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
