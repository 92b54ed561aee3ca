"""The copy of many rows in one file: a row is taken from it only if its own file has not changed since."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.results import folder
from study.results.folder import Results
from study.results.row_cache import CACHE
from study.results.schema import ROW_SCHEMA, SCHEMA_VERSION, Row, empty_row
from tests.results.small import write_parquet
from tests.stored import results_in

LONG_AGO = 1_600_000_000


def row(trial_id: str, **values: object) -> Row:
    return empty_row() | {"schema_version": SCHEMA_VERSION, "trial_id": trial_id} | values


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setattr(folder, "MIN_READ_FILES", 2)
    found = results_in(tmp_path)
    for name in ("a", "b"):
        store(found, tmp_path, row(name, test_acc=0.5))
    return found


def store(results: Results, folder: Path, one: Row, when: int = LONG_AGO) -> None:
    results.write_row(one)
    os.utime(folder / f"trials/{one['trial_id']}.parquet", (when, when))


def accuracies(results: Results) -> dict[str, float]:
    table, _ = results.read_table()
    return dict(zip(table["trial_id"].to_pylist(), table["test_acc"].to_pylist(), strict=True))


def test_the_copy_holds_what_the_files_hold(results: Results, tmp_path: Path) -> None:
    first, _ = results.read_table()
    assert (tmp_path / CACHE).exists()
    again, unreadable = results.read_table()
    assert again.equals(first) and again.to_pylist() == results.read_rows()[0] and unreadable == []


def test_changed_new_and_deleted_files_are_seen(results: Results, tmp_path: Path) -> None:
    results.read_table()
    store(results, tmp_path, row("a", test_acc=0.9), when=LONG_AGO + 1)
    store(results, tmp_path, row("c", test_acc=0.7))
    (tmp_path / "trials/b.parquet").unlink()
    assert accuracies(results) == {"a": 0.9, "c": 0.7}


@pytest.mark.parametrize("columns", [None, ("test_acc", "trial_id"), ("test_acc",)])
def test_reading_some_columns_uses_the_copy_and_sees_changed_files(
    results: Results, tmp_path: Path, columns: tuple[str, ...] | None
) -> None:
    results.read_rows(columns, update_cache=True)
    store(results, tmp_path, row("a", test_acc=0.9), when=LONG_AGO + 1)
    rows, unreadable = results.read_rows(columns)
    assert [found["test_acc"] for found in rows] == [0.9, 0.5]
    assert all(list(found) == list(columns or ROW_SCHEMA.names) for found in rows)
    assert unreadable == []


def test_the_copy_is_written_only_with_update_cache(results: Results, tmp_path: Path) -> None:
    results.read_rows(("test_acc",))
    assert not (tmp_path / CACHE).exists()
    results.read_rows(("test_acc",), update_cache=True)
    assert pq.read_table(tmp_path / CACHE).num_rows == 2


def test_a_file_torn_after_it_was_copied_is_named(results: Results, tmp_path: Path) -> None:
    results.read_table()
    (tmp_path / "trials/a.parquet").write_bytes(b"PAR1")
    table, unreadable = results.read_table()
    assert table["trial_id"].to_pylist() == ["b"] and [one.name for one in unreadable] == ["trials/a.parquet"]


@pytest.mark.parametrize("content", [b"", b"torn"])
def test_a_torn_copy_is_not_used(results: Results, tmp_path: Path, content: bytes) -> None:
    (tmp_path / CACHE).write_bytes(content)
    assert accuracies(results) == {"a": 0.5, "b": 0.5}


def test_a_file_of_the_last_minute_is_not_copied(results: Results, tmp_path: Path) -> None:
    results.write_row(row("c", test_acc=0.1))
    results.read_table()
    assert pq.read_table(tmp_path / CACHE)["trial_id"].to_pylist() == ["a", "b"]


PARTS = ("attacks.epsilon", "spectra.draw", "test_acc")


def test_single_fields_of_entries_are_read_from_files_and_from_the_copy(results: Results, tmp_path: Path) -> None:
    attack = {"attack": "fgsm", "loss": "ce", "split": "test", "epsilon": 0.1}
    store(results, tmp_path, row("a", test_acc=0.5, attacks=[attack | {"correct_bits": b"long"}], history=[]))
    for copied in (False, True):
        table, unreadable = results.read_table(PARTS, update_cache=copied)
        found = table.to_pylist()
        assert found[0]["attacks"] == [attack] and found[1]["attacks"] is None and unreadable == []
        assert (tmp_path / CACHE).exists() == copied
    assert results.read_table(PARTS)[0].equals(table)
    assert [list(one) for one in results.read_rows(PARTS)[0]] == [["attacks", "spectra", "test_acc"]] * 2


def test_what_counts_as_a_row_does_not_depend_on_what_is_read_of_it(results: Results, tmp_path: Path) -> None:
    history = [{"epoch": None, "lr": 0.1, "train_loss": 0.5, "val_acc": 0.9}]
    store(results, tmp_path, row("a", history=history))
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
    os.utime(tmp_path / "trials/old.parquet", (LONG_AGO, LONG_AGO))
    for _ in ("from the files", "from the copy"):
        table, unreadable = results.read_table()
        assert table["history"].to_pylist()[2] == history and not unreadable
        assert table.schema.field("test_acc").metadata[b"unit"] == b"fraction"
    copy = pq.read_table(tmp_path / CACHE)
    undescribed = pa.schema([*plain, *list(copy.schema)[-2:]], metadata=plain.metadata)
    write_parquet(copy.cast(undescribed), tmp_path / CACHE)
    assert accuracies(results) == {"a": 0.5, "b": 0.5, "old": 0.3}


def test_rows_of_older_schemas_and_of_other_types(results: Results, tmp_path: Path) -> None:
    older = pa.schema([f for f in ROW_SCHEMA if f.name != "attacks"], metadata=ROW_SCHEMA.metadata)
    write_parquet(pa.Table.from_pylist([row("old", test_acc=0.3)], schema=older), tmp_path / "trials/old.parquet")
    odd = pa.schema([("trial_id", pa.string()), ("test_acc", pa.string())], metadata=ROW_SCHEMA.metadata)
    write_parquet(pa.table([["odd"], ["high"]], schema=odd), tmp_path / "trials/odd.parquet")
    table, unreadable = results.read_table()
    assert table["trial_id"].to_pylist() == ["a", "b", "old"] and table["attacks"].to_pylist()[2] is None
    assert "other types" in unreadable[0].reason
