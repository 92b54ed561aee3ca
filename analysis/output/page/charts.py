"""Figures on the page: places for charts, legends and pickers of a group, and the specifications as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from analysis import theme
from analysis.figures import Figure
from analysis.output.page.html import Content, Html, element
from analysis.tables.words import name
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

    The data block holds `config`, `cells`, `templates` (key -> specification without data), `data` (key -> `packed`
    records) and `charts` (key -> `template` and, by the name under which it reads them, the keys of its `data`).
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
                element("div", class_="chart", data_chart=self._chart(figure), data_cell=figure.cell or None),
                role="img",
                aria_label=figure.description,
                class_="frame",
            ),
            element("figcaption", figure.caption),
            class_="panel",
            id=self._identifier(figure.name),
            data_attack=figure.attack or None,
        )

    def _chart(self, figure: Figure) -> str:
        """The key of the figure's chart in the data block."""
        spec = figure.spec()
        data = {name: _key(self._data, "d", packed(records)) for name, records in spec.pop("datasets").items()}
        return _key(self._charts, "c", {"template": _key(self._templates, "t", spec), "data": data})

    def _identifier(self, figure: str) -> str | None:
        if figure in self._used:
            return None
        self._used.add(figure)
        return f"figure-{figure}"

    def data(self, cells: str = "{}") -> Html:
        """All specifications, and `cells` (JSON), as a JSON data block that no text in it can leave."""
        parts = {"templates": self._templates, "data": self._data, "charts": self._charts}
        blocks = ["{" + ",".join(f'"{key}":{text}' for text, key in known.items()) + "}" for known in parts.values()]
        named = ",".join(f'"{name}":{block}' for name, block in zip(parts, blocks, strict=True))
        content = f'{{"config":{_json(theme.config())},"cells":{cells},{named}}}'
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


def group(
    places: Sequence[Content],
    styles: Sequence[SeriesStyle] = (),
    *,
    lines: bool = False,
    figures: Iterable[Figure] = (),
    pickers: Sequence[Content] = (),
    columns: str = "",
) -> Html:
    """Charts that share a legend and what a reader chooses; a picker chooses among the attacks of `figures`.

    `lines`: solid is clean and dashed adversarial. `columns`: "two" for two beside each other instead of three.
    The page's script adds pickers of the axes and shows the row of pickers if it has any.
    """
    attacks = list(dict.fromkeys(figure.attack for figure in figures if figure.attack))
    chosen = [*pickers, _attack_picker(attacks) if len(attacks) > 1 else None]
    return element(
        "div",
        _legend(styles, lines=lines) if styles else None,
        element("div", chosen, class_="controls", hidden=True),
        element("div", places, class_=f"grid {columns}".strip()),
        data_group="",
    )


def _attack_picker(attacks: Sequence[str]) -> Html:
    options = [element("option", "all", value=""), *(element("option", name(a), value=a) for a in sorted(attacks))]
    return element("label", "Attack ", element("select", options, data_attack=""))


def epsilon_picker(epsilons: Sequence[float], shown: float) -> Html | None:
    """Chooses the strength of the attacks, where there are several."""
    if len(epsilons) < 2:
        return None
    options = [element("option", f"{e:g}", value=f"{e:g}", selected=e == shown) for e in epsilons]
    return element("label", "Attack strength ε ", element("select", options, data_epsilon=""))


def _legend(styles: Sequence[SeriesStyle], *, lines: bool) -> Html:
    """Colour and shape of each curve, each a button that switches it off and on; `lines`: also solid and dashed."""
    entries = [element("li", _switch(glyph(style), style.label, data_curve=style.label)) for style in styles]
    kinds = (("clean", ""), ("adversarial", "5 3")) if lines else ()
    entries += [element("li", _switch(_stroke(dashes), kind, data_kind=kind)) for kind, dashes in kinds]
    return element("ul", entries, class_="legend", aria_label="Curves: press one to switch it off or on")


def _switch(picture: Html, words: str, **what: str) -> Html:
    return element("button", picture, element("span", words), type="button", aria_pressed="true", **what)


def glyph(style: SeriesStyle) -> Html:
    """A curve's mark as a small picture."""
    path = Html(f'<path d="{_GLYPHS.get(style.shape, _GLYPHS["circle"])}" fill="{style.colour}"></path>')
    return element("svg", path, viewBox="0 0 16 16", width="14", height="14", aria_hidden="true")


def _stroke(dashes: str) -> Html:
    line = Html(f'<path d="M0 8h26" stroke="currentColor" stroke-width="2" stroke-dasharray="{dashes}"></path>')
    return element("svg", line, viewBox="0 0 26 16", width="26", height="14", aria_hidden="true")
