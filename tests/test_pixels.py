"""How many images the passes over a split take at a time: torch's device "meta" stands for a GPU."""

import pytest
import torch
from torch import nn

from study.pixels import batches, scaled_count


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [1000] * 4 + [500]), ("meta", [4096, 404])])
def test_a_pass_on_a_gpu_takes_more_images_than_one_on_a_cpu(device: str, sizes: list[int]) -> None:
    model = nn.Linear(2, 3, device=device)
    x, y = torch.zeros(4500, 2, dtype=torch.uint8, device=device), torch.zeros(4500, dtype=torch.int64, device=device)
    assert [len(labels) for _, labels in batches(model, x, y)] == sizes
    assert [len(labels) for _, labels in batches(model, x, y, 3000)] == [3000, 1500]


@pytest.mark.parametrize(
    ("shape", "images"), [((28, 28), 1000), ((3, 32, 32), 1000), ((3, 64, 64), 250), ((3, 224, 224), 20), ((2**24,), 1)]
)
def test_of_images_larger_than_cifars_fewer_are_taken_at_a_time(shape: tuple[int, ...], images: int) -> None:
    assert scaled_count(1000, torch.empty(0, *shape, dtype=torch.uint8)) == images
