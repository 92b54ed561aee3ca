"""The documentation names only what exists (links, headings, files, commands), and written pages are current."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.output.columns import dictionary
from analysis.output.ledger import ledger
from benchmarks import reference
from search_spaces import GRIDS, plan
from study import options

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROSE = [page for page in PAGES if not page.name.startswith("your_own_") and page.name != "CHANGELOG.md"]
"""Pages about files that are there; the others name files that a reader adds, or that were removed."""

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:study|search_spaces|analysis|tests|benchmarks|docs|cluster)/[\w./*-]*)`")
MODULE = re.compile(r"python -m ((?:study|analysis|benchmarks)[\w.]*)")
COMMAND = re.compile(r"python -m ((?:study|analysis(?!\.output)|benchmarks)[\w.]*[^\n#&|>']*)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_relative_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}: no such file"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_named_files_and_commands_exist() -> None:
    for page in PROSE:
        text = page.read_text(encoding="utf-8")
        for name in FILE.findall(text):
            assert list(ROOT.glob(name.rstrip("/"))), f"{page.name}: {name}: no such file"
        for name in MODULE.findall(text):
            assert importlib.util.find_spec(name.rstrip(".")), f"{page.name}: python -m {name}: no such module"


def test_the_index_names_every_page() -> None:
    index = set(LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= index


@pytest.mark.parametrize(
    ("page", "written", "command"),
    [
        ("claims.md", ledger, "analysis.output.ledger"),
        ("columns.md", dictionary, "analysis.output.columns"),
        ("reference.md", lambda: "\n".join([*reference.page(reference.ROWS), ""]), "benchmarks.reference"),
    ],
)
def test_a_page_that_a_command_writes_is_current(page: str, written: Callable[[], str], command: str) -> None:
    if (ROOT / "docs" / page).read_text(encoding="utf-8") != written():
        pytest.fail(f"docs/{page} is out of date: python -m {command} > docs/{page}")


def commands() -> list[str]:
    """The commands of all pages that have options, without those of a cluster's own tools around them."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
        for name, value in re.findall(r"^(\w+)=[\"'](.*)[\"']$", lines, re.MULTILINE):
            lines = lines.replace(f"${name}", value)
        found += re.findall(COMMAND, lines)
    return sorted({command.strip() for command in found})


class Parsed(Exception):  # noqa: N818
    """What a command's arguments mean; raised in place of the command."""


@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = ArgumentParser.parse_args

    def stop(parser: ArgumentParser, *given: list[str]) -> Namespace:
        raise Parsed(parse(parser, *given))

    monkeypatch.setattr(ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    module = importlib.import_module(sys.argv[0])
    with pytest.raises(Parsed) as found:
        (module if hasattr(module, "main") else importlib.import_module(f"{sys.argv[0]}.__main__")).main()
    arguments = found.value.args[0]
    if sys.argv[0] == "study.run" and not arguments.list:
        options.run_settings(arguments)
        request = options.request(arguments)
        assert request.grid not in GRIDS or plan(request)  # the former is a grid that a reader adds
