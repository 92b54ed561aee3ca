"""The models that differ in more than their width."""

from study.models import MODELS

KINDS = [name for name in MODELS if name not in ("m1", "resnet20_x4")]
