"""What identifiers in rows are called in text: data sets, models, attacks, regimes, optimizers."""

from __future__ import annotations

REGIME_NAMES: dict[str, str] = {
    "lr": "LR constant",
    "lr_bs": "LR/BS constant",
    "benchmark": "Benchmark",
    "adversarial": "Adversarial training",
    "lr_0.1": "LR 0.1 constant",
    "step": "LR 0.01 in steps",
    "step_0.1": "LR 0.1 in steps",
    "lr_0.0005": "LR 0.0005 constant",
}

OPTIMIZER_NAMES: dict[str, str] = {
    "sgd": "SGD",
    "svrg": "SVRG",
    "msgd": "noisy SGD",
    "selective_backprop": "selective backprop",
    "adam": "Adam",
    "adamw": "AdamW",
}

NAMES: dict[str, str] = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "Digits",
    "m1": "M1",
    "m1_20": "M1 (20-20)",
    "stdcnn": "StdCNN",
    "c1": "C1",
    "c2": "C2",
    "c3": "C3",
    "m1_lenet": "M1 (LeNet)",
    "resnet20": "ResNet20",
    "vgg11": "VGG11",
    "resnet18": "ResNet18",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "fgsm10": "FGSM10",
    "l2grad": "L2GRAD",
    "fhsm": "FHSM",
    "l2hess": "L2HESS",
    "ce": "published loss",
    "stable": "stable loss",
}
"""Identifier in rows -> name in text; an identifier that is not here names itself."""

AUGMENTATIONS: dict[str, str] = {
    "none": "no augmentation",
    "flip": "random flips",
    "crop_flip": "random crops and flips",
}
"""Augmentation in rows -> its name in text."""


def name(identifier: str) -> str:
    """The name of a data set, model, attack or loss as the papers write it."""
    return NAMES.get(identifier, identifier)


def training(column: str, value: str) -> str:
    """How a network was trained, by one column of its row: adversarial training "fgsm" is "FGSM training"."""
    match column:
        case "augmentation":
            return AUGMENTATIONS.get(value, f"augmentation {value}")
        case "adversarial_training":
            return f"{name(value)} training"
        case "optimizer":
            return OPTIMIZER_NAMES.get(value, value)
        case "precision":
            return f"trained in {value}"
    return f"{column.replace('_', ' ')} {value}"


def phrase(text: str) -> str:
    """Text with the identifiers in it written as the papers do: "lr_bs against lr" is "LR/BS against LR"."""
    if text in REGIME_NAMES:
        return REGIME_NAMES[text]
    return " ".join(_WORDS.get(word, word) for word in text.split(" "))


_WORDS = NAMES | {"lambda1": "λ₁", "lr": "LR", "lr_bs": "LR/BS", "sgd": "SGD", "svrg": "SVRG", "adam": "Adam"}
