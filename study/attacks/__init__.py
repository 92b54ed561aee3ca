"""Adversarial attacks: a model, images in [0, 1] and their classes -> adversarial images.

A new attack is one file and one line here; a new loss one function and one line in `losses.LOSSES`. Every `run` below
also serves adversarial training on a minibatch: it checks nothing and leaves no gradient in the weights.
"""

from study.attacks.fgsm import fgsm
from study.attacks.iterated_fgsm import FGSM10_STEPS, fgsm10, fgsm10_step_size
from study.attacks.l2grad import l2grad
from study.attacks.newton import NEWTON_STEPS, NEWTON_TOLERANCE
from study.attacks.pgd import PGD_STEPS, pgd, pgd_step_size
from study.attacks.pgd_until_fooled import pgd_until_fooled
from study.attacks.second_order import fhsm, l2hess
from study.attacks.spec import AttackSpec, one_step

_NEWTON = {"newton_steps": NEWTON_STEPS, "newton_tolerance": NEWTON_TOLERANCE}

ATTACKS: dict[str, AttackSpec] = {
    "fgsm": AttackSpec(fgsm, norm="linf", steps=1, step_size=one_step, random_start=False),
    "fgsm10": AttackSpec(fgsm10, norm="linf", steps=FGSM10_STEPS, step_size=fgsm10_step_size, random_start=False),
    "pgd": AttackSpec(pgd, norm="linf", steps=PGD_STEPS, step_size=pgd_step_size, random_start=True),
    "pgd_until_fooled": AttackSpec(
        pgd_until_fooled, norm="linf", steps=PGD_STEPS, step_size=pgd_step_size, random_start=True
    ),
    "l2grad": AttackSpec(l2grad, norm="l2", steps=1, step_size=one_step, random_start=False),
    "fhsm": AttackSpec(fhsm, norm="linf", steps=1, step_size=one_step, random_start=False, settings=_NEWTON),
    "l2hess": AttackSpec(l2hess, norm="l2", steps=1, step_size=one_step, random_start=False, settings=_NEWTON),
}
