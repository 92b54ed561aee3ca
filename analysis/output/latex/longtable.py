"""LaTeX: booktabs tables that may run over pages, and text and numbers from rows, in which nothing is a command."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    """The table; if it has no rows, one line says so.

    `rows` hold LaTeX, one entry per column; `[]` is a gap. Columns are close together and text columns are ragged, so
    that the table fits a page of 6.5 inches. The heading is repeated on every page.
    """
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


def document(provenance: Sequence[str], tables: Sequence[str]) -> str:
    """A file for \\input: comments with its source and the packages it needs, then its tables."""
    packages = ",".join(NEEDS)
    head = [*provenance, rf"In the preamble: \usepackage{{{packages}}}"]
    return "\n".join([*(comment(line) for line in head), "", "\n\n".join(tables), ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _align(column: Column) -> str:
    return rf">{{\raggedright\arraybackslash}}{column.align}" if column.align.startswith("p") else column.align


def _head(column: Column) -> str:
    return "l" if column.align.startswith("p") else column.align


SPECIALS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    '"': "''", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""Characters that LaTeX would read as a command (as a bracket after a line break) or print as another one."""

UNICODE = {
    "ε": r"$\varepsilon$", "λ": r"$\lambda$", "τ": r"$\tau$", "ρ": r"$\rho$", "δ": r"$\delta$", "α": r"$\alpha$",
    "β": r"$\beta$", "η": r"$\eta$", "θ": r"$\theta$", "μ": r"$\mu$", "σ": r"$\sigma$", "∇": r"$\nabla$",
    "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "∞": r"$\infty$", "²": "$^2$", "³": "$^3$",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$",
    "≈": r"$\approx$", "→": r"$\to$", "✕": r"$\times$", "✓": r"$\surd$", "°": r"$^\circ$",
    "–": "--", "—": "---", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": " ",
}  # fmt: skip

_SIGN = re.compile("λ[₀₁₂]|--+|.", re.DOTALL)
"""The parts of a text that are translated one by one; two hyphens must not become a dash."""

_LETTERS = range(0xC0, 0x180)
"""Accented Latin letters, which LaTeX reads as they are."""


def escape(text: object) -> str:
    """Any text as LaTeX that prints it on one line; a character that LaTeX cannot print becomes its code point."""
    return "".join(_sign(sign) for sign in _SIGN.findall(str(text))).strip()


def _sign(sign: str) -> str:
    if sign.startswith("--"):
        return "-{}" * len(sign)
    if len(sign) == 2:
        return rf"$\lambda_{'₀₁₂'.index(sign[1])}$"
    if sign in SPECIALS:
        return SPECIALS[sign]
    if sign in UNICODE:
        return UNICODE[sign]
    code = ord(sign)
    if code < 0x20 or code == 0x7F:
        return " "
    if code < 0x7F or (code in _LETTERS and sign not in "×÷"):
        return sign
    return f"{{[}}U+{code:04X}{{]}}"


def comment(text: object) -> str:
    """A comment line; line breaks in the text do not end it."""
    plain = " ".join(str(text).split())
    return "% " + plain.encode("ascii", "backslashreplace").decode()


def decimal(value: float | None, digits: int, *, signed: bool = False) -> str:
    """A number with so many decimals, with a true minus, also where it rounds to zero; `--` for an absent one."""
    if value is None or not math.isfinite(value):
        return "--"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if value == 0:
        text = text.lstrip("+-")
    return f"${text}$" if text[0] in "+-" else text


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, powers of ten written out as such; `--` for an absent one."""
    if value is None or not math.isfinite(value):
        return "--"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if not -3 <= power <= 4:
        return rf"${mantissa}\times10^{{{power}}}$"
    text = f"{float(f'{mantissa}e{power}'):.{max(0, digits - 1 - power)}f}"
    return f"${text}$" if value < 0 else text


def interval(low: float | None, high: float | None, digits: int) -> str:
    """`[low, high]`; nothing where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{decimal(low, digits)}, {decimal(high, digits)}]"
