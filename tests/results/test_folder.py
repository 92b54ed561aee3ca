"""Results: files are written whole or not at all; files that are not rows are named and left in place."""

import io
import json
import os
import stat
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.results.folder import RecordsError, Results
from study.results.schema import ROW_SCHEMA, Row, empty_row
from study.results.storage import Storage, masked
from tests.results.small import write_parquet
from tests.stored import results_in


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_in(tmp_path / "r")


def row(trial_id: str, **values: object) -> Row:
    return empty_row() | {"trial_id": trial_id, "status": "ok"} | values


def test_null_and_nan_stay_distinct(results: Results) -> None:
    results.write_row(row("a", test_acc=float("nan"), fgsm_acc=None, spectra=[], history=None))
    back = results.read_row("a")
    assert back is not None
    assert back["test_acc"] != back["test_acc"]
    assert back["fgsm_acc"] is None
    assert back["spectra"] == []
    assert back["history"] is None


def test_a_second_write_replaces_the_row_and_leaves_no_temporary_file(results: Results, tmp_path: Path) -> None:
    results.write_row(row("a", test_acc=0.1))
    results.write_row(row("a", test_acc=0.2))
    assert [r["test_acc"] for r in results.read_rows()[0]] == [0.2]
    assert [p.name for p in (tmp_path / "r/trials").iterdir()] == ["a.parquet"]


def test_temporary_files_of_killed_processes_are_deleted_a_day_later(results: Results, tmp_path: Path) -> None:
    old, new = (tmp_path / f"r/checkpoints/.a.pt.{uuid.uuid4().hex}.tmp" for _ in range(2))
    mine, of_root = tmp_path / "r/.mine.tmp", tmp_path / f"r/.run.json.{uuid.uuid4().hex}.tmp"
    for file in (old, new, mine, of_root):
        file.write_bytes(b"half")
    for file in (old, mine, of_root):
        os.utime(file, (0, 0))
    results.create()
    assert [file.exists() for file in (old, new, mine, of_root)] == [False, True, True, False]


def test_torn_foreign_and_other_schema_files_are_named_and_left_in_place(results: Results, tmp_path: Path) -> None:
    results.write_row(row("good"))
    folder = tmp_path / "r/trials"
    whole = (folder / "good.parquet").read_bytes()
    (folder / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.parquet").write_bytes(b"")
    pq.write_table(pa.table({"x": [1]}), folder / "foreign.parquet")
    newer = ROW_SCHEMA.with_metadata({**ROW_SCHEMA.metadata, b"schema_version": b"99"})
    write_parquet(pa.Table.from_pylist([row("newer")], schema=newer), folder / "newer.parquet")

    rows, unreadable = results.read_rows()

    assert [r["trial_id"] for r in rows] == ["good"]
    reasons = {Path(u.name).stem: u.reason for u in unreadable}
    assert set(reasons) == {"torn", "empty", "foreign", "newer"}
    assert reasons["torn"].startswith("incomplete or damaged: ")
    assert reasons["foreign"] == "not a result file of this study"
    assert "schema version 99" in reasons["newer"]
    assert (folder / "foreign.parquet").exists()


def test_chosen_columns_only(results: Results) -> None:
    results.write_row(row("a", test_acc=0.5))
    assert results.read_rows(("trial_id", "test_acc"))[0] == [{"trial_id": "a", "test_acc": 0.5}]


def test_an_unknown_column_is_refused(results: Results) -> None:
    with pytest.raises(RecordsError, match="unknown columns"):
        results.write_row(row("a", colour="red"))


def test_reading_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="holds no results"):
        Results(tmp_path / "nothing").read_rows()


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordsError, match="--results"):
        Results(tmp_path / "file").create()


def test_a_uri_and_a_path_are_the_same_folder(results: Results, tmp_path: Path) -> None:
    results.write_row(row("a"))
    results.write_study({"grid": "smoke"})
    by_uri = Results(f"file://{tmp_path}/r")
    assert [r["trial_id"] for r in by_uri.read_rows()[0]] == ["a"]
    assert by_uri.read_study() == {"grid": "smoke"} == json.loads((tmp_path / "r/study.json").read_text())


def test_files_are_for_the_group_to_read(results: Results, tmp_path: Path) -> None:
    results.write_row(row("a"))
    assert (tmp_path / "r/trials/a.parquet").stat().st_mode & stat.S_IRGRP


def test_a_bad_uri_is_one_clear_line() -> None:
    with pytest.raises(RecordsError, match="cannot use"):
        Results("nosuchscheme://bucket/x")


def test_checkpoints_are_stored_and_deleted(results: Results) -> None:
    results.write_checkpoint("a", b"half")
    assert results.read_checkpoint("a") == b"half"
    results.delete_checkpoint("a")
    results.delete_checkpoint("a")
    assert results.read_checkpoint("a") is None


