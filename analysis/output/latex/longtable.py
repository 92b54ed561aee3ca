"""A booktabs table that may run over pages, with its caption and label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.output.latex.text import comment

NEEDS = ("booktabs", "longtable", "array")
"""The packages that these tables need."""


@dataclass(frozen=True)
class Column:
    """A column: its heading and its alignment (`l`, `r`, `c` or `p{...}`), both LaTeX."""

    heading: str
    align: str = "l"


def longtable(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, caption: str, label: str, size: str = "footnotesize"
) -> str:
    """The table; an empty list of rows gives one line that says so.

    `rows` hold LaTeX, one entry a column; `[]` is a gap. Columns stand close together and text columns are ragged, so
    that the table fits a page of 6.5 inches. The heading is repeated on every page.

    Raises:
        ValueError: a row has not as many entries as there are columns.
    """
    for row in rows:
        if row and len(row) != len(columns):
            raise ValueError(f"table {label}: a row has {len(row)} entries, not {len(columns)}")
    width = len(columns)
    heading = [r"\toprule", _line([rf"\multicolumn{{1}}{{{_head(c)}}}{{{c.heading}}}" for c in columns]), r"\midrule"]
    body = [_line(row) if row else r"\addlinespace" for row in rows]
    nothing = rf"\multicolumn{{{width}}}{{c}}{{None.}} \\"
    return "\n".join(
        [
            rf"\begingroup\{size}\setlength{{\tabcolsep}}{{3pt}}",
            rf"\begin{{longtable}}{{@{{}}{''.join(_align(c) for c in columns)}@{{}}}}",
            rf"\caption{{{caption}}}\label{{{label}}}\\",
            *heading,
            r"\endfirsthead",
            *heading,
            r"\endhead",
            r"\midrule",
            rf"\multicolumn{{{width}}}{{r}}{{continued on the next page}} \\",
            r"\endfoot",
            r"\bottomrule",
            r"\endlastfoot",
            *(body or [nothing]),
            r"\end{longtable}",
            r"\endgroup",
        ]
    )


def document(provenance: Sequence[str], tables: Sequence[str], notes: Sequence[str] = ()) -> str:
    """A file for \\input: comments that say where it comes from and what it needs, then its tables."""
    packages = ",".join(NEEDS)
    head = [*provenance, rf"In the preamble: \usepackage{{{packages}}}", *notes]
    return "\n".join([*(comment(line) for line in head), "", "\n\n".join(tables), ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _align(column: Column) -> str:
    return rf">{{\raggedright\arraybackslash}}{column.align}" if column.align.startswith("p") else column.align


def _head(column: Column) -> str:
    return "l" if column.align.startswith("p") else column.align
