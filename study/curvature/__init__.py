"""Curvature of the loss: the Hessian as an operator, and eigenvalue methods that see only its product."""

from study.curvature.eigen import EigenResult
from study.curvature.input_hessian import InputCurvature, InputHessianCheck, check_input_hessian, input_curvature
from study.curvature.lanczos import lanczos
from study.curvature.landscape import interpolation, line, plane
from study.curvature.operator import HessianOperator
from study.curvature.power import power_iteration
from study.curvature.spectrum import CURVATURES, SpectrumResult, draw_subset, top_eigenvalues, top_eigenvectors

__all__ = [
    "CURVATURES",
    "EigenResult",
    "HessianOperator",
    "InputCurvature",
    "InputHessianCheck",
    "SpectrumResult",
    "check_input_hessian",
    "draw_subset",
    "input_curvature",
    "interpolation",
    "lanczos",
    "line",
    "plane",
    "power_iteration",
    "top_eigenvalues",
    "top_eigenvectors",
]
