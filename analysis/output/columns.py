"""What every column means: of the rows and of the report's tables. `docs/columns.md` is this module's output.

`python -m analysis.output.columns > docs/columns.md` writes it again after a column was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from analysis.tables.cells import CELL
from analysis.tables.table import ALIKE, CURVE, NESTED, QUESTION
from study.results.schema import ATTACK, ROW_SCHEMA


def _texts(fields: Iterable[pa.Field]) -> dict[str, str]:
    """Column -> description and unit, as the schema of the rows declares them."""
    found = {}
    for field in fields:
        description, unit = _about(field)
        found[field.name] = f"{description}, {unit}" if unit and unit not in description.split() else description
    return found


def _about(field: pa.Field) -> tuple[str, str]:
    return field.metadata[b"description"].decode(), field.metadata.get(b"unit", b"").decode()


ROW: dict[str, str] = _texts(field for field in ROW_SCHEMA if field.name not in NESTED)

KEYS: dict[str, str] = {
    **ROW,
    **{name: text for name, text in _texts(ATTACK).items() if name in QUESTION},
    "regime": "label of the curve: how the learning rate follows the batch size",
    "curvature": "lambda1_train or lambda1_test: the images on which the Hessian's top eigenvalue was taken",
}
"""Columns that tell the rows of a table apart."""

NETWORKS: dict[str, str] = {
    **ROW,
    "spaces": f"{ROW['spaces']}, separated by spaces",
    "regimes": f"{ROW['regimes']}, separated by spaces",
    "minimal_epsilon_quantiles": f"{ROW['minimal_epsilon_quantiles']}, separated by spaces",
    "lambda1_train_converged": "whether lambda1_train converged",
    "lambda1_test_converged": "whether lambda1_test converged",
    "worst_acc": "test accuracy under every stored max-norm attack on every loss, fraction; at the epsilon where most "
    "networks of its data set, model and protocol met FGSM or PGD",
    "worst_attacks": "attacks of worst_acc, each loss counted; it compares between networks with equally many",
}

_T_LIMIT = "95 % Student t limit over seeds"

CELLS: dict[str, str] = {
    **{name: KEYS[name] for name in (*CELL, *QUESTION)},
    **{f"n_{s}": f"networks of the cell that are {s}" for s in ("planned", "ok", "diverged", "failed", "missing")},
    "n_seeds": "ok networks that answered this attack",
    "seeds": "their seeds, separated by spaces",
    "trial_ids": "their identifiers, separated by spaces",
    "accuracy": "adversarial accuracy, mean over seeds, fraction",
    "accuracy_low": f"{_T_LIMIT}, fraction; null with one seed",
    "accuracy_high": f"{_T_LIMIT}, fraction; null with one seed",
    "test_acc": "clean test accuracy, mean over seeds, fraction",
    "test_acc_low": f"{_T_LIMIT}, fraction",
    "test_acc_high": f"{_T_LIMIT}, fraction",
    "train_loss": "training loss, mean over seeds, nats",
    "train_loss_low": f"{_T_LIMIT}, nats",
    "train_loss_high": f"{_T_LIMIT}, nats",
    "images_low": "95 % Clopper-Pearson limit of the accuracy over all images of all seeds, fraction",
    "images_high": "95 % Clopper-Pearson limit of the accuracy over all images of all seeds, fraction",
    **{
        f"lambda1_{split}{suffix}": text
        for split in ("train", "test")
        for suffix, text in (
            ("", f"top eigenvalue of the Hessian, {split} set, geometric mean over seeds; null if one is not positive"),
            ("_low", "95 % limit: Student t of its logarithm over seeds"),
            ("_high", "95 % limit: Student t of its logarithm over seeds"),
        )
    },
    "weight_norm": "Euclidean norm of the weights, mean over seeds",
    "zero_grad_fraction": "images on which the attack saw no gradient, fraction",
    "saturated_fraction": "images whose float32 loss saturates, fraction",
    "correct": "images still classified correctly, all seeds",
    "n": "images attacked, all seeds",
    "floor": "accuracy below 1 %: by its Clopper-Pearson upper limit",
    "untrained": "clean accuracy at most twice a guess's (20 % on ten classes); of fewer than ten, (C + 8) / 9C",
    "suspect": "attack unreliable: PGD left more images right than FGSM, or saw no gradient on over 1 % of them",
    "sound": "usable: answered, and none of floor, untrained, suspect",
    "overstated": "PGD beaten by auto-PGD, which leaves over a point fewer images right",
    "converged_train": "lambda1_train converged for every seed",
    "converged_test": "lambda1_test converged for every seed",
    "decidable": "at least 3 seeds, two thirds of the finished networks did not diverge",
}

CLAIMS: dict[str, str] = {
    "claim": "identifier of the claim",
    "statement": "what the paper says",
    "paper": "the paper",
    "section": "where in the paper",
    "figures": "the paper's figures that show it, separated by spaces",
    "loss": "loss of the attack on which it was decided; null: the claim speaks of no attack",
    "verdict": "supported, refuted, inconclusive or not run",
    "where_run": "of an inconclusive claim: supported or refuted if the tests that were run decide it, else null",
    "differs": "whether its verdicts on the two losses differ",
    "losses": "how they differ, in words: whether it rests on float32 saturation, or one loss is inconclusive",
    "rehearsal": "whether it is an illustration: none of the networks behind it is in any of the papers",
    "contradicts": "claims of the same paper that cannot hold beside it, separated by spaces",
    "by_its_own_numbers": "verdict of the same tests on the numbers that the paper prints, with an assumed noise of "
    "three seeds (0.2 points clean, 0.5 points under attack, 5 % of an eigenvalue); or: no printed numbers",
    "effect": "size of the effect in the test that speaks for the claim, in `unit`",
    "observed": "where the effect is that of a line: the difference of its measured ends",
    "low": "lower limit of its interval",
    "high": "upper limit of its interval",
    "unit": "points of accuracy, doublings of lambda1, or what is counted",
    "effect_text": "the effect in words",
    "planned": "networks planned",
    "ok": "networks trained",
    "diverged": "networks that diverged",
    "failed": "networks that failed",
    "strata_decided": "tests that are decided",
    "strata": "tests of the claim",
    "protocol": "sizes at which it was reached, and how they differ from the paper's",
    "why": "what decided, in short",
    "reason": "why, in words",
}

CORRELATIONS: dict[str, str] = {
    **{name: KEYS[name] for name in (*CURVE, *QUESTION)},
    "batch_sizes": "batch sizes that entered, separated by spaces",
    "curvature": KEYS["curvature"],
    "statistic": "which statistic",
    "axis": "what varies within its groups",
    "estimate": "its value",
    "low": "lower limit of its 95 % interval",
    "high": "upper limit of its 95 % interval",
    "p": "p value",
    "n": "number of observations behind it",
    "note": "what else a reader must know",
}

_OF_A_CELL: dict[str, str] = {
    "batch": "batch size",
    "lambda1": "top eigenvalue of the Hessian, geometric mean over seeds",
    "lambda1_low": f"{_T_LIMIT}, log scale; null with one seed",
    "lambda1_high": f"{_T_LIMIT}, log scale; null with one seed",
    "accuracy_low": f"{_T_LIMIT}, fraction, as in `cells`; null with one seed",
    "accuracy_high": f"{_T_LIMIT}, fraction, as in `cells`; null with one seed",
    "accuracy": "adversarial accuracy, mean over seeds, fraction",
    "clean": "clean test accuracy, fraction",
    "train_loss": "training loss, nats",
    "n_seeds": "networks",
}

COUNTEREXAMPLES: dict[str, str] = {
    **{name: KEYS[name] for name in (*CURVE, *QUESTION, "curvature")},
    "direction": "what the larger batch is: sharper, yet more robust; or the reverse: flatter, yet less robust",
    **{f"{of}_i": f"{text}: the setting with the smaller batch" for of, text in _OF_A_CELL.items()},
    **{f"{of}_j": f"{text}: the setting with the larger batch" for of, text in _OF_A_CELL.items()},
    "lambda1_ratio": "lambda1_j over lambda1_i",
    "accuracy_gap": "accuracy_j less accuracy_i, fraction",
    "image_errors": "the gap in binomial standard errors, paired over the images",
    "p_lambda1": "one-sided p of the difference in log lambda1",
    "p_accuracy": "one-sided p of the difference in the logit of the accuracy",
    "p": "the larger of the two p values",
    "q": "p adjusted over all testable pairs (Benjamini-Yekutieli) and for noisy cells; null: not tested yet",
    "severity": "strength: the smaller of the two gaps in pooled standard deviations",
    "label": "confirmed, candidate or floor artefact (an accuracy below 1 %)",
    "reason": "why it is not confirmed",
    "note": "what else a reader must know",
    "rerun": "the command that trains both settings again",
}

PAPER_VERSUS_OURS: dict[str, str] = {
    "table": "the paper's table",
    "model": KEYS["model"],
    "row": "row of the table: batch size or network",
    "split": "images: train or test",
    "metric": "the quantity; accuracies in percent",
    "eps": "strength of the attack, pixels in [0, 1]",
    "paper": "what the paper prints",
    "rounding": "half of its last printed digit",
    "ours": "mean over seeds (geometric for curvatures and gradients)",
    "low": "lower 95 % limit of one more network of ours (Student t prediction interval)",
    "high": "upper 95 % limit of one more network of ours (Student t prediction interval)",
    "seeds": "networks behind ours",
    "difference": "ours less the paper's",
    "stable": "ours under the stable loss",
    "verdict": "what the comparison comes to",
    "protocol": "sizes at which it was reached, and how they differ from the paper's",
    "note": "what else a reader must know",
}

_MEASURES = {
    "sharpness": "measure of sharpness, taken in logarithms",
    "robustness": "measure of robustness; accuracies at the headline epsilon",
}

MEASURES: dict[str, str] = {
    **{name: KEYS[name] for name in ALIKE},
    **_MEASURES,
    "networks": "networks with both measures",
    "curves": "curves with a Kendall's tau",
    "tau": "mean over curves of Kendall's tau-b of cell means along the batch size",
    "tau_decided": "the mean over the curves whose tau has an interval",
    "granulated_tau": "Jiang et al. (2020), mean over batch size, regime and momentum",
    "sign_error": "sign-error of the pairs of networks of one curve and seed (a tie counts one half), mean over curves",
    "sign_error_max": "that of the worst curve",
    "partial": "Spearman's rho of cell means given clean accuracy and training loss",
    "partial_low": "lower limit of its 95 % interval",
    "partial_high": "upper limit of its 95 % interval",
    "difference": "sign-error along the batch size less that of lambda1_train on the same networks, mean over seeds",
    "difference_low": "lower limit of its 95 % interval (Student's t over seeds)",
    "difference_high": "upper limit of its 95 % interval (Student's t over seeds)",
    "p": "two-sided p value of no difference",
    "q": "p adjusted over the report (Benjamini-Yekutieli)",
    "against_lambda1": "better, worse or not shown to differ; null: nothing to compare",
}

MEASURES_BY_CURVE: dict[str, str] = {
    **{name: KEYS[name] for name in CURVE},
    **_MEASURES,
    "tau": "Kendall's tau-b of cell means along the batch size",
    "low": "lower limit of its 95 % interval",
    "high": "upper limit of its 95 % interval",
    "p": "exact p value",
    "n": "batch sizes behind it",
    "batch_sizes": "batch sizes that entered, separated by spaces",
    "note": "what is missing for an interval",
}

CONFLICTS: dict[str, str] = {
    **{name: KEYS[name] for name in ("trial_id", "dataset", "model", "batch_size", "seed")},
    "about": "weights: two networks; answers: two answers of one network; parent: a network of another parent",
    "kept": "the results folder whose row or answers count; empty: the trial is left out",
    "left_out": "the results folder whose row or answers do not count",
    "detail": "how they differ: the value in the first folder and that in the second",
}

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "claims": CLAIMS,
    "correlations": CORRELATIONS,
    "measures": MEASURES,
    "measures_by_curve": MEASURES_BY_CURVE,
    "counterexamples": COUNTEREXAMPLES,
    "paper_versus_ours": PAPER_VERSUS_OURS,
    "cells": CELLS,
    "networks": NETWORKS,
    "conflicts": CONFLICTS,
}
"""Table of the report -> its columns in order -> description with unit."""

_OF_A_DIFFERENCE: dict[str, str] = {
    "difference": "B less A",
    "low": "lower limit of its 95 % interval; null where it has none",
    "high": "upper limit of its 95 % interval; null where it has none",
    "p": "two-sided p value of no difference; null where it is exactly 0 or has no interval",
    "q": "p adjusted for all rows of this table (Benjamini-Yekutieli)",
    "finding": "differs: q is at most 0.05; same: shown to be within the least effect that counts (cells), or exactly "
    "equal; inconclusive: neither",
}

COMPARISON: dict[str, dict[str, str]] = {
    "compared_settings": {
        "setting": "a field of the configuration, a package, the device, the commit or the data",
        "first": "its values in A",
        "second": "its values in B",
    },
    "compared_verdicts": {
        **{name: CLAIMS[name] for name in ("claim", "loss", "statement")},
        "first": "verdict in A",
        "second": "verdict in B",
        "differs": "whether they differ",
        "effect_first": "the effect in A, in words",
        "effect_second": "the effect in B, in words",
        "protocol_first": "sizes of the networks in A, and how they differ from the paper's",
        "protocol_second": "the same in B",
    },
    "compared_effects": {
        "claims": "claims that rest on the effect, separated by spaces",
        "loss": CLAIMS["loss"],
        "stratum": "the test: data set, model, setting and measure of the effect",
        "unit": "points of accuracy, or doublings",
        "first": "effect in A",
        "first_low": "lower limit of its interval",
        "first_high": "upper limit of its interval",
        "second": "effect in B",
        "second_low": "lower limit of its interval",
        "second_high": "upper limit of its interval",
        **_OF_A_DIFFERENCE,
    },
    "compared_cells": {
        **{name: KEYS[name] for name in CELL},
        **{name: KEYS[name] for name in QUESTION},
        "measure": "accuracy: under the attack; test_acc: clean; lambda1_train, lambda1_test: logarithm to base 2",
        "unit": "points of accuracy, or doublings",
        "first": "mean over seeds in A",
        "n_first": "networks in A",
        "second": "mean over seeds in B",
        "n_second": "networks in B",
        **_OF_A_DIFFERENCE,
        "method": "paired by seed: the same trials, trained in both (Student's t); Welch: other networks; either "
        "without networks that have the same weights in both; the same networks; too few seeds; both below "
        "1 %, where two networks cannot be told apart",
    },
}
"""Table of a comparison of two studies, A and B -> its columns in order -> description with unit."""

_INTRODUCTION = """# Columns

