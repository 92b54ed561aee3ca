"""Figures on the page: a place for the chart, its legend and caption, and the specifications as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from analysis import theme
from analysis.figures import Figure
from analysis.page.html import Html, element
from analysis.theme import SeriesStyle

_GLYPHS = {
    "circle": "M8 8m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "square": "M4 4h8v8h-8z",
    "triangle-up": "M8 3l5 9.5h-10z",
    "triangle-down": "M8 13l-5 -9.5h10z",
    "diamond": "M8 2.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    "triangle-right": "M13 8l-9.5 5v-10z",
    "triangle-left": "M3 8l9.5 5v-10z",
    "cross": "M6.5 3h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
}


class Charts:
    """The charts of a page; what two of them share, template or data set, is embedded once.

    The data block holds `config`, `templates` (key -> specification without data), `data` (key -> `packed` records)
    and `charts` (key -> `template` and, by the name under which it reads them, the keys of its `data`).
    """

    def __init__(self) -> None:
        self._templates: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._charts: dict[str, str] = {}
        self._used: set[str] = set()

    def figure(self, figure: Figure, heading: str = "") -> Html:
        """The figure's place on the page, with its caption."""
        return element(
            "figure",
            element("h4", heading) if heading else None,
            # Vega labels its own element anew, so the description sits on one around it.
            element(
                "div",
                element("div", class_="chart", data_chart=self._chart(figure)),
                role="img",
                aria_label=figure.description,
                class_="frame",
            ),
            element("figcaption", figure.caption),
            class_="panel",
            id=self._identifier(figure.name),
        )

    def _chart(self, figure: Figure) -> str:
        """The key of the figure's chart in the data block."""
        spec = figure.spec()
        data = {name: _key(self._data, "d", packed(records)) for name, records in spec.pop("datasets").items()}
        return _key(self._charts, "c", {"template": _key(self._templates, "t", spec), "data": data})

    def _identifier(self, name: str) -> str | None:
        if name in self._used:
            return None
        self._used.add(name)
        return f"figure-{name}"

    def data(self) -> Html:
        """All specifications as a JSON data block that no text in it can leave."""
        parts = {"templates": self._templates, "data": self._data, "charts": self._charts}
        blocks = ["{" + ",".join(f'"{key}":{text}' for text, key in known.items()) + "}" for known in parts.values()]
        named = ",".join(f'"{name}":{block}' for name, block in zip(parts, blocks, strict=True))
        content = f'{{"config":{_json(theme.config())},{named}}}'
        return element("script", Html(embedded(content)), type="application/json", id="charts")


def packed(records: Sequence[Mapping[str, Any]]) -> list[dict[str, list[Any]]]:
    """Records as runs that share their fields, `fields` named once and `rows` of values: half the bytes."""
    return [
        {"fields": list(fields), "rows": [list(record.values()) for record in run]}
        for fields, run in groupby(records, key=tuple)
    ]


def _key(known: dict[str, str], prefix: str, content: Any) -> str:
    """The key under which `content` is known by its JSON text; a new one if it is not."""
    return known.setdefault(_json(content), f"{prefix}{len(known)}")


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def embedded(content: str) -> str:
    """JSON text in which no character can end its script element."""
    return content.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def legend(styles: tuple[SeriesStyle, ...], *, lines: bool) -> Html:
    """Colour and shape of each curve; with `lines` also what solid and dashed mean."""
    entries = [element("li", glyph(style), element("span", style.label)) for style in styles]
    if lines:
        entries.append(element("li", _stroke(""), element("span", "clean")))
        entries.append(element("li", _stroke("5 3"), element("span", "adversarial")))
    return element("ul", entries, class_="legend")


def glyph(style: SeriesStyle) -> Html:
    """A curve's mark as a small picture."""
    path = Html(f'<path d="{_GLYPHS.get(style.shape, _GLYPHS["circle"])}" fill="{style.colour}"></path>')
    return element("svg", path, viewBox="0 0 16 16", width="14", height="14", aria_hidden="true")


def _stroke(dashes: str) -> Html:
    line = Html(f'<path d="M0 8h26" stroke="currentColor" stroke-width="2" stroke-dasharray="{dashes}"></path>')
    return element("svg", line, viewBox="0 0 26 16", width="26", height="14", aria_hidden="true")
