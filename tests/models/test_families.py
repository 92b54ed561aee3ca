"""The papers' networks: number of parameters, feature maps, order of layers, and torchvision's as reference."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from study.models import build, set_dropout_generator
from study.models.layers import Normalize
from study.models.resnet import BasicBlock
from tests.models.kinds import COLOUR, GREY, KINDS, Shape, shape_of


def stages(maps: list[Shape], blocks: int) -> list[Shape]:
    """The feature maps after each of `blocks` blocks a stage."""
    return [shape for shape in maps for _ in range(blocks)]


def network(name: str, *, image_shape: Shape | None = None, num_classes: int = 10) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    shape = image_shape or shape_of(name)
    return build(name, image_shape=shape, num_classes=num_classes, generator=generator)


def batch(shape: Shape, count: int = 3) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def outputs(model: nn.Module, x: Tensor, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    """Shapes for one image after each layer of this kind."""
    shapes: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _m, _x, out: shapes.append(tuple(out.shape[1:])))
    model.eval()(x)
    return shapes


@pytest.mark.parametrize(
    ("name", "num_classes", "count"),
    [
        ("m1", 10, 1_256_080),
        ("m1_20", 10, 506_050),
        ("m1_8", 10, 5_746),
        ("m1_lenet", 10, 431_080),
        ("mlp_256", 10, 19_210),
        ("stdcnn", 10, 56_010),
        ("c1", 10, 1_756_682),
        ("c2", 10, 1_148_746),
        ("c3", 10, 1_147_978),
        ("resnet18", 10, 11_173_962),
        ("vgg11", 10, 9_750_922),
        ("resnet20", 100, 278_324),
        ("resnet20_x4", 100, 4_350_884),
    ],
)
def test_number_of_parameters(name: str, num_classes: int, count: int) -> None:
    assert sum(p.numel() for p in network(name, num_classes=num_classes).parameters()) == count


@pytest.mark.parametrize(
    ("name", "kind", "maps"),
    [
        ("m1", nn.Conv2d, [(20, 14, 14), (50, 7, 7)]),
        ("m1_20", nn.Conv2d, [(20, 14, 14), (20, 7, 7)]),
        ("m1_lenet", nn.Conv2d, [(20, 24, 24), (50, 8, 8)]),
        ("m1_lenet", nn.MaxPool2d, [(20, 12, 12), (50, 4, 4)]),
        ("stdcnn", nn.Conv2d, [(10, 28, 28), (10, 28, 28), (20, 14, 14), (20, 14, 14)]),
        ("stdcnn", nn.MaxPool2d, [(10, 14, 14), (20, 7, 7)]),
        ("c1", nn.Conv2d, [(64, 32, 32), (64, 16, 16)]),
        ("c1", nn.MaxPool2d, [(64, 16, 16), (64, 8, 8)]),
        ("c2", nn.Conv2d, [(64, 30, 30), (64, 28, 28), (128, 12, 12), (128, 10, 10)]),
        ("c3", nn.MaxPool2d, [(64, 14, 14), (128, 5, 5)]),
        ("vgg11", nn.MaxPool2d, [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)]),
        ("resnet18", BasicBlock, stages([(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)], 2)),
        ("resnet20", BasicBlock, stages([(16, 32, 32), (32, 16, 16), (64, 8, 8)], 3)),
        ("resnet20_x4", BasicBlock, stages([(64, 32, 32), (128, 16, 16), (256, 8, 8)], 3)),
    ],
)
def test_feature_maps(name: str, kind: type[nn.Module], maps: list[tuple[int, ...]]) -> None:
    assert outputs(network(name), batch(shape_of(name)), kind) == maps


def kinds(name: str) -> str:
    return " ".join(type(layer).__name__ for layer in network(name))  # type: ignore[arg-type]


def test_layers_in_the_order_of_the_papers() -> None:
    assert kinds("m1") == kinds("m1_20") == "StridedConv2d ReLU Conv2d ReLU Flatten Linear ReLU Linear"
    block = "Conv2d ReLU Conv2d ReLU MaxPool2d"
    assert kinds("stdcnn") == f"{block} {block} Flatten Linear ReLU Dropout Linear"
    block = "Conv2d ReLU BatchNorm2d MaxPool2d"
    assert kinds("c1") == f"{block} {block} Flatten Linear ReLU Linear ReLU Linear"
    one, two = "Conv2d ReLU MaxPool2d", "Conv2d ReLU Conv2d ReLU MaxPool2d"
    assert kinds("vgg11") == f"{one} {one} {two} {two} {two} Flatten Linear ReLU Linear ReLU Linear"


def test_layers_in_the_order_of_the_published_code() -> None:
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


def test_resnet18_equals_torchvisions_except_for_the_stem() -> None:
    peer = torchvision.models.resnet18(num_classes=10)
    peer.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    peer.maxpool = nn.Identity()
    ours = network("resnet18")
    expected = {name: p.shape for name, p in peer.named_parameters()}
    assert {name: p.shape for name, p in ours.named_parameters()} == expected

    peer.load_state_dict(ours.state_dict())
    x = batch(COLOUR)
    for mode in (True, False):  # with batch statistics, then with the running ones
        torch.testing.assert_close(ours.train(mode)(x), peer.train(mode)(x), rtol=1e-4, atol=1e-5)


def test_the_convolutions_of_vgg11_equal_torchvisions() -> None:
    peer = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"]).eval()
    ours = network("vgg11").eval()
    assert isinstance(ours, nn.Sequential)
    features = ours[: len(peer)]  # type: ignore[arg-type]
    peer.load_state_dict(features.state_dict())
    x = batch(COLOUR)
    torch.testing.assert_close(features(x), peer(x))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("image_shape", [GREY, COLOUR, (2, 20, 24)])
def test_every_model_accepts_images_of_other_sizes(name: str, image_shape: Shape) -> None:
    model = network(name, image_shape=image_shape, num_classes=7)
    set_dropout_generator(model, torch.Generator())
    logits = model.train()(batch(image_shape))
    assert logits.shape == (3, 7)
    assert (logits < 0).any()  # neither probabilities nor rectified


def test_normalize_is_one_mean_and_scale_for_every_pixel_without_parameters() -> None:
    layer, x = Normalize(0.5, 0.25), batch(COLOUR)
    torch.testing.assert_close(layer(x), (x - 0.5) / 0.25)
    assert not layer.state_dict()


@pytest.mark.parametrize("image_shape", [(1, 2, 2), (1, 3, 28), (1, 0, 0)])
def test_an_image_too_small_for_the_model_is_refused(image_shape: Shape) -> None:
    with pytest.raises(ValueError, match=r"model stdcnn: images of shape .* do not fit") as caught:
        network("stdcnn", image_shape=image_shape)
    assert str(image_shape) in str(caught.value)


def test_an_unknown_model_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="unknown model 'm3'; choose one of m1, m1_20, m1_8, stdcnn"):
        network("m3", image_shape=GREY)
