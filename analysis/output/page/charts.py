"""Figures on the page: containers of charts, legends and pickers of a group, and the data block that draws them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from analysis import theme
from analysis.figures import Figure
from analysis.figures.figure_data import curve_id
from analysis.output.page.html import Content, Html, element
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import name
from analysis.theme import SeriesStyle, optimizer_style, regime_style

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
    """The charts of a page. A template or data set that several charts share is embedded once.

    The data block holds `config`, `cells`, `templates` (key -> specification without data), `data` (key -> `packed`
    records) and `charts` (key -> the key of its `template`, and the keys of its `data` by the name of the data set).
    """

    def __init__(self) -> None:
        self._templates: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._charts: dict[str, str] = {}
        self._used: set[str] = set()

    def figure(self, figure: Figure, heading: str = "") -> Html:
        """The container of the figure's chart, with heading and caption."""
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
        """Adds the figure to the data block; returns the key of its chart."""
        spec = figure.spec()
        data = {name: _key(self._data, "d", packed(records)) for name, records in spec.pop("datasets").items()}
        return _key(self._charts, "c", {"template": _key(self._templates, "t", spec), "data": data})

    def _identifier(self, figure: str) -> str | None:
        if figure in self._used:
            return None
        self._used.add(figure)
        return f"figure-{figure}"

    def data(self, cells: str = "{}") -> Html:
        """The data block: all specifications, and `cells` (JSON), in a script element that no text in it can end."""
        parts = {"templates": self._templates, "data": self._data, "charts": self._charts}
        blocks = ["{" + ",".join(f'"{key}":{text}' for text, key in known.items()) + "}" for known in parts.values()]
        named = ",".join(f'"{name}":{block}' for name, block in zip(parts, blocks, strict=True))
        content = f'{{"config":{_json(theme.config())},"cells":{cells},{named}}}'
        return element("script", Html(embedded(content)), type="application/json", id="charts")


def packed(records: Sequence[Mapping[str, Any]]) -> list[dict[str, list[Any]]]:
    """Records with the same fields together, as `fields` and `rows` of values: half the bytes."""
    return [
        {"fields": list(fields), "rows": [list(record.values()) for record in run]}
        for fields, run in groupby(records, key=tuple)
    ]


def _key(known: dict[str, str], prefix: str, content: Any) -> str:
    """The key of `content`, identified by its JSON text; a new key if it is not known yet."""
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
    """Charts with one legend and one row of pickers; the attack picker is added if `figures` show several attacks.

    `lines`: whether solid lines are the stable loss and dashed lines the published one. `columns`: "two" for two charts
    in a row instead of three. The page's script adds a picker for each axis and hides an empty row of pickers.
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
    """A picker of the attack strength, if there are several."""
    if len(epsilons) < 2:
        return None
    options = [element("option", f"{e:g}", value=f"{e:g}", selected=e == shown) for e in epsilons]
    return element("label", "Attack strength ε ", element("select", options, data_epsilon=""))


def _legend(styles: Sequence[SeriesStyle], *, lines: bool) -> Html:
    """A button per curve, with colour and shape, that switches the curve off and on; `lines`: also solid and dashed."""
    entries = [element("li", _switch(glyph(style), style.label, data_curve=style.label)) for style in styles]
    kinds = (("stable loss", ""), ("published loss", "4 3")) if lines else ()
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


Run = dict[Any, Any]

_CELL_COLUMNS = [*dict.fromkeys(("cell_id", "regime", "seed", "trial_id", "status", "batch_size", *CURVE))]


def cells_block(table: StudyTable) -> str:
    """What tooltips and highlighting need to know of the cells.

    JSON: cell id -> [title, keys of its curves, [[seed, trial id, state unless ok], ...]].
    """
    points = table.points[_CELL_COLUMNS].sort_values(["cell_id", "regime", "seed"]).to_dict("records")
    cells = {}
    for cell_id, found in groupby(points, key=lambda run: str(run["cell_id"])):
        runs = list(found)
        regimes = {str(run["regime"]): run for run in reversed(runs)}  # the first run of each regime
        curves = [curve_id(regimes[regime]) for regime in sorted(regimes)]
        cells[cell_id] = [_cell_title(runs[0], sorted(regimes)), curves, _trials(runs)]
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def _cell_title(run: Run, of_regimes: Sequence[str]) -> str:
    regimes = ", ".join(regime_style(regime).label for regime in of_regimes)
    parts = [f"{name(str(run['dataset']))} · {name(str(run['model']))}", regimes, f"m={run['momentum']:g}"]
    parts += [optimizer_style(str(run["optimizer"])).label] if run["optimizer"] != "sgd" else []
    parts += [f"weight decay {run['weight_decay']:g}"] if run["weight_decay"] else []
    trained = str(run["adversarial_training"])
    parts += [f"{name(trained)} training"] if trained != "none" else []
    return ", ".join([*parts, f"batch {run['batch_size']}"])


def _trials(runs: Sequence[Run]) -> list[list[Any]]:
    once = {str(run["trial_id"]): run for run in runs}
    return [
        [int(run["seed"]), trial_id, *([] if run["status"] == "ok" else [str(run["status"])])]
        for trial_id, run in once.items()
    ]
