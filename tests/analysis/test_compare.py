"""Two studies side by side: planted differences are found, equal studies do not differ, and intervals cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from analysis.compare import (
    AT_FLOOR,
    IDENTICAL,
    INDEPENDENT,
    PAIRED,
    TOO_FEW,
    Comparison,
    compare_cells,
    compare_tables,
    main,
    text,
)
from analysis.output.columns import COMPARISON
from analysis.tables.table import from_rows
from study.results.schema import Row
from tests.analysis.synthetic import PGD, Curve, curve_rows, flat
from tests.commands import refused
from tests.stored import results_in

SIZES = (16, 32, 64, 128, 256)


def study(seeds: tuple[int, ...] = (0, 1, 2), *, stream: int = 0, pgd: Curve = PGD, **more: object) -> list[Row]:
    rng = np.random.default_rng(stream)
    options = {"batch_sizes": SIZES, "seeds": seeds, "pgd": pgd, "rng": rng} | more
    rows = curve_rows(**options)  # type: ignore[arg-type]
    return [one | {"weights_sha256": f"{stream:064d}", "device": "cpu"} for one in rows]


def cells(first: list[Row], second: list[Row]) -> pd.DataFrame:
    """The cells alone: the claims take longer."""
    digests = [{one["trial_id"]: one["weights_sha256"] for one in rows} for rows in (first, second)]
    same = {trial for trial, digest in digests[0].items() if digests[1].get(trial) == digest}
    return compare_cells(from_rows(first), from_rows(second), same)


def lower(curve: Curve, points: float) -> Curve:
    return lambda doublings: curve(doublings) - points / 100


def test_a_study_does_not_differ_from_its_copy() -> None:
    table = from_rows(study())
    found = compare_tables(table, from_rows(study()))
    assert (found.shared, found.same) == (15, 15)
    assert found.settings.empty
    assert len(found.verdicts) > 0 and not found.verdicts["differs"].any()
    assert len(found.effects) > 0
    for frame in (found.effects, found.cells):
        assert set(frame["finding"]) == {"same"}
        assert (frame[["difference", "low", "high"]] == 0).all(axis=None)
    assert set(found.cells["method"]) == {IDENTICAL}


def test_a_planted_difference_is_found_where_it_is() -> None:
    """PGD is 8 points stronger in the second study, whose networks have other seeds."""
    found = cells(study(), study((3, 4, 5), stream=1, pgd=lower(PGD, 8)))
    differing = found[found["finding"] == "differs"]
    assert set(differing["attack"]) == {"pgd"}
    assert (
        len(differing) == len(found[found["attack"] == "pgd"]) == 12
    )  # five batch sizes, of which one is on two curves, two losses
    assert differing["difference"].to_numpy() == pytest.approx(-8, abs=1.5)
    assert set(found["method"]) == {INDEPENDENT}
    assert (found["q"] >= found["p"]).all()
    alike = found[(found["attack"] == "fgsm") & (found["finding"] == "same")]
    assert (alike[["low", "high"]].abs() < 4).all(axis=None)


def test_intervals_are_those_of_student_and_welch() -> None:
    first, second = study(), study(stream=1)
    values = [[100 * one["test_acc"] for one in rows if one["batch_size"] == 64] for rows in (first, second)]
    paired = cells(first, second).set_index(["measure", "batch_size"]).loc[("test_acc", 64)].iloc[0]
    test = stats.ttest_rel(*reversed(values))
    assert paired["method"] == PAIRED
    assert paired["p"] == pytest.approx(test.pvalue)
    assert tuple(paired[["low", "high"]]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    other = study((3, 4, 5, 6), stream=1)
    values[1] = [100 * one["test_acc"] for one in other if one["batch_size"] == 64]
    welch = cells(first, other).set_index(["measure", "batch_size"]).loc[("test_acc", 64)].iloc[0]
    test = stats.ttest_ind(*reversed(values), equal_var=False)
    assert welch["method"] == INDEPENDENT
    assert welch["p"] == pytest.approx(test.pvalue)
    assert tuple(welch[["low", "high"]]) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_the_same_seeds_on_another_device_show_a_small_shift() -> None:
    """What seeds do to a network is larger than the shift, and the same in both studies."""
    first = study(noise=0.03)
    rng = np.random.default_rng(5)
    second = [
        one | {"test_acc": one["test_acc"] - 0.004 + 0.0003 * rng.normal(), "weights_sha256": "b" * 64} for one in first
    ]
    clean = cells(first, second).query("measure == 'test_acc'")
    assert set(clean["method"]) == {PAIRED}
    assert (clean["high"] < 0).all()


def test_networks_that_both_hold_say_nothing_of_a_difference() -> None:
    """Seeds 0 to 2 are in both studies; seeds 3 to 5 of each are compared, and a single seed is too few."""
    both = study()
    first, second = both + study((3, 4, 5), stream=1), both + study((6, 7, 8), stream=2)
    found = cells(first, second)
    alone = cells(study((3, 4, 5), stream=1), study((6, 7, 8), stream=2))
    assert found["difference"].to_numpy() == pytest.approx(alone["difference"].to_numpy())
    assert found["n_first"].unique().tolist() == [3]
    difference = found["second"].to_numpy() - found["first"].to_numpy()
    assert difference == pytest.approx(found["difference"].to_numpy())
    single = cells(both, both + study((6,), stream=2))
    assert set(single["method"]) == {TOO_FEW}
    assert single[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(single["finding"]) == {"inconclusive"}


def test_networks_that_both_hold_are_left_out_of_pairs_too() -> None:
    """As exact zeros two same networks of three pulled a difference towards "the same"."""
    first, second = study((0, 1, 2, 3, 4)), study((0, 1, 2, 3, 4), stream=1)
    found = cells(first, [one if one["seed"] < 2 else other for one, other in zip(first, second, strict=True)])
    alone = cells([one for one in first if one["seed"] > 1], [one for one in second if one["seed"] > 1])
    assert set(found["method"]) == {PAIRED}
    columns = ["difference", "low", "high", "p"]
    assert found[columns].to_numpy() == pytest.approx(alone[columns].to_numpy())


@pytest.fixture(scope="module")
def apart() -> Comparison:
    """Accuracy under attack falls with the batch size in one study and stays level in the other."""
    falling = from_rows(study(pgd=lambda d: 0.7 - 0.05 * d, fgsm=lambda d: 0.7 - 0.05 * d))
    return compare_tables(falling, from_rows(study((3, 4, 5), stream=1, pgd=flat(0.5), fgsm=flat(0.5))))


def test_trends_and_verdicts_that_differ_are_named_with_an_interval(apart: Comparison) -> None:
    found = apart
    trends = found.effects[found.effects["claims"].str.contains("A7")]
    assert len(trends) == 4  # two attacks, two losses
    assert set(trends["finding"]) == {"differs"}
    assert trends["difference"].to_numpy() == pytest.approx((trends["second"] - trends["first"]).to_numpy())
    assert trends["difference"].to_numpy() == pytest.approx(20, abs=2)
    assert ((trends["low"] < 20) & (trends["high"] > trends["low"])).all()
    assert "differs" not in set(found.effects.loc[found.effects["unit"] == "doublings", "finding"])
    verdicts = found.verdicts.set_index(["claim", "loss"])
    assert list(verdicts.loc[("A7", "ce"), ["first", "second", "differs"]]) == ["inconclusive", "refuted", True]


def test_effects_of_other_protocols_are_not_compared() -> None:
    """A has networks of 100 epochs and of 2, B of 100 alone: the last of A's two was compared."""
    long, short = study(), study(epochs=2, pgd=flat(0.1), fgsm=flat(0.1))
    both = compare_tables(from_rows([*long, *short]), from_rows(long)).effects
    assert len(both) > 0 and (both["difference"] == 0).all()
    assert compare_tables(from_rows(short), from_rows(long)).effects.empty


