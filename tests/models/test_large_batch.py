"""The further networks of Yao et al. 2018: parameters to the last one, feature maps, the order of layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from study.models import MODELS, build
from study.models.resnet18 import BasicBlock

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def network(name: str, num_classes: int = 10) -> nn.Module:
    shape = GREY if name.startswith("m1") else COLOUR
    return build(name, image_shape=shape, num_classes=num_classes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "num_classes", "count"),
    [
        ("m1_lenet", 10, 431_080),
        ("c2", 10, 1_148_746),
        ("c3", 10, 1_147_978),
        ("resnet20", 100, 278_324),
        ("resnet20_x4", 100, 4_350_884),
    ],
)
def test_number_of_parameters(name: str, num_classes: int, count: int) -> None:
    assert sum(p.numel() for p in network(name, num_classes).parameters()) == count


@pytest.mark.parametrize(
    ("name", "kind", "maps"),
    [
        ("m1_lenet", nn.Conv2d, [(20, 24, 24), (50, 8, 8)]),
        ("m1_lenet", nn.MaxPool2d, [(20, 12, 12), (50, 4, 4)]),
        ("c2", nn.Conv2d, [(64, 30, 30), (64, 28, 28), (128, 12, 12), (128, 10, 10)]),
        ("c3", nn.MaxPool2d, [(64, 14, 14), (128, 5, 5)]),
        ("resnet20", BasicBlock, [m for m in [(16, 32, 32), (32, 16, 16), (64, 8, 8)] for _ in range(3)]),
        ("resnet20_x2", BasicBlock, [m for m in [(32, 32, 32), (64, 16, 16), (128, 8, 8)] for _ in range(3)]),
    ],
)
def test_feature_maps(name: str, kind: type[nn.Module], maps: list[tuple[int, ...]]) -> None:
    shapes: list[tuple[int, ...]] = []
    model = network(name).eval()
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _m, _x, out: shapes.append(tuple(out.shape[1:])))
    model(torch.rand(2, *(GREY if name == "m1_lenet" else COLOUR), generator=torch.Generator().manual_seed(1)))
    assert shapes == maps


def test_layers_in_the_order_of_the_published_code() -> None:
    def kinds(name: str) -> str:
        return " ".join(type(layer).__name__ for layer in network(name))  # type: ignore[arg-type]

    block, head = "Conv2d ReLU BatchNorm2d Conv2d ReLU BatchNorm2d MaxPool2d", "Linear ReLU Linear ReLU Linear"
    assert kinds("c2") == f"{block} {block} Flatten {head}"
    assert kinds("c3") == kinds("c2").replace(" BatchNorm2d", "")
    block = "Conv2d ReLU MaxPool2d"
    assert kinds("m1_lenet") == f"{block} {block} Flatten Linear ReLU Linear"


def test_resnet20_has_twenty_weighted_layers_on_its_main_path() -> None:
    model = network("resnet20")
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in name for name in layers) == 20
    assert [name for name in layers if "downsample" in name] == ["layer2.0.downsample.0", "layer3.0.downsample.0"]


def test_a_width_is_a_line_of_models() -> None:
    wide, narrow = network("resnet20_x4"), network("resnet20")
    for (name, ours), (_, base) in zip(wide.named_parameters(), narrow.named_parameters(), strict=True):
        if name.endswith("conv2.weight"):
            assert ours.shape == (4 * base.shape[0], 4 * base.shape[1], 3, 3)
    assert {"resnet20", "resnet20_x2", "resnet20_x4"} <= set(MODELS)
