"""A study packed into one file is a results folder like any other."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis.tables.table import load
from search_spaces import Request, plan
from study import pack, run
from study.results.folder import PACKED_ROWS, RecordsError, Results
from study.results.row_files import PACKED, decode_rows
from study.results.schema import ROW_SCHEMA
from tests.analysis import synthetic

REQUEST = {"grid": "smoke", "select": {"regime": ["lr"], "batch_size": ["16"]}, "seeds": [0, 1, 2]}
TRIALS = [planned.trial for planned in plan(Request.from_dict(REQUEST)).values()]


def row(place: int, clean: float = 0.9) -> dict[str, object]:
    return synthetic.row(TRIALS[place], clean=clean, attacks={("pgd", "stable"): 0.4}, log2_lambda1=3.0)


@pytest.fixture
def source(tmp_path: Path) -> Results:
    results = Results(tmp_path / "source")
    results.create()
    for place in range(len(TRIALS)):
        results.write_row(row(place))
    results.write_study({"requests": [REQUEST]})
    return results


@pytest.fixture
def packed(source: Results, tmp_path: Path) -> Results:
    assert pack.main([source.location, str(tmp_path / "packed")]) == 0
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [PACKED_ROWS, "study.json"]
    return Results(tmp_path / "packed")


def test_every_row_and_the_record_come_back(source: Results, packed: Results) -> None:
    assert packed.exists()
    assert packed.read_table()[0].equals(source.read_table()[0])
    columns = ["trial_id", "attacks.accuracy"]
    assert packed.read_rows(columns) == source.read_rows(columns)
    assert packed.read_row(TRIALS[0].trial_id) == source.read_row(TRIALS[0].trial_id)
    assert packed.read_row("nosuch") is None
    assert packed.read_study() == source.read_study()
    assert load(packed.location).planned.equals(load(source.location).planned)


def test_a_row_that_is_written_later_counts_instead(packed: Results) -> None:
    packed.create()
    packed.write_row(row(0, clean=0.5))
    rows, unreadable = packed.read_rows()
    assert not unreadable
    expected = {trial.trial_id: 0.5 if place == 0 else 0.9 for place, trial in enumerate(TRIALS)}
    assert {one["trial_id"]: round(one["test_acc"], 2) for one in rows} == expected
    found = packed.read_row(TRIALS[0].trial_id)
    assert found is not None and round(found["test_acc"], 2) == 0.5


def test_packing_again_adds_what_was_run_since(source: Results, packed: Results) -> None:
    other = synthetic.trial(batch_size=512)
    source.write_row(synthetic.row(other, clean=0.8, attacks={}, log2_lambda1=1.0))
    assert pack.pack(source, packed) == len(TRIALS) + 1
    assert packed.read_row(other.trial_id) is not None


def test_packing_never_drops_a_row(packed: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    less = Results(tmp_path / "less")
    less.create()
    less.write_row(row(0))
    assert pack.main([less.location, packed.location]) == 2
    assert f"has rows of {len(TRIALS) - 1} trials that {less.location} lacks" in capsys.readouterr().err
    assert len(packed.read_rows()[0]) == len(TRIALS)


def test_an_unreadable_row_is_not_left_out_in_silence(source: Results, tmp_path: Path) -> None:
    (tmp_path / "source/trials/torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordsError, match=r"torn\.parquet cannot be packed"):
        pack.pack(source, Results(tmp_path / "packed"))
    assert not (tmp_path / "packed").exists()


def test_no_results_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack.main([str(tmp_path / "nothing"), str(tmp_path / "packed")]) == 2
    assert capsys.readouterr().err.startswith("study.pack: ") and not (tmp_path / "packed").exists()


@pytest.mark.parametrize("place", [100, -300, -1])
def test_one_changed_byte_is_found(packed: Results, tmp_path: Path, place: int) -> None:
    file = tmp_path / "packed" / PACKED_ROWS
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    rows, unreadable = packed.read_rows()
    assert not rows and [one.name for one in unreadable] == [PACKED_ROWS]
    assert packed.read_row(TRIALS[0].trial_id) is None
    assert not file.exists() and list(tmp_path.glob("packed/rows.parquet.damaged-*"))


def test_rows_of_a_newer_version_are_left_where_they_are(packed: Results, tmp_path: Path) -> None:
    file = tmp_path / "packed" / PACKED_ROWS
    pq.write_table(packed.read_table()[0].replace_schema_metadata(PACKED.metadata | {b"schema_version": b"99"}), file)
    (found,) = packed.read_rows()[1]
    assert found.newer and "schema version 99" in found.reason
    assert run.main(["--grid", "smoke", "--results", packed.location, "--dry-run"]) == 2


def test_rows_of_an_older_version_get_the_columns_of_this_one(source: Results) -> None:
    older = (
        source.read_table()[0]
        .drop_columns(["num_classes"])
        .replace_schema_metadata({key: value for key, value in PACKED.metadata.items() if key != b"digest"})
    )
    sink = io.BytesIO()
    pq.write_table(older, sink)
    assert decode_rows(sink.getvalue()).schema.equals(ROW_SCHEMA)
