"""FGSM and PGD-40 on real or built-in images against torchattacks and foolbox, as ratios measured in pairs in one run.

python -m benchmarks.attacks [MODEL ...]

On one thread, from the clean images, with the clean predictions as labels. No ratio is printed unless the network
predicts the same class for every image under both attacks. We attack as many images at a time as trials do, a peer
PEER_BATCH of them and, in a second row, as many as we do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.networks import SETTINGS, attacked
from benchmarks.row import Row, paired, parser, print_rows
from study.attacks.evaluate import images_at_once
from study.attacks.linf import PGD_STEPS, fgsm, pgd, pgd_step_size
from study.attacks.losses import cross_entropies

PEER_BATCH = 512

Run = Callable[[Tensor, Tensor], Tensor]


def torchattacks_of(model: nn.Module, epsilon: float, steps: int) -> dict[str, Run]:
    """The peer's FGSM and PGD without a random start."""
    import torchattacks  # type: ignore[import-untyped]  # here, so that the other functions work without it

    step = pgd_step_size(epsilon, steps)
    return {
        "FGSM": torchattacks.FGSM(model, eps=epsilon),
        "PGD": torchattacks.PGD(model, eps=epsilon, alpha=step, steps=steps, random_start=False),
    }


def foolbox_of(model: nn.Module, epsilon: float, steps: int) -> dict[str, Run]:
    """The peer's FGSM and PGD without a random start, their result projected on ball and box."""
    import foolbox
    from foolbox.models.pytorch import PyTorchModel

    network = PyTorchModel(model, bounds=(0, 1), device=next(model.parameters()).device)
    descent = foolbox.attacks.LinfPGD(abs_stepsize=pgd_step_size(epsilon, steps), steps=steps, random_start=False)

    def run(attack: object, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = attack.run(network, x, foolbox.criteria.Misclassification(y), epsilon=epsilon)  # type: ignore[attr-defined]
        return found

    return {"FGSM": partial(run, foolbox.attacks.FGSM(random_start=False)), "PGD": partial(run, descent)}


PEERS = {"torchattacks": torchattacks_of, "foolbox": foolbox_of}


def ours_of(model: nn.Module, epsilon: float, steps: int) -> dict[str, Run]:
    """Our attacks from the clean images."""
    common = {"epsilon": epsilon, "loss": cross_entropies}
    return {
        "FGSM": partial(fgsm, model, **common),  # type: ignore[arg-type]
        "PGD": partial(pgd, model, **common, steps=steps, random_start=False),  # type: ignore[arg-type]
    }


def rows(models: Sequence[str] = (), images: int | None = None, steps: int = PGD_STEPS) -> Iterator[Row]:
    """A row for every model, attack and peer.

    Raises:
        SystemExit: two attacks differ on an image, so that their times are not comparable.
    """
    for name in models or SETTINGS:
        setting = SETTINGS[name]
        model, pixels = attacked(name, images or setting.pgd_images)
        x = pixels.float() / 255
        y = predict(model, x)
        ours, at_once = ours_of(model, setting.epsilon, steps), images_at_once(model, x, y)
        sizes = sorted({min(size, len(x)) for size in (at_once, PEER_BATCH)}, reverse=True)
        for peer, make in PEERS.items():
            theirs = make(model, setting.epsilon, steps)
            for attack in ours:
                a = predict(model, batched(ours[attack], x, y, at_once))
                for size in sizes:
                    b = predict(model, batched(theirs[attack], x, y, size))
                    if not torch.equal(a, b):
                        raise SystemExit(f"{name}: {attack} differs from {peer}'s on {int((a != b).sum())} images")
                    times = paired(
                        partial(batched, ours[attack], x, y, at_once), partial(batched, theirs[attack], x, y, size)
                    )
                    checked = f"same prediction on all, {float((a != y).float().mean()):.0%} fooled"
                    what = "FGSM" if attack == "FGSM" else f"PGD-{steps}"
                    work = f"{name}, {len(x)} images, {min(at_once, len(x))} at once"
                    yield Row(what, work, f"{peer}, {size} at once", *times, checked)


def batched(run: Run, x: Tensor, y: Tensor, size: int) -> Tensor:
    """An attack on all images, so many at a time."""
    return torch.cat([run(*part) for part in zip(x.split(size), y.split(size), strict=True)])


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Classes (n,)."""
    with torch.no_grad():
        classes: Tensor = model(x).argmax(dim=1)
        return classes


if __name__ == "__main__":
    print_rows(rows(parser(__doc__, "MODEL", SETTINGS).parse_args().names))
