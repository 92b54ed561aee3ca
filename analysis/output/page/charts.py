"""Figures on the page: the places of charts, groups of them, and the data block that draws them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from analysis import theme
from analysis.figures import Figure
from analysis.figures.batch_size import dashes
from analysis.figures.figure import DATA, styles_of
from analysis.figures.figure_data import curve_id
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import name, network_name
from analysis.theme import SeriesStyle, optimizer_style, regime_style

GLYPHS = {
    "circle": "M8 8m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "square": "M4 4h8v8h-8z",
    "triangle-up": "M8 3l5 9.5h-10z",
    "triangle-down": "M8 13l-5 -9.5h10z",
    "diamond": "M8 2.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    "triangle-right": "M13 8l-9.5 5v-10z",
    "triangle-left": "M3 8l9.5 5v-10z",
    "cross": "M6.5 3h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
}
"""Shape of a mark -> the path that draws it in a legend."""


@dataclass(frozen=True)
class Place:
    """Where a chart is drawn: the key of the chart in the data block, and the texts around it."""

    chart: str
    heading: str
    caption: str
    description: str
    id: str
    cell: str
    attack: str
    epsilon: float | None


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

    def place(self, figure: Figure, heading: str = "", caption: str | None = None) -> Place:
        """The place of the figure's chart; `caption`: instead of the figure's own."""
        return Place(
            chart=self._chart(figure),
            heading=heading,
            caption=figure.caption if caption is None else caption,
            description=figure.description,
            id=self._identifier(figure.name),
            cell=figure.cell,
            attack=figure.attack,
            epsilon=figure.epsilon,
        )

    def _chart(self, figure: Figure) -> str:
        """Adds the figure to the data block; returns the key of its chart."""
        spec = figure.spec()
        data = {name: _key(self._data, "d", packed(records)) for name, records in spec.pop("datasets").items()}
        return _key(self._charts, "c", {"template": _key(self._templates, "t", spec), "data": data})

    def _identifier(self, figure: str) -> str:
        if figure in self._used:
            return ""
        self._used.add(figure)
        return f"figure-{figure}"

    def data(self, cells: str = "{}") -> Markup:
        """The JSON of all specifications, and `cells` (JSON): no character in it can end its script element."""
        parts = {"templates": self._templates, "data": self._data, "charts": self._charts}
        blocks = ["{" + ",".join(f'"{key}":{text}' for text, key in known.items()) + "}" for known in parts.values()]
        named = ",".join(f'"{name}":{block}' for name, block in zip(parts, blocks, strict=True))
        return Markup(embedded(f'{{"config":{_json(theme.config())},"cells":{cells},{named}}}'))


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


@dataclass(frozen=True)
class Group:
    """Charts with one legend, one row of pickers and the caption that they share.

    Attributes:
        places: The charts.
        styles: The curves of the legend; a press switches one off and on.
        lines: What solid and dashed lines stand for, such as losses, with the dashes of each (of SVG).
        attacks: The attacks that a picker offers, of which it shows one or all.
        epsilons: The attack strengths that a picker offers, of which it shows one; `epsilon` is shown first.
        columns: "two" for two charts in a row instead of three.
        caption: What the captions of all charts say.
    """

    places: Sequence[Place]
    styles: Sequence[SeriesStyle] = ()
    lines: Sequence[tuple[str, str]] = ()
    attacks: Sequence[str] = ()
    epsilons: Sequence[float] = ()
    epsilon: float | None = None
    columns: str = ""
    caption: str = ""


def group(
    charts: Charts,
    figures: Sequence[Figure],
    headings: Sequence[str],
    *,
    epsilon: float | None = None,
    columns: str = "",
    lines: bool = False,
) -> Group:
    """The charts of these figures under `headings`, with one legend; what all captions say is said once.

    `lines`: the legend also tells apart the kinds of lines that one figure has. A picker of the attack is added where
    the figures show several, with `epsilon` one of the attack strength.
    """
    shared, own = split_captions([figure.caption for figure in figures])
    places = [charts.place(*each) for each in zip(figures, headings, own, strict=True)]
    attacks = sorted({figure.attack for figure in figures if figure.attack})
    epsilons = () if epsilon is None else sorted({figure.epsilon for figure in figures if figure.epsilon is not None})
    kinds = [dict.fromkeys(record["kind"] for record in figure.data[DATA]) for figure in figures] if lines else []
    told = dict.fromkeys(kind for mine in kinds if len(mine) > 1 for kind in mine)
    dashed = [(kind, " ".join(map(str, dashes(kind)))) for kind in told]
    return Group(places, styles_of(figures), dashed, attacks, epsilons, epsilon, columns, shared)


def split_captions(captions: Sequence[str]) -> tuple[str, list[str]]:
    """The sentences that all of several captions have, and what is left of each."""
    if len(captions) < 2:
        return "", list(captions)
    told = [re.split(r"(?<=[.!?]) +(?=[^a-z])", caption) for caption in captions]
    shared = [sentence for sentence in told[0] if all(sentence in others for others in told[1:])]
    return " ".join(shared), [" ".join(one for one in sentences if one not in shared) for sentences in told]


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
    parts = [network_name(run["dataset"], run["model"]), regimes, f"momentum {run['momentum']:g}"]
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
