"""Our training loop and PGD against what a user would write today, as ratios measured in pairs in one run.

python -m benchmarks.throughput [MODEL ...] [--batch-sizes 16,128,1024] [--images N] [--pgd-images N] [--pgd-steps N]

Three measurements for each model and batch size, on one thread; on random images, PGD of the MNIST models on digits:

- train: an epoch of `study.training.train` against a DataLoader(num_workers=0) over PIL images with torchvision's
  transforms and torch.optim.SGD, on the same network;
- data: the same two epochs' batches without the optimizer's steps;
- pgd: `study.attacks.pgd.pgd` against torchattacks.PGD, from the same start, on the same network.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchattacks  # type: ignore[import-untyped]
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.timing import Paired, paired
from study import streams
from study.attacks.losses import cross_entropy_sum
from study.attacks.pgd import pgd, pgd_step_size
from study.data import load
from study.data.augmentation import AUGMENTATIONS, PADDING
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.schedules import constant
from study.training import Recipe, TrainingState, train

LEARNING_RATE, MOMENTUM = 1e-4, 0.9
NUM_CLASSES = 10
DIGITS_EPOCHS = 5


@dataclass(frozen=True)
class Setting:
    """What a model trains on, and how many images make one side of a pair last a second or two on two cores."""

    shape: tuple[int, int, int]
    augmentation: str
    epsilon: float
    images: int
    pgd_images: int


MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
SETTINGS = {
    "m1_20": Setting(MNIST, "none", 0.3, images=4096, pgd_images=512),
    "stdcnn": Setting(MNIST, "none", 0.3, images=2048, pgd_images=256),
    "c1": Setting(CIFAR, "crop_flip", 0.02, images=512, pgd_images=16),
    "resnet18": Setting(CIFAR, "crop_flip", 0.02, images=64, pgd_images=2),
}

TRANSFORMS: dict[str, Callable[[Image.Image], Tensor]] = {
    "none": transforms.ToTensor(),
    "crop_flip": transforms.Compose(
        [
            transforms.RandomCrop(CIFAR[1], padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    ),
}


class PilImages(Dataset[tuple[Tensor, int]]):
    """PIL images made from an array in memory at each access, as torchvision.datasets.MNIST and CIFAR10 make them."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable[[Image.Image], Tensor]) -> None:
        gray = x.shape[1] == 1
        self.arrays = (x[:, 0] if gray else x.permute(0, 2, 3, 1).contiguous()).numpy()
        self.labels: list[int] = y.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def network(name: str) -> nn.Module:
    """The named model with the same weights at every call."""
    model = build(name, image_shape=SETTINGS[name].shape, num_classes=NUM_CLASSES, generator=streams.generator(0))
    set_dropout_generator(model, streams.generator(0, "dropout"))
    return model


def random_images(shape: tuple[int, int, int], n: int) -> tuple[Tensor, Tensor]:
    """uint8 images (n, C, H, W) and labels (n,)."""
    draws = streams.generator(0, "images")
    x = torch.randint(256, (n, *shape), generator=draws, dtype=torch.uint8)
    return x, torch.randint(NUM_CLASSES, (n,), generator=draws)


def attacked(name: str, n: int) -> tuple[nn.Module, Tensor]:
    """A network in eval mode that an attack can fool, and n uint8 images for it.

    Random weights do for the CIFAR models. On the MNIST models they give every image the same class whatever the
    attack does, so those learn the built-in digits first.
    """
    model, setting = network(name), SETTINGS[name]
    if setting.shape == CIFAR:
        return model.eval(), random_images(CIFAR, n)[0]
    digits = load("digits", ".")
    optimizer = OPTIMIZERS["sgd"](model, learning_rate=0.01, momentum=0.9, weight_decay=0.0)
    recipe = Recipe(0.01, 16, DIGITS_EPOCHS, 0, constant, AUGMENTATIONS["none"])
    images = (torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y))
    train(
        model,
        optimizer,
        recipe,
        train=images,
        validation=(images[0][:1], images[1][:1]),
        state=TrainingState(),
        set_dropout_generator=set_dropout_generator,
    )
    return model.eval(), images[0][:n]


