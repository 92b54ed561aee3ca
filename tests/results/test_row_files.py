"""Reading rows: parts of them, of older versions, and what is not one."""

from pathlib import Path

import pyarrow as pa
import pytest

from study import verify
from study.results.folder import Results
from study.results.schema import ROW_SCHEMA, SCHEMA_VERSION, Row, empty_row
from tests.results.small import write_parquet


def row(trial_id: str, **values: object) -> Row:
    return empty_row() | {"schema_version": SCHEMA_VERSION, "trial_id": trial_id} | values


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path)
    found.create()
    for name in ("a", "b"):
        found.write_row(row(name, test_acc=0.5))
    return found


PARTS = ("attacks.epsilon", "spectra.draw", "test_acc")


def test_single_fields_of_entries_are_read(results: Results) -> None:
    attack = {"attack": "fgsm", "loss": "ce", "split": "test", "epsilon": 0.1}
    results.write_row(row("a", test_acc=0.5, attacks=[attack | {"correct_bits": b"long"}], history=[]))
    table, unreadable = results.read_table(PARTS)
    found = table.to_pylist()
    assert found[0]["attacks"] == [attack] and found[1]["attacks"] is None and unreadable == []
    assert [list(one) for one in results.read_rows(PARTS)[0]] == [["attacks", "spectra", "test_acc"]] * 2


@pytest.mark.parametrize("columns", [None, ("test_acc", "trial_id"), ("test_acc",)])
def test_rows_have_the_columns_that_were_asked_in_their_order(
    results: Results, columns: tuple[str, ...] | None
) -> None:
    rows, unreadable = results.read_rows(columns)
    assert all(list(found) == list(columns or ROW_SCHEMA.names) for found in rows)
    assert [found["test_acc"] for found in rows] == [0.5, 0.5] and unreadable == []


def test_what_counts_as_a_row_does_not_depend_on_what_is_read_of_it(results: Results) -> None:
    history = [{"epoch": None, "lr": 0.1, "train_loss": 0.5, "val_acc": 0.9}]
    results.write_row(row("a", history=history))
    for columns in (None, ("trial_id",), PARTS):
        table, unreadable = results.read_table(columns)
        assert table["trial_id"].to_pylist() == ["b"] and [one.name for one in unreadable] == ["trials/a.parquet"]


def without_descriptions(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(without_descriptions(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, without_descriptions(field.type)) for field in kind])
    return kind


def test_rows_from_before_columns_were_described_are_read(results: Results, tmp_path: Path) -> None:
    plain = pa.schema(
        [pa.field(f.name, without_descriptions(f.type)) for f in ROW_SCHEMA], metadata=ROW_SCHEMA.metadata
    )
    untracked = dict.fromkeys(("lambda1", "lambda1_images", "batch_sharpness", "track_seconds"))
    history = [{"epoch": 1, "lr": 0.1, "train_loss": 0.5, "val_acc": 0.9, **untracked}]
    old = row("old", test_acc=0.3, history=history, spectra=[], attacks=[])
    write_parquet(pa.Table.from_pylist([old], schema=plain), tmp_path / "trials/old.parquet")
    table, unreadable = results.read_table()
    assert table["history"].to_pylist()[2] == history and not unreadable
    assert table.schema.field("test_acc").metadata[b"unit"] == b"fraction"


def test_rows_of_older_schemas_and_of_other_types(results: Results, tmp_path: Path) -> None:
    older = pa.schema([f for f in ROW_SCHEMA if f.name != "attacks"], metadata=ROW_SCHEMA.metadata)
    write_parquet(pa.Table.from_pylist([row("old", test_acc=0.3)], schema=older), tmp_path / "trials/old.parquet")
    odd = pa.schema([("trial_id", pa.string()), ("test_acc", pa.string())], metadata=ROW_SCHEMA.metadata)
    write_parquet(pa.table([["odd"], ["high"]], schema=odd), tmp_path / "trials/odd.parquet")
    table, unreadable = results.read_table()
    assert table["trial_id"].to_pylist() == ["a", "b", "old"] and table["attacks"].to_pylist()[2] is None
    assert "other types" in unreadable[0].reason


def test_the_copy_of_all_rows_that_older_versions_kept_is_left_alone(results: Results, tmp_path: Path) -> None:
    (tmp_path / "rows.cache.parquet").write_bytes(b"old")
    assert len(results.read_rows()[0]) == 2 and verify.main([str(tmp_path)]) == 0
    assert (tmp_path / "rows.cache.parquet").read_bytes() == b"old"
