"""Constants that are written twice, because one room must not import the other, are equal."""

from search_spaces import PGD_STEPS, SpectrumProbe
from study.attacks import ATTACKS
from study.curvature import SHARPNESS
from study.curvature.eigen import RELATIVE_RESIDUAL
from study.curvature.landscape import INTERPOLATION_FRACTIONS, LINE_OFFSETS, PLANE_OFFSETS
from study.curvature.sharpness import ADAPTIVE_STEPS
from study.curvature.stochastic import DENSITY_STEPS, DENSITY_VECTORS, TRACE_VECTORS
from study.trials.probes import LANDSCAPES
from study.tuning.costs import HVP_SHARE, LANDSCAPE_POINTS, SHARPNESS_PASSES


def test_a_probe_asks_by_default_for_the_published_steps_of_pgd() -> None:
    assert ATTACKS["pgd"].settings == {"steps": PGD_STEPS}


def test_a_probe_asks_by_default_for_the_tolerance_of_the_eigenvalue_methods() -> None:
    assert SpectrumProbe("test", 1).tolerance == RELATIVE_RESIDUAL


def test_the_cost_model_counts_the_points_of_every_landscape() -> None:
    points = {
        "line": len(LINE_OFFSETS),
        "plane": len(PLANE_OFFSETS) ** 2,
        "interpolation": len(INTERPOLATION_FRACTIONS),
    }
    assert dict(LANDSCAPE_POINTS) == points
    assert points.keys() == LANDSCAPES.keys()


def test_the_cost_model_counts_the_products_of_every_measure_of_sharpness() -> None:
    assert SHARPNESS_PASSES.keys() == SHARPNESS.keys()
    assert SHARPNESS_PASSES["trace"] == 3 * TRACE_VECTORS * HVP_SHARE
    assert SHARPNESS_PASSES["density"] == DENSITY_VECTORS * DENSITY_STEPS * HVP_SHARE
    assert SHARPNESS_PASSES["adaptive_sharpness"] == ADAPTIVE_STEPS + 1
