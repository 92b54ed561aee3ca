"""The page's Jinja2 templates. All text that they are given is escaped; only `Markup` made by a template is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.output.page.charts import GLYPHS
from analysis.tables.words import name

ENVIRONMENT = Environment(
    loader=PackageLoader("analysis.output", "page"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
ENVIRONMENT.filters |= {"called": name}
ENVIRONMENT.globals["glyphs"] = GLYPHS


def rendered(template: str, context: Mapping[str, Any]) -> Markup:
    """The template with these variables, as markup that other templates do not escape again."""
    return Markup(ENVIRONMENT.get_template(template).render(context))


@dataclass(frozen=True)
class Section:
    """A titled part of the page. Its template is `<id>.html`, and `context` holds what that shows.

    Attributes:
        id: Its id on the page.
        link: What the list of sections calls it.
        title: Its heading.
        context: The variables of its template.
        absent: Whether it only tells of what was not run, and is left out on paper.
    """

    id: str
    link: str
    title: str
    context: Mapping[str, Any]
    absent: bool = False

    @property
    def body(self) -> Markup:
        """What stands below the heading."""
        return rendered(f"{self.id}.html", self.context)
