"""The tables of a paper in LaTeX, for \\input: claims.tex, counterexamples.tex and paper_versus_ours.tex."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from analysis.claims.claim import Verdict, outcome
from analysis.claims.measures import in_words, interval_in_words
from analysis.figures.batch_size import SPLITS
from analysis.findings import Findings, on_test_images
from analysis.output.conclusion import by_claim
from analysis.published.paper_versus_ours import TableComparison, heading, shown
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE
from analysis.tables.words import departures, name
from analysis.theme import regime_style

TABLES = ("claims.tex", "counterexamples.tex", "paper_versus_ours.tex")

PREAMBLE = r"In the preamble: \usepackage{booktabs,longtable,array} and \usepackage[T1]{fontenc}"


def latex_tables(findings: Findings) -> dict[str, str]:
    """File name -> content, of `TABLES`. They fit a text width of 6.5 inches; text from rows never is a command."""
    head = "\n".join(_comment(line) for line in (*provenance(findings), PREAMBLE))
    contents = (
        [claims_table(findings.verdicts)],
        counterexample_tables(findings.counterexamples.found),
        published_tables(findings.comparisons),
    )
    return {name: "\n\n".join([head, *tables]) + "\n" for name, tables in zip(TABLES, contents, strict=True)}


def write_latex(findings: Findings, folder: Path) -> None:
    """Write `latex_tables` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in latex_tables(findings).items():
        (folder / file).write_text(content, encoding="utf-8")


def provenance(findings: Findings) -> list[str]:
    """Where the numbers come from: results folder, number of networks, when they were trained, and the code's commits.

    Of a local folder only the name is given, since the source of a paper is public.
    """
    shown = " + ".join(one if "://" in one else PurePath(one).name for one in findings.table.locations)
    trials = findings.table.trials
    commits = sorted(str(sha) for sha in trials["git_sha"].dropna().unique())
    finished = trials["finished_at"].dropna()
    trained = f"; the last one finished on {str(finished.max())[:10]}" if len(finished) else ""
    return [
        f"Results: {shown}; {len(trials)} networks{trained}",
        f"Code: commit {', '.join(commits) or 'unknown'}; written on {findings.made_at:%Y-%m-%d}",
    ]


def _comment(text: str) -> str:
    """A comment line; line breaks in the text do not end it."""
    return "% " + " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def _claim_rows(both: Sequence[Verdict]) -> list[dict[str, str]]:
    first = both[0]
    same = len(both) > 1 and len({(v.standing, v.effect_text) for v in both}) == 1
    rows = []
    for verdict in both[:1] if same else both:
        effect = verdict.shown
        limits = interval_in_words(effect.low, effect.high, effect.unit)
        measured = f"{in_words(effect.effect, effect.unit)} ({limits})".replace("-", "−")
        rows.append(
            {
                "Claim": first.claim if verdict is first else "",
                "Statement": first.statement if verdict is first else "",
                "Loss": "both" if same else _loss(verdict.loss) if verdict.loss else "–",
                "Verdict": verdict.standing,
                "Test": verdict.effect_text.partition(": ")[0] or "–",
                "Effect": measured if math.isfinite(effect.effect) else "–",
                "Networks": f"{verdict.coverage.ok}/{verdict.coverage.planned}",
                "Tests": f"{verdict.coverage.strata_decided}/{verdict.coverage.strata}",
            }
        )
    return rows


def claims_table(verdicts: Iterable[Verdict]) -> str:
    """A line per claim and loss: verdict, effect with its interval, and coverage.

    A claim has one line if both losses have the same result. Claims that were not run are only listed in the caption.
    """
    claims = by_claim(verdicts)
    not_run = [claim for claim, both in claims.items() if outcome(both) == "not run"]
    rows = [row for claim, both in claims.items() if claim not in not_run for row in _claim_rows(both)]
    notes = (
        "Loss: that of the attack on which the claim was decided. Effect: that of the test that "
        "decides the claim, with its 95 % interval (90 % where the claim is that nothing changes). Networks: finished "
        "over planned. Tests: decided over all. Inconclusive does not mean refuted. Supported where run: so by the "
        "tests that were run."
    )
    listed = f" Not run: {', '.join(not_run)}." if not_run else ""
    columns = rf"l{_wrapped(0.24)}l{_wrapped(0.1)}{_wrapped(0.18)}{_wrapped(0.14)}rr"
    return _longtable(rows, columns, "The papers' claims", notes + listed, "tab:claims", "scriptsize")


NOTES = {"loss-confounded": "L", "clean-confounded": "C"}
"""Note -> its letter in the table, explained in the caption."""


def counterexample_tables(found: pd.DataFrame) -> list[str]:
    """A table for each curvature and direction with a confirmed pair, the strongest first.

    `found`: that of `CounterexampleReport`. Without a confirmed pair there is one table that says so.
    """
    found = on_test_images(found)
    confirmed = found[found["label"] == "confirmed"]
    tables: list[str] = []
    for split in ("train", "test"):
        for direction, slug in ((COUNTEREXAMPLE, "sharper"), (REVERSE, "flatter")):
            mine = confirmed[(confirmed["curvature"] == f"lambda1_{split}") & (confirmed["direction"] == direction)]
            mine = mine.sort_values("severity", ascending=False, kind="stable")
            if len(mine) or (confirmed.empty and not tables):
                title = f"Confirmed pairs: the larger batch is {direction}; λ₁ on the {SPLITS[split]} set"
                notes = (
                    "Both settings of a pair are on one curve; batch and λ₁ run from the first "
                    "to the second. Adversarial accuracies on test images with 95 % intervals over seeds; m: momentum; "
                    "q: after Benjamini–Yekutieli adjustment over all testable pairs, raised where the noise of a "
                    f"single setting could produce the pair (at most {FALSE_DISCOVERY_RATE:g}). Strongest first. L: "
                    "training losses differ twofold or more; C: the drop from clean accuracy does not differ that way."
                )
                label = f"tab:counterexamples-{SPLITS[split]}-{slug}"
                rows = map(_pair, mine.to_dict("records"))
                tables.append(_longtable(rows, "lllrllrrrrrrl", title, notes, label, "tiny"))
    return tables


