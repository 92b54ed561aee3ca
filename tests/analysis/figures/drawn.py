"""A figure as Vega draws it."""

import vl_convert

from analysis.figures.figure import Figure


def draws(figure: Figure) -> str:
    """Its SVG; the specification is a valid one."""
    figure.chart.to_dict(validate=True)
    svg: str = vl_convert.vegalite_to_svg(figure.export_spec(), vl_version="6.4")
    return svg