Made by `python -m analysis.output.columns > docs/columns.md`; a test keeps it current.

The Parquet files carry the same descriptions: `pyarrow.parquet.read_schema(file).field("accuracy").metadata`.

## Rows

`RESULTS/trials/<trial_id>.parquet` holds one row, a trained network. Null means "not asked", NaN "computed, not
finite".
In text the plain value of a configuration column needs no mention; rows from before the column existed have it.
"""


_TABLES = "Each is written as CSV and as Parquet, `conflicts` only where several results folders disagree."


def dictionary() -> str:
    """The text of `docs/columns.md`: the columns of the rows, the nested ones, and those of the report's tables."""
    lines = [_INTRODUCTION, *_schema_table(ROW_SCHEMA)]
    for name in NESTED:
        lines += ["", f"### Entries of `{name}`", "", *_schema_table(ROW_SCHEMA.field(name).type.value_type)]
    lines += ["", "## Columns of a curve", "", "They are constant along a curve.", ""]
    lines += _descriptions({name: KEYS[name] for name in CURVE})
    for title, introduction, tables in (
        ("Tables beside the report", _TABLES, DESCRIPTIONS),
        ("Tables of `python -m analysis.compare A B --out DIR`", "Each is written as CSV and as Parquet.", COMPARISON),
    ):
        lines += ["", f"## {title}", "", introduction]
        for name, columns in tables.items():
            of_curves = set(CURVE) <= set(columns)
            told = {column: text for column, text in columns.items() if not (of_curves and column in CURVE)}
            lines += ["", f"### `{name}`", "", *([_OF_CURVES, ""] if of_curves else []), *_descriptions(told)]
    return "\n".join(lines) + "\n"


_OF_CURVES = "The [columns of a curve](#columns-of-a-curve), and:"


def _descriptions(columns: Mapping[str, str]) -> list[str]:
    rows = (f"| `{column}` | {_escaped(text)} |" for column, text in columns.items())
    return ["| Column | Description |", "| --- | --- |", *rows]


def _schema_table(fields: Iterable[pa.Field]) -> Iterator[str]:
    yield from ("| Column | Type | Unit | Description |", "| --- | --- | --- | --- |")
    for field in fields:
        description, unit = _about(field)
        plain = field.metadata.get(b"plain")
        text = _escaped(description) + (f" (plain value: {plain.decode()})" if plain else "")
        yield f"| `{field.name}` | {_type(field.type)} | {unit} | {text} |"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {'entries' if pa.types.is_struct(kind.value_type) else kind.value_type}"
    return str(kind)


def _escaped(text: str) -> str:
    """Text in a cell of a Markdown table: what is between angle brackets would be taken for HTML."""
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    print(dictionary(), end="")
