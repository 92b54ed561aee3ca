"""Every network computes on a GPU what it computes on a CPU: logits, and the gradient of a training step."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.arithmetic import full_precision
from study.models import MODELS, build, set_dropout_generator
from study.training.precision import prepare
from tests.models.kinds import shape_of


def logits_and_gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """In eval mode, so that no mask is drawn."""
    logits = model.eval()(x)
    gradient = torch.autograd.grad(cross_entropy(logits, y), list(model.parameters()))
    return logits.detach().cpu(), torch.cat([part.flatten() for part in gradient]).cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_a_network_on_a_gpu_has_the_logits_and_gradient_of_a_cpu(name: str) -> None:
    shape = shape_of(name)
    on_cpu = build(name, image_shape=shape, num_classes=10, generator=torch.Generator().manual_seed(0))
    x, y = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1)), torch.arange(8)
    on_gpu = prepare(copy.deepcopy(on_cpu).cuda(), "float32")
    with full_precision():
        expected, found = logits_and_gradient(on_cpu, x, y), logits_and_gradient(on_gpu, x.cuda(), y.cuda())
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-4
    set_dropout_generator(on_gpu, torch.Generator("cuda").manual_seed(0))
    assert on_gpu.train()(x.cuda()).isfinite().all()