def test_a_copy_under_another_name_is_not_a_second_trial(results: Results, tmp_path: Path) -> None:
    results.write_row(row("a"))
    folder = tmp_path / "r/trials"
    (folder / "a (conflicted copy).parquet").write_bytes((folder / "a.parquet").read_bytes())
    rows, unreadable = results.read_rows()
    assert [r["trial_id"] for r in rows] == ["a"]
    assert "copied from trial a" in unreadable[0].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"study\.json is damaged.*rename it"),
        (None, r"study\.json is damaged"),
        *((form, "not a study's record") for form in ("[]", '{"requests": 5}', '{"requests": [3]}')),
    ],
    ids=["torn", "a folder", "a list", "no list of requests", "no requests"],
)
def test_a_study_file_that_is_no_record_says_what_to_do(
    results: Results, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "r/study.json"
    file.mkdir() if content is None else file.write_text(content)
    with pytest.raises(RecordsError, match=message):
        results.read_study()


@pytest.mark.parametrize("field", ["attacks", "spectra", "landscapes"])
def test_a_null_entry_costs_its_own_row_only(results: Results, field: str) -> None:
    results.write_row(row("good"))
    results.write_row(row("bad", **{field: [None]}))
    rows, unreadable = results.read_rows()
    assert [r["trial_id"] for r in rows] == ["good"]
    assert [(u.name, u.reason) for u in unreadable] == [("trials/bad.parquet", f"holds a null entry in {field}")]


def test_text_and_names_that_are_not_utf8_cost_their_own_file_only(results: Results, tmp_path: Path) -> None:
    results.write_row(row("good"))
    text = ROW_SCHEMA.field("status_reason")
    table = pa.Table.from_pylist([row("bad")], schema=ROW_SCHEMA)
    spoiled = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    table = table.set_column(table.schema.get_field_index(text.name), text, spoiled)
    pq.write_table(table, tmp_path / "r/trials/bad.parquet")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/r/trials/\xff\xfe.parquet")).write_bytes(b"x")
    rows, unreadable = results.read_rows()
    assert [r["trial_id"] for r in rows] == ["good"]
    assert sorted(u.name for u in unreadable) == ["trials/\\xff\\xfe.parquet", "trials/bad.parquet"]


def npz_of_72_tib() -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (9 * 2**40,)})  # type: ignore[arg-type]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    return content.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", npz_of_72_tib()], ids=["empty", "broken", "72 TiB"])
def test_damaged_arrays_are_named_and_set_aside(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    file = tmp_path / "r/arrays/a.npz"
    file.write_bytes(content)
    assert results.read_arrays("a") == {}
    assert "renamed the unusable file" in capsys.readouterr().err
    results.write_arrays("a", {"x": np.ones(2)})
    assert list(results.read_arrays("a")) == ["x"] == list(np.load(file).files)
    assert [aside.read_bytes() for aside in file.parent.glob("*.damaged-*")] == [content]


SECRETS = (
    "s3://KEY:SECRET@bucket/x",
    "s3://KEY:SEC/RET@bucket/x",
    "s3://bucket/x?secret_key=SECRET&region=eu",
    "https://user:SECRET@host/",
)


@pytest.mark.parametrize("location", SECRETS)
def test_secrets_in_a_uri_are_refused_and_masked(location: str) -> None:
    with pytest.raises(RecordsError, match=r"\*\*\*.*key or password") as refused:
        Results(location)
    for shown in (str(refused.value), masked(f"study.run --results '{location}' --grid x")):
        assert "SECRET" not in shown and "RET@" not in shown
    assert masked("s3://bucket/a?region=eu and gs://b@c, http://h:80/") == (
        "s3://bucket/a?region=eu and gs://b@c, http://h:80/"
    )


def test_no_secret_is_stored_in_study_json(results: Results, tmp_path: Path) -> None:
    command = "python -m study.run --results s3://KEY:SECRET@bucket/x"
    results.write_study({"command": command, "requests": [{"command": command}]})
    assert "SECRET" not in (tmp_path / "r/study.json").read_text()


def test_a_uri_without_a_folder_is_refused() -> None:
    with pytest.raises(RecordsError, match="names no folder"):
        Results("file:///")


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename may survive a power loss that the content does not."""
    storage, synced = Storage(tmp_path), list[str]()

    def sync(number: int) -> None:
        assert (tmp_path / "row").read_bytes() == b"old"
        synced.append(Path(f"/proc/self/fd/{number}").read_text())

    storage.write("row", b"old")
    monkeypatch.setattr("os.fsync", sync)
    storage.write("row", b"new")
    assert synced == ["new"] and (tmp_path / "row").read_bytes() == b"new"
