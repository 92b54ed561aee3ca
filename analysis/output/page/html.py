"""HTML from values. Text is escaped unless it is already `Html`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias

VOID = frozenset({"meta", "br", "hr", "input"})


class Html(str):
    """Markup that may be put into the page as it is."""

    __slots__ = ()


Content: TypeAlias = "str | int | Iterable[Content] | None"


def element(tag: str, *children: Content, **attributes: str | bool | None) -> Html:
    """`<tag attributes>children</tag>`; strings are escaped unless they are `Html`, `None` is left out.

    `class_` writes `class`, `data_x` writes `data-x`, `True` an attribute without a value.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{text(children)}</{tag}>")


def _attribute(name: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'


def text(content: Content) -> Html:
    """Content as markup: escaped unless it is `Html`."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int):
        return Html(html.escape(str(content), quote=False))
    return Html("".join(text(part) for part in content))


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], *, caption: str, class_: str = "") -> Html:
    """A table that scrolls sideways in its own box on a narrow screen; the first column heads each row."""
    body = [
        element("tr", element("th", cells[0], scope="row"), [element("td", cell) for cell in cells[1:]])
        for cells in rows
    ]
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", [element("th", cell, scope="col") for cell in head])),
        element("tbody", body),
        class_=class_ or None,
    )
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def section(identifier: str, title: str, *children: Content) -> Html:
    """A titled part of the page."""
    return element("section", element("h2", title), *children, id=identifier)


def note(*children: Content) -> Html:
    """A paragraph of smaller, softer text."""
    return element("p", *children, class_="note")


def details(summary: Content, *children: Content, **attributes: str | bool | None) -> Html:
    """Content that the reader can fold away, closed at first unless `open` is given."""
    return element("details", element("summary", summary), *children, **attributes)


def code_block(text: str) -> Html:
    """Lines of code."""
    return element("pre", element("code", text))
