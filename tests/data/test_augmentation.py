"""Crop and flip move pixels as torchvision does, and draw from the given generator."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as peer

from study.data.augmentation import AUGMENTATIONS, PADDING, Augmentation, crop_and_flip, crop_flip, flip


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, *, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=stream(99))


def augmented(augment: Augmentation, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return augment.apply(batch, augment.draw(len(batch), generator))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 20)])
def test_the_same_as_torchvision_at_every_offset(height: int, width: int) -> None:
    positions = range(2 * PADDING + 1)
    offsets = [(top, left, mirror) for top in positions for left in positions for mirror in (False, True)]
    batch = images(len(offsets), height=height, width=width)
    top, left, mirrored = (torch.tensor(column) for column in zip(*offsets, strict=True))
    ours = crop_and_flip(batch, top, left, mirrored)
    for image, out, (row, column, mirror) in zip(batch, ours, offsets, strict=True):
        expected = peer.crop(peer.pad(image, [PADDING]), row, column, height, width)
        assert torch.equal(out, peer.horizontal_flip(expected) if mirror else expected)


def test_every_offset_and_both_directions_are_equally_likely() -> None:
    """An image that is zero except for two neighbouring pixels at its centre shows where it was moved."""
    count = 40_000
    batch = torch.zeros(count, 1, 9, 9, dtype=torch.uint8)
    batch[:, :, 4, 3], batch[:, :, 4, 4] = 1, 2
    moved = augmented(crop_flip, batch, stream())
    centre = (moved == 2).flatten(1).to(torch.uint8).argmax(1)
    frequency = torch.bincount(centre, minlength=81) / count
    assert (frequency - 1 / 81).abs().max() < 5 * (1 / 81 / count) ** 0.5
    both_in_view = moved[(moved == 1).flatten(1).any(1)].flatten(1)
    mirrored = (both_in_view == 1).to(torch.uint8).argmax(1) > (both_in_view == 2).to(torch.uint8).argmax(1)
    assert abs(mirrored.double().mean() - 0.5) < 5 * 0.5 / len(mirrored) ** 0.5


@pytest.mark.parametrize("augment", [flip, crop_flip])
def test_the_result_depends_only_on_the_generator(augment: Augmentation) -> None:
    batch, before = images(64), torch.get_rng_state()
    generator = stream(3)
    first, second = augmented(augment, batch, generator), augmented(augment, batch, generator)
    assert torch.equal(first, augmented(augment, batch, stream(3)))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == torch.uint8
    assert first.shape == batch.shape


@pytest.mark.parametrize("augment", [flip, crop_flip])
def test_the_result_does_not_depend_on_the_batches(augment: Augmentation) -> None:
    batch, whole, parts = images(50), stream(5), stream(5)
    pieces = torch.cat([augmented(augment, piece, parts) for piece in batch.split(16)])
    assert torch.equal(augmented(augment, batch, whole), pieces)
    assert torch.equal(whole.get_state(), parts.get_state())


def test_a_flip_is_the_image_or_its_mirror_image_half_the_time() -> None:
    batch = images(4000, height=4, width=4)
    out = augmented(flip, batch, stream())
    same = (out == batch).flatten(1).all(1)
    mirrored = (out == batch.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert abs(same.double().mean() - 0.5) < 5 * 0.5 / 4000**0.5


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_batch_itself_is_not_changed(name: str) -> None:
    batch = images(8)
    copy = batch.clone()
    augmented(AUGMENTATIONS[name], batch, stream())
    assert torch.equal(batch, copy)


def test_none_changes_nothing_and_draws_nothing() -> None:
    batch, generator = images(4), stream()
    assert torch.equal(augmented(AUGMENTATIONS["none"], batch, generator), batch)
    assert torch.equal(generator.get_state(), stream().get_state())