def test_cells_of_other_sizes_are_not_compared() -> None:
    assert cells(study(), study((3, 4, 5), stream=1, epochs=20)).empty


def test_two_networks_at_the_attacks_floor_are_not_called_the_same() -> None:
    found = cells(study(pgd=flat(0.001), noise=0.0005), study((3, 4, 5), stream=1, pgd=flat(0.001), noise=0.0005))
    of_pgd = found[found["attack"] == "pgd"]
    assert set(of_pgd["method"]) == {AT_FLOOR} and set(of_pgd["finding"]) == {"inconclusive"}


def test_a_network_of_other_images_or_of_another_parent_is_not_the_same() -> None:
    rows = study((0,))
    for name in ("dataset_sha256", "parent_sha256"):
        one, other = (from_rows([row | {name: digest} for row in rows]) for digest in ("a" * 64, "b" * 64))
        found = compare_tables(one, other)
        assert (found.shared, found.same) == (5, 0)


def test_what_differs_in_the_settings_is_listed() -> None:
    second = [one | {"device": "NVIDIA H200", "versions": '{"torch": "2.14"}'} for one in study((3, 4), stream=1)]
    first = [one | {"versions": '{"torch": "2.15"}'} for one in study()]
    first[0] |= {"target_loss": 0.001}
    found = compare_tables(from_rows(first), from_rows(second)).settings.set_index("setting")
    assert list(found.loc["seed"]) == ["0, 1, 2", "3, 4"]
    assert list(found.loc["device"]) == ["cpu", "NVIDIA H200"]
    assert list(found.loc["torch"]) == ["2.15", "2.14"]
    assert list(found.loc["target loss"]) == ["none, 0.001", "none"]
    assert "epochs" not in found.index


