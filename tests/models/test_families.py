"""The papers' networks: their parameters to the last one, their feature maps, their first and last layers."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from study.models import MODELS, build, set_dropout_generator
from study.models.resnet18 import BasicBlock

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
SHAPES = {
    "m1": GREY,
    "m1_20": GREY,
    "m1_8": GREY,
    "m1_lenet": GREY,
    "stdcnn": GREY,
    "c1": COLOUR,
    "c2": COLOUR,
    "c3": COLOUR,
    "resnet18": COLOUR,
    "resnet20": COLOUR,
    "resnet20_x2": COLOUR,
    "resnet20_x4": COLOUR,
    "vgg11": COLOUR,
}
RESNET_STAGES = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
Shape = tuple[int, int, int]


def network(name: str, *, image_shape: Shape | None = None, num_classes: int = 10) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    shape = image_shape or SHAPES[name]
    return build(name, image_shape=shape, num_classes=num_classes, generator=generator)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def batch(shape: Shape, count: int = 3) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def outputs(model: nn.Module, x: Tensor, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    """Per-image shapes after each layer of this kind."""
    shapes: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _m, _x, out: shapes.append(tuple(out.shape[1:])))
    model.eval()(x)
    return shapes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("m1", 1_256_080),
        ("m1_20", 506_050),
        ("m1_8", 5_746),
        ("stdcnn", 56_010),
        ("c1", 1_756_682),
        ("resnet18", 11_173_962),
        ("vgg11", 9_750_922),
    ],
)
def test_number_of_parameters(name: str, count: int) -> None:
    assert parameters(network(name)) == count


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_classes", [10, 100])
def test_one_logit_a_class(name: str, num_classes: int) -> None:
    logits = network(name, num_classes=num_classes).eval()(batch(SHAPES[name]))
    assert logits.shape == (3, num_classes)
    assert (logits < 0).any()  # neither probabilities nor rectified


@pytest.mark.parametrize(
    ("name", "kind", "maps"),
    [
        ("m1", nn.Conv2d, [(20, 14, 14), (50, 7, 7)]),
        ("m1_20", nn.Conv2d, [(20, 14, 14), (20, 7, 7)]),
        ("stdcnn", nn.Conv2d, [(10, 28, 28), (10, 28, 28), (20, 14, 14), (20, 14, 14)]),
        ("stdcnn", nn.MaxPool2d, [(10, 14, 14), (20, 7, 7)]),
        ("c1", nn.Conv2d, [(64, 32, 32), (64, 16, 16)]),
        ("c1", nn.MaxPool2d, [(64, 16, 16), (64, 8, 8)]),
        ("vgg11", nn.MaxPool2d, [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)]),
        ("resnet18", BasicBlock, [m for m in RESNET_STAGES for _ in range(2)]),
    ],
)
def test_feature_maps(name: str, kind: type[nn.Module], maps: list[tuple[int, ...]]) -> None:
    assert outputs(network(name), batch(SHAPES[name]), kind) == maps


def test_layers_in_the_order_of_the_papers() -> None:
    def kinds(name: str) -> str:
        return " ".join(type(layer).__name__ for layer in network(name))  # type: ignore[arg-type]

    assert kinds("m1") == kinds("m1_20") == "StridedConv2d ReLU Conv2d ReLU Flatten Linear ReLU Linear"
    block = "Conv2d ReLU Conv2d ReLU MaxPool2d"
    assert kinds("stdcnn") == f"{block} {block} Flatten Linear ReLU Dropout Linear"
    block = "Conv2d ReLU BatchNorm2d MaxPool2d"
    assert kinds("c1") == f"{block} {block} Flatten Linear ReLU Linear ReLU Linear"
    one, two = "Conv2d ReLU MaxPool2d", "Conv2d ReLU Conv2d ReLU MaxPool2d"
    assert kinds("vgg11") == f"{one} {one} {two} {two} {two} Flatten Linear ReLU Linear ReLU Linear"


def test_resnet18_is_torchvisions_but_for_the_stem() -> None:
    peer = torchvision.models.resnet18(num_classes=10)
    peer.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    peer.maxpool = nn.Identity()
    ours = network("resnet18")
    expected = {name: p.shape for name, p in peer.named_parameters()}
    assert {name: p.shape for name, p in ours.named_parameters()} == expected

    peer.load_state_dict(ours.state_dict())
    x = batch(COLOUR)
    for mode in (True, False):  # batch statistics, then the running ones that they left
        torch.testing.assert_close(ours.train(mode)(x), peer.train(mode)(x), rtol=1e-4, atol=1e-5)


def test_vgg11s_convolutions_are_torchvisions() -> None:
    peer = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"]).eval()
    ours = network("vgg11").eval()
    assert isinstance(ours, nn.Sequential)
    features = ours[: len(peer)]  # type: ignore[arg-type]
    peer.load_state_dict(features.state_dict())
    x = batch(COLOUR)
    torch.testing.assert_close(features(x), peer(x))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("image_shape", [GREY, COLOUR, (2, 20, 24)])
def test_every_model_adapts_to_the_image(name: str, image_shape: Shape) -> None:
    model = network(name, image_shape=image_shape, num_classes=7)
    set_dropout_generator(model, torch.Generator())
    assert model.train()(batch(image_shape)).shape == (3, 7)


@pytest.mark.parametrize("image_shape", [(1, 2, 2), (1, 3, 28), (1, 0, 0)])
def test_an_image_too_small_for_the_model(image_shape: Shape) -> None:
    with pytest.raises(ValueError, match=r"model stdcnn: images of shape .* do not fit") as caught:
        network("stdcnn", image_shape=image_shape)
    assert str(image_shape) in str(caught.value)


def test_an_unknown_model() -> None:
    with pytest.raises(ValueError, match="unknown model 'm3'; choose one of m1, m1_20, m1_8, stdcnn"):
        network("m3", image_shape=GREY)
