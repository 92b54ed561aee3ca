"""Curvature of the loss: Hessians, their eigenvalues, and the loss around trained weights.

The Hessian with respect to the weights is an operator (`operator`), and Lanczos' method uses only its matrix-vector
product.
"""

from study.curvature.eigen import EigenResult
from study.curvature.input_hessian import InputCurvature, InputHessianCheck, check_input_hessian, input_curvature
from study.curvature.lanczos import lanczos
from study.curvature.landscape import interpolation, line, plane
from study.curvature.operator import HessianOperator
from study.curvature.sharpness import SHARPNESS, batch_sharpness, measure_sharpness
from study.curvature.sharpness import Settings as SharpnessSettings
from study.curvature.spectrum import draw_subset, top_eigenvalues

__all__ = [
    "SHARPNESS",
    "EigenResult",
    "HessianOperator",
    "InputCurvature",
    "InputHessianCheck",
    "SharpnessSettings",
    "batch_sharpness",
    "check_input_hessian",
    "draw_subset",
    "input_curvature",
    "interpolation",
    "lanczos",
    "line",
    "measure_sharpness",
    "plane",
    "top_eigenvalues",
]
