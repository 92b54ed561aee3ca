"""The models that differ in more than their width, and the images that each was made for."""

from study.models import MODELS

KINDS = [name for name in MODELS if name not in ("m1", "resnet20_x4")]

Shape = tuple[int, int, int]
SCAN, GREY, COLOUR = (1, 8, 8), (1, 28, 28), (3, 32, 32)


def shape_of(model: str) -> Shape:
    """Channels, height and width of the images of the model's paper."""
    if model == "mlp_256":
        return SCAN
    return COLOUR if model.startswith(("c", "res", "vgg")) else GREY