def test_studies_without_a_common_cell_have_nothing_to_compare() -> None:
    found = compare_tables(from_rows(study()), from_rows(study(model="m2_20")))
    assert found.cells.empty and found.effects.empty


def test_the_command_prints_and_writes_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = results_in(tmp_path / "one", study()).location
    other = results_in(tmp_path / "other", study((3, 4, 5), stream=1, pgd=lower(PGD, 8))).location
    assert main([one, other, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"A  {one}: 15 networks (15 ok)" in printed
    assert "12 of 42 measures of cells in both differ" in printed
    assert "MNIST · M1 (20-20), LR constant, momentum 0, batch 64: pgd ce" in printed
    assert "would by chance alone" in printed
    for name, columns in COMPARISON.items():
        csv, schema = (tmp_path / "out" / f"{name}.{kind}" for kind in ("csv", "parquet"))
        assert list(pd.read_csv(csv).columns) == list(columns)
        fields = list(pq.read_schema(schema))
        assert {field.name: field.metadata[b"description"].decode() for field in fields} == columns


def test_measures_that_no_seed_is_left_to_compare_are_counted_apart(apart: Comparison) -> None:
    """They were counted among those in both of which "0 differ", and a claim of no loss had the loss `nan`."""
    one, other = from_rows(study((0,))), from_rows(study((1,), stream=1))
    printed = text(compare_tables(one, other))
    assert "measures of cells in both, not compared: too few seeds remain" in printed
    assert "0 of" not in printed.split("measures of cells")[0].splitlines()[-1]
    no_loss = apart.verdicts.assign(loss=float("nan"), differs=True, first="supported", second="refuted")
    assert "nan" not in text(replace(apart, verdicts=no_loss)).lower()


def test_what_cannot_be_compared_gets_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    results_in(tmp_path / "good", study((0,)))
    results_in(tmp_path / "empty")
    results_in(tmp_path / "other", study((1,)), study={"requests": [{"grid": "mine.py"}]})
    assert main(["good", "other"]) == 0
    missing = "mine.py was not loaded, so its plan and claims are missing; add --grid mine.py\n"
    assert capsys.readouterr().err == missing
    for second, said in (("good", "good is named twice"), ("empty", "no trial of"), ("nowhere", "holds no results")):
        refused(capsys, main, ["good", second], said)
