"""A trained network whose whole Hessian spectrum is known."""

import numpy as np
import pytest
from torch import Tensor, nn

from tests.curvature.networks import by_magnitude, conv_relu, dense_hessian, images, trained

Case = tuple[nn.Module, Tensor, Tensor, np.ndarray]


@pytest.fixture(scope="session")
def case() -> Case:
    """A trained conv-ReLU network, its data, and its whole spectrum by decreasing magnitude."""
    x, y = images(60)
    model = trained(conv_relu(seed=3), x, y)
    return model, x, y, by_magnitude(np.linalg.eigvalsh(dense_hessian(model, x, y).numpy()))
