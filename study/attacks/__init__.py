"""Adversarial attacks: a model, images in [0, 1] and their classes -> adversarial images.

A new attack is one file and one line here; a new loss is one function and one line in `losses.LOSSES`. Adversarial
training calls the same `run` on every minibatch: it checks nothing and leaves no gradient in the weights.
"""

from study.attacks.apgd import APGD_STEPS, apgd_ce, apgd_step_size, apgd_t
from study.attacks.l2 import l2grad
from study.attacks.linf import (
    FGSM10_STEPS,
    PGD_STEPS,
    fgsm,
    fgsm10,
    pgd,
    pgd_step_size,
)
from study.attacks.newton import NEWTON_STEPS, NEWTON_TOLERANCE, fhsm, l2hess
from study.attacks.spec import AttackSpec, straight

_STEPS = {"steps": PGD_STEPS}
_NEWTON = {"newton_steps": NEWTON_STEPS, "newton_tolerance": NEWTON_TOLERANCE}

ATTACKS: dict[str, AttackSpec] = {
    "fgsm": AttackSpec(fgsm, norm="linf", steps=1, step_size=straight, random_start=False),
    "fgsm10": AttackSpec(fgsm10, norm="linf", steps=FGSM10_STEPS, step_size=straight, random_start=False),
    "pgd": AttackSpec(pgd, norm="linf", steps=PGD_STEPS, step_size=pgd_step_size, random_start=True, settings=_STEPS),
    "apgd_ce": AttackSpec(apgd_ce, norm="linf", steps=APGD_STEPS, step_size=apgd_step_size, random_start=True),
    "apgd_t": AttackSpec(
        apgd_t, norm="linf", steps=APGD_STEPS, step_size=apgd_step_size, random_start=True, loss="dlr"
    ),
    "l2grad": AttackSpec(l2grad, norm="l2", steps=1, step_size=straight, random_start=False),
    "fhsm": AttackSpec(fhsm, norm="linf", steps=1, step_size=straight, random_start=False, settings=_NEWTON),
    "l2hess": AttackSpec(l2hess, norm="l2", steps=1, step_size=straight, random_start=False, settings=_NEWTON),
}
