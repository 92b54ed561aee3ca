"""Adversarial attacks: a model, images in [0, 1] and their classes -> adversarial images.

A new attack is one file and one line here; a new loss one function and one line in `losses.LOSSES`.
"""

from study.attacks.fgsm import fgsm
from study.attacks.pgd import PGD_STEPS, pgd, pgd_step_size
from study.attacks.spec import AttackSpec

ATTACKS: dict[str, AttackSpec] = {
    "fgsm": AttackSpec(fgsm, norm="linf", steps=1, step_size=lambda epsilon: epsilon, random_start=False),
    "pgd": AttackSpec(pgd, norm="linf", steps=PGD_STEPS, step_size=pgd_step_size, random_start=True),
}