def _pair(pair: dict[Any, Any]) -> dict[str, str]:
    unusual = departures(pair, ("optimizer", "weight_decay", "adversarial_training"))
    regime = regime_style(str(pair["regime"])).short
    return {
        "Data set": name(str(pair["dataset"])),
        "Model": name(str(pair["model"])),
        "Regime": ", ".join([regime, *unusual]),
        "m": f"{pair['momentum']:g}",
        "Attack": name(str(pair["attack"])),
        "Loss": _loss(str(pair["loss"])),
        "ε": f"{pair['epsilon']:g}",
        "Batch": f"{pair['batch_i']} → {pair['batch_j']}",
        "λ₁": f"{_significant(pair['lambda1_i'])} → {_significant(pair['lambda1_j'])}",
        "First, %": _accuracy(pair, "i"),
        "Second, %": _accuracy(pair, "j"),
        "q": f"{pair['q']:.2g}",
        "Notes": ", ".join(NOTES.get(part, part) for part in str(pair["note"]).split(", ")),
    }


def _loss(loss: str) -> str:
    return name(loss).removesuffix(" loss")


def _significant(value: float) -> str:
    return f"{float(f'{value:.3g}'):.6g}"


def _accuracy(pair: dict[Any, Any], side: str) -> str:
    mean, *limits = (100 * pair[f"accuracy{of}_{side}"] for of in ("", "_low", "_high"))
    return f"{mean:.1f} [{limits[0]:.1f}, {limits[1]:.1f}]" if all(map(math.isfinite, limits)) else f"{mean:.1f}"


def published_tables(comparisons: Sequence[TableComparison]) -> list[str]:
    """A table for each printed table and split of which anything was run: a line per printed number."""
    return [_published_table(one, split) for one in comparisons if one.was_run for split in one.splits]


def _published_table(one: TableComparison, split: str) -> str:
    cells = one.cells[one.cells["split"] == split]
    rows = [
        {
            "Batch" if one.by_batch_size else "Network": "" if repeated else str(cell["row"]),
            "Quantity": heading(cell),
            "Paper": shown(cell, "paper"),
            "Ours": shown(cell, "ours"),
            "One more run": "" if pd.isna(cell["low"]) else f"[{shown(cell, 'low')}, {shown(cell, 'high')}]",
            "Seeds": str(cell["seeds"]),
            "Printed number": str(cell["verdict"]),
        }
        for repeated, cell in zip(cells["row"].duplicated(), cells.to_dict("records"), strict=True)
    ]
    protocols = "; ".join(filter(None, dict.fromkeys(cells.loc[cells["seeds"] > 0, "protocol"])))
    notes = (
        "The printed numbers beside our means over seeds, with the 95 % Student t prediction interval of one more run "
        "(geometric for curvatures and gradients). A printed number is consistent if it lies within this interval, "
        "widened by the rounding of the print; with fewer than two seeds that is not decidable."
        + (f" Not the paper's protocol: {protocols}." if protocols else "")
    )
    label = f"tab:{one.table.table}-{one.model}-{split}".lower().replace("_", "-")
    return _longtable(rows, "llrrrrl", f"{one.title}, {SPLITS[split]} set", notes, label, "scriptsize")


def _wrapped(share: float) -> str:
    """A ragged column of text, as wide as a share of the line."""
    return rf">{{\raggedright\arraybackslash}}p{{{share}\linewidth}}"


def _longtable(rows: Iterable[dict[str, str]], columns: str, title: str, notes: str, label: str, size: str) -> str:
    """Rows of plain text (heading -> text) as a table that may run over pages, notes below; "None." without rows."""
    texts = [{escape(key): escape(text) for key, text in row.items()} for row in rows] or [{"None.": ""}]
    table = pd.DataFrame(texts).style.hide(axis="index")
    latex = table.to_latex(
        environment="longtable",
        hrules=True,
        column_format=f"@{{}}{columns}@{{}}",
        caption=escape(title),
        label=label,
    )
    head = rf"\begingroup\{size}\setlength{{\tabcolsep}}{{3pt}}"
    return "\n".join([head, latex.strip(), rf"\noindent {escape(notes)}\par\endgroup"])


LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}",
    "ε": r"$\varepsilon$", "λ": r"$\lambda$", "τ": r"$\tau$", "ρ": r"$\rho$", "₁": "$_1$", "²": "$^2$",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "≤": r"$\le$", "≥": r"$\ge$",
    "→": r"$\to$", "–": r"\textendash{}", "…": r"\ldots{}", "’": "'",
})  # fmt: skip
"""Characters that LaTeX would read as a command (as a bracket after a line break, or two hyphens) or cannot print."""


def escape(text: str) -> str:
    """Any text as LaTeX that prints it on one line; a character that LaTeX cannot print becomes a question mark."""
    latex = " ".join(text.split()).translate(LATEX)
    return re.sub(r"[^ -~À-ſ]", "?", re.sub("-(?=-)", "-{}", latex))