def time_training(name: str, x: Tensor, y: Tensor, batch_size: int) -> Paired:
    """One epoch of each training loop. Ours also scores one validation image, which counts against it."""
    our_model, their_model = network(name), network(name)
    our_optimizer = OPTIMIZERS["sgd"](our_model, learning_rate=LEARNING_RATE, momentum=MOMENTUM, weight_decay=0.0)
    their_optimizer = torch.optim.SGD(their_model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    augmentation = SETTINGS[name].augmentation
    recipe = Recipe(LEARNING_RATE, batch_size, 1, 0, constant, AUGMENTATIONS[augmentation])
    loader = DataLoader(PilImages(x, y, TRANSFORMS[augmentation]), batch_size, shuffle=True, num_workers=0)

    def ours() -> None:
        state = train(
            our_model,
            our_optimizer,
            recipe,
            train=(x, y),
            validation=(x[:1], y[:1]),
            state=TrainingState(),
            set_dropout_generator=set_dropout_generator,
        )
        if state.epochs_done != 1:
            raise RuntimeError(f"our epoch did not end: {state.diverged}")

    def theirs() -> None:
        their_model.train()
        for images, labels in loader:
            their_optimizer.zero_grad()
            cross_entropy(their_model(images), labels).backward()
            their_optimizer.step()

    return paired(ours, theirs)


def time_data(name: str, x: Tensor, y: Tensor, batch_size: int) -> Paired:
    """One epoch's batches and nothing else. Ours are the lines of `study.training` that make a batch."""
    setting = SETTINGS[name]
    augment, draws = AUGMENTATIONS[setting.augmentation], streams.generator(0)
    loader = DataLoader(PilImages(x, y, TRANSFORMS[setting.augmentation]), batch_size, shuffle=True, num_workers=0)

    def ours() -> None:
        for batch in torch.randperm(len(y), generator=draws).split(batch_size):
            _ = augment(x[batch], draws).float().div_(255), y[batch]

    def theirs() -> None:
        for _ in loader:
            pass

    return paired(ours, theirs)


def time_pgd(name: str, n: int, batch_size: int, steps: int) -> tuple[Paired, int, float]:
    """PGD from the clean images, their clean predictions as labels, in batches.

    Returns the times, on how many images the network predicts the same class under both attacks, and the share of
    images on which ours changed the prediction.
    """
    (model, x), epsilon = attacked(name, n), SETTINGS[name].epsilon
    batches = (x.float() / 255).split(batch_size)
    peer = torchattacks.PGD(model, eps=epsilon, alpha=pgd_step_size(epsilon), steps=steps, random_start=False)
    our_pgd = partial(pgd, model, epsilon=epsilon, loss=cross_entropy_sum, steps=steps, random_start=False)

    def predict(images: list[Tensor]) -> Tensor:
        with torch.no_grad():
            return torch.cat([model(batch).argmax(dim=1) for batch in images])

    labels = predict(list(batches))

    def attack(run: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        return [run(*batch) for batch in zip(batches, labels.split(batch_size), strict=True)]

    ours = predict(attack(our_pgd))
    same = int((ours == predict(attack(peer))).sum())
    return paired(lambda: attack(our_pgd), lambda: attack(peer)), same, float((ours != labels).float().mean())


HEADER = "model     batch what   images  ours, s theirs, s ratio [min, max]  pairs"


def measure_training(name: str, batch_size: int, images: int) -> None:
    """Print the lines of the training loop and of its data path."""
    x, y = random_images(SETTINGS[name].shape, max(batch_size, images))
    for what, work in (("train", time_training), ("data", time_data)):
        print(f"{name:9s} {batch_size:5d} {what:5s} {len(x):7d} {work(name, x, y, batch_size)}", flush=True)


def measure_pgd(name: str, batch_size: int, images: int, steps: int) -> None:
    """Print the line of PGD."""
    times, same, fooled = time_pgd(name, images, batch_size, steps)
    agreement = f"same prediction on {same}/{images}, {fooled:.0%} fooled"
    print(f"{name:9s} {batch_size:5d} pgd   {images:7d} {times}  {agreement}", flush=True)
    if same != images:
        raise SystemExit("the attacks differ: their ratio says nothing")


def positive_numbers(text: str) -> list[int]:
    """The numbers of "16,128"; argparse turns the ValueError of anything else into a usage line."""
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(SETTINGS)}; default all")
    parser.add_argument("--batch-sizes", type=positive_numbers, default="16,128,1024", help="default %(default)s")
    parser.add_argument("--images", type=int, help="in an epoch, at least one batch; default by model")
    parser.add_argument("--pgd-images", type=int, help="default by model")
    parser.add_argument("--pgd-steps", type=int, default=40, help="default %(default)s")
    options = parser.parse_args()
    unknown = sorted(set(options.models) - set(SETTINGS))
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; choose of {', '.join(SETTINGS)}")
    torch.set_num_threads(1)  # a trial owns one CPU unless told otherwise
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; ratio is theirs / ours, above 1 ours is faster"
    )
    print(HEADER)
    batch_sizes: list[int] = options.batch_sizes
    for name in options.models or SETTINGS:
        for batch_size in batch_sizes:
            measure_training(name, batch_size, options.images or SETTINGS[name].images)
        pgd_images = options.pgd_images or SETTINGS[name].pgd_images
        for batch_size in dict.fromkeys(min(size, pgd_images) for size in batch_sizes):
            measure_pgd(name, batch_size, pgd_images, options.pgd_steps)


if __name__ == "__main__":
    main()
